"""Terms are the same however a text is written down."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.index.analysis import analyse

ASCII_TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=200)


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("The engines were running", ["the", "engin", "were", "run"]),
        ("Café CAFÉ cafe", ["cafe", "cafe", "cafe"]),
        ("北京大学", ["北", "京", "大", "学", "北京", "京大", "大学"]),
        ("第3章 bridge桥", ["第", "3", "章", "bridg", "桥"]),
        ("1,234.5 and 1234.5", ["1234.5", "and", "1234.5"]),
        ("ＡＢＣ１２３", ["abc123"]),
        ("", []),
        ("… — ？！", []),
        ("カタカナ", ["カ", "タ", "カ", "ナ", "カタ", "タカ", "カナ"]),
        ("\ud800\x00", []),
    ],
)
def test_examples(text, terms):
    """Words are stemmed, accents and width are dropped, Han and kana become characters and pairs."""
    assert analyse(text) == terms


@given(ASCII_TEXT)
def test_case_and_width_do_not_matter(text):
    """Upper case, lower case and full-width letters give the same terms."""
    wide = "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text)
    assert analyse(text.upper()) == analyse(text.lower()) == analyse(text) == analyse(wide)


@given(st.text(max_size=200))
def test_normal_form_does_not_matter(text):
    """A text composed, decomposed or compatibility-normalised has the same terms."""
    assert analyse(unicodedata.normalize("NFC", text)) == analyse(unicodedata.normalize("NFD", text)) == analyse(text)


@given(st.text(max_size=200))
def test_a_term_has_no_space_in_it(text):
    """Terms can be joined by spaces and taken apart again, as the lexical index does."""
    terms = analyse(text)
    assert " ".join(terms).split() == terms


@given(st.text(max_size=100), st.text(max_size=100))
def test_a_line_break_separates(first, second):
    """The terms of two lines are the terms of the first and then of the second: so the work is linear in the text."""
    assert analyse(f"{first}\n{second}") == analyse(first) + analyse(second)


@given(st.text(max_size=100))
def test_terms_are_linear_in_the_text(text):
    """There are at most two terms a character of the normalised text, however long a run is."""
    assert len(analyse(text * 5)) <= 2 * len(unicodedata.normalize("NFKC", text * 5).lower())

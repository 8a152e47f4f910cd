"""Sentence boundaries in English and Chinese."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.sentences import split_sentences


def sentences(text: str) -> list[str]:
    return [text[start:end] for start, end in split_sentences(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One ends. Two begins! Is three here?", ["One ends.", "Two begins!", "Is three here?"]),
        ("He said “Stop.” Then he left.", ["He said “Stop.”", "Then he left."]),
        ("第一句。第二句！“第三句？”第四句", ["第一句。", "第二句！", "“第三句？”", "第四句"]),
        (
            "Dr. Lee met Mr. Wu at 3.15 p.m. on Jan. 5. They spoke.",
            ["Dr. Lee met Mr. Wu at 3.15 p.m. on Jan. 5.", "They spoke."],
        ),
        ("See e.g. the note. It helps.", ["See e.g. the note.", "It helps."]),
        ("Well… maybe not. Fine", ["Well… maybe not.", "Fine"]),
        ("版本 3.5 发布了。下载 a.b 吧。", ["版本 3.5 发布了。", "下载 a.b 吧。"]),
    ],
)
def test_marks(text: str, expected: list[str]) -> None:
    """A mark ends a sentence, with the quotes that close behind it; an abbreviation or a decimal point does not."""
    assert sentences(text) == expected


def test_list_items() -> None:
    """A list item is a sentence, and its number does not stand alone."""
    assert sentences("Steps:\n1. Open the lid.\n2. Close it.\n- Done") == [
        "Steps:",
        "1. Open the lid.",
        "2. Close it.",
        "- Done",
    ]


def test_short_line() -> None:
    """A short line, as a heading is, does not run into the sentence below it."""
    assert sentences("Annual leave\nEvery employee has 15 days.") == ["Annual leave", "Every employee has 15 days."]
    assert sentences("年假\n每位员工有十五天。") == ["年假", "每位员工有十五天。"]


def test_wrapped_line() -> None:
    """A sentence that was wrapped at the width of a page stays whole."""
    text = "Every employee who has worked here for a year has\nFifteen days of paid leave, which\nmay be carried over."
    assert sentences(text) == [text]


def test_blank_line() -> None:
    """A blank line always ends a sentence."""
    assert sentences("no full stop here\n\nand no capital") == ["no full stop here", "and no capital"]


def test_table_rows() -> None:
    """Each row of a table is a sentence."""
    long = "a cell that is long enough for the line not to count as short"
    assert sentences(f"Plan | Price | {long}\nBasic | 5 | {long}\n") == [
        f"Plan | Price | {long}",
        f"Basic | 5 | {long}",
    ]


@given(st.text(alphabet=st.sampled_from('aB1 .!?。！；…\n\t|-()"”中文e.g'), max_size=200) | st.text(max_size=100))
def test_spans(text: str) -> None:
    """Spans are in order, disjoint and without surrounding white space, and leave out nothing but white space."""
    last = 0
    for start, end in split_sentences(text):
        assert text[last:start].strip() == ""
        assert start < end
        assert text[start:end] == text[start:end].strip()
        last = end
    assert text[last:].strip() == ""


@pytest.mark.timeout(20)
@pytest.mark.parametrize("unit", ["a", " ", "\n", ".", ". ", "。", "\n ", "x\n", "1. ", " | "])
def test_linear(unit: str) -> None:
    """No repetition of anything takes quadratic time: that would be hours here, not a second."""
    text = unit * 300_000
    assert sum(end - start for start, end in split_sentences(text)) <= len(text)

"""Text in which no client's Markdown finds an image, a link or a tag."""

from __future__ import annotations

from collections.abc import Iterator
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from app.answering.citations import MARKER
from app.answering.inert import InertText

EVIL = "https://evil.example/?q=secret"
LIVE = {"image", "link_open", "html_inline", "html_block"}
HOSTILE = [
    f"![x]({EVIL})",
    f"[x]({EVIL})",
    f"[1]({EVIL})",
    f"[1][2]\n\n[2]: {EVIL}\n",
    f"![a][b]\n\n[b]:\n{EVIL}",
    f"![a]\n> [a]: <{EVIL}> 'title'",
    f"[two\nlines]\n\n- [two\n  lines]: {EVIL}",
    f"[a\\[b]\n\n[a\\[b]: {EVIL}",
    f"[[a]]({EVIL})",
    f"<{EVIL}>",
    "<mailto:a@evil.example>",
    "<9.a@evil.example>",
    f"<img src='{EVIL}'>",
    f"<IMG\nsrc='{EVIL}'>",
    "</p><!-- x --><?php ?><![CDATA[x]]><!DOCTYPE x>",
    f"```\n</code>\n```\n![x]({EVIL})",
]
PARTS = [
    *HOSTILE,
    *("[", "]", "(", ")", "!", ":", "<", ">", "@", "/", "?", "\\", "`", "```", "~~~", "$$", "\n", " ", "\t", "-", "*"),
    *(
        "    ",
        "> ",
        "1. ",
        "a",
        "Z",
        "1",
        "。",
        "\u200b",
        "\xad",
        "\r",
        EVIL,
        "evil.example",
        "[1]",
        "| a |",
        "|---|\n",
    ),
]
markup = st.lists(st.sampled_from(PARTS), max_size=30).map("".join) | st.text(
    st.sampled_from("[]()<>!:@/?\\` \n\ta1-*_'\"&;.\u200b中"), max_size=60
)


def inert(text: str) -> str:
    return InertText().add(text)


def tokens(text: str, preset: str = "commonmark") -> Iterator[Token]:
    for token in MarkdownIt(preset, {"html": True, "linkify": False}).parse(text):
        yield token
        yield from token.children or ()


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.found.append(tag)


@pytest.mark.parametrize("text", HOSTILE[:-1])
def test_it_would_have_been_live(text: str) -> None:
    """The examples are what they are meant to be, or the tests below would prove nothing."""
    assert LIVE & {token.type for token in tokens(text)}


@given(markup)
def test_nothing_in_it_is_live(text: str) -> None:
    """No image, link or tag, in CommonMark with HTML, with tables, and where Markdown is not even read."""
    shown = inert(text)
    for preset in ("commonmark", "default"):
        assert not LIVE & {token.type for token in tokens(shown, preset)}
    tags = _Tags()
    tags.feed(shown)
    tags.close()
    assert tags.found == []


@given(markup)
def test_who_drops_hidden_characters_finds_nothing_either(text: str) -> None:
    """A zero-width space between bracket and parenthesis parts nothing once it is taken out."""
    shown = inert(text).replace("\u200b", "").replace("\xad", "")
    assert not LIVE & {token.type for token in tokens(shown)}


@given(markup, st.data())
def test_cut_anywhere_it_is_the_same(text: str, data: st.DataObject) -> None:
    """A token may end wherever it likes; nothing is held back, and every character is where `place` says."""
    cuts = data.draw(st.lists(st.integers(0, len(text)), max_size=8).map(sorted))
    whole, cut = InertText(), InertText()
    shown = whole.add(text)
    assert "".join(cut.add(text[a:b]) for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)) == shown
    assert [shown[cut.place(at)] for at in range(len(text))] == list(text)
    assert whole.taken == cut.taken == len(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"Done. ![x]({EVIL}) [1]", rf"Done. ![x]\({EVIL}) [1]"),
        (f"[1] ({EVIL})", rf"[1] \({EVIL})"),  # Showdown allows the blank
        (f"[b]: {EVIL}", rf"[b]\: {EVIL}"),
        ("a <b> and </b>", "a < b> and < /b>"),
    ],
)
def test_what_is_put_in(text: str, shown: str) -> None:
    """A backslash, which Markdown does not show; a space where HTML would begin."""
    assert inert(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "It opened in 1932. [1][2] It closed [3].",
        "它于1932年开放。【1】［2］",
        "According to [2]: it opened.",
        "def sizes(names: list[str]) -> dict[str, int]:\n    for name in names[1:]:\n        x = f(1) if 1 < 2 else 3",
        "1 <2, x<= 3, <3, a@b.example, https://example.org/?q=1#x",
        "| a | b |\n|---|---|\n| `x` | **y** |",
        "- [x] done\n1. (one)",
    ],
)
def test_what_is_left_alone(text: str) -> None:
    """Markers, prose, comparisons, tables and most code are as they were."""
    assert inert(text) == text


@given(st.lists(st.sampled_from(["It opened. ", "[1]", "[2, 3]", "【4】", "(", ":", " ", "<", "b"])).map("".join))
def test_markers_stay_markers(text: str) -> None:
    """Whatever stands behind them."""
    assert [match.group() for match in MARKER.finditer(inert(text))] == [m.group() for m in MARKER.finditer(text)]

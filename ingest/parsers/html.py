"""HTML: what a reader sees of it. Scripts, styles, hidden elements and comments do not get through.

lxml feeds its parser's events to a target, so that no tree is built: time and memory are linear, however deep it nests,
up to the depth at which libxml2 itself would take too long.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from lxml import etree

from app.errors import DocumentTooExpensive
from ingest.parsers.text import decode, known_encoding, read_bytes
from ingest.sections import Limits, Parsed, SectionBuilder, Source

_UNSEEN = frozenset(
    [
        "script",
        "style",
        "noscript",
        "noframes",
        "datalist",
        "template",
        "iframe",
        "object",
        "embed",
        "svg",
        "canvas",
        "audio",
        "video",
        "head",
        "nav",
        "select",
        "button",
    ]
)
# Elements without content: they have no end that could close a hidden part.
_VOID = frozenset(
    ["area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track", "wbr"]
)
_BLOCKS = frozenset(
    [
        "address",
        "article",
        "aside",
        "blockquote",
        "body",
        "center",
        "dd",
        "details",
        "dialog",
        "div",
        "dl",
        "dt",
        "fieldset",
        "figcaption",
        "figure",
        "footer",
        "form",
        "header",
        "hr",
        "li",
        "main",
        "ol",
        "p",
        "pre",
        "section",
        "summary",
        "table",
        "tbody",
        "td",
        "tfoot",
        "th",
        "thead",
        "tr",
        "ul",
        "caption",
    ]
)
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
# Not displayed, of no size, transparent, or far outside the page.
_HIDING_STYLE = re.compile(
    r"display\s*:\s*none|visibility\s*:\s*(?:hidden|collapse)|(?<![\w-])color\s*:\s*transparent"
    r"|(?:font-size|opacity)\s*:\s*0*\.?0*(?:[a-z%]+)?\s*(?:;|!|$)|(?:left|top|text-indent)\s*:\s*-\d{4}",
    re.I,
)
# For an end tag libxml2 goes through all open elements, if none of them is its own: a second for 300 million steps.
_MOST_STEPS = 400_000_000
_ALWAYS_ALLOWED_DEPTH = 1_000
_FED_AT_ONCE = 65_536  # bytes
_CHARSET = re.compile(rb"""(?:charset|encoding)\s*=\s*["']?\s*([A-Za-z0-9_:.-]{2,40})""", re.I)


def parse_html(source: Source, limits: Limits) -> Parsed:
    """The visible text, in document order, under its `h1` to `h6`; tables as rows, lists as items."""
    builder = SectionBuilder(limits)
    title, warnings = read_html(read_bytes(source, limits), builder)
    return Parsed(builder.sections(), title=title, warnings=warnings)


def read_html(data: bytes, builder: SectionBuilder, encoding: str | None = None) -> tuple[str | None, tuple[str, ...]]:
    """Put what a reader sees into `builder`; the title and warnings. `encoding` is what came with the file, if any."""
    text, warnings = decode(data, encoding or _declared_encoding(data))
    reader = _Reader(builder, max_depth=max(_ALWAYS_ALLOWED_DEPTH, _MOST_STEPS // (text.count("</") + 1)))
    parser = etree.HTMLParser(target=reader, encoding="utf-8", huge_tree=True, no_network=True)
    encoded = text.encode("utf-8", "replace")
    for start in range(0, len(encoded), _FED_AT_ONCE):  # an error stops it only before the next part
        parser.feed(encoded[start : start + _FED_AT_ONCE])
    parser.close()
    return reader.finish(), warnings


def _declared_encoding(data: bytes) -> str | None:
    match = _CHARSET.search(data, 0, 4096)
    return known_encoding(match[1].decode("ascii")) if match else None


class _Reader:
    """The target of lxml's HTML parser: it is told of starts, text, and ends."""

    def __init__(self, builder: SectionBuilder, max_depth: int) -> None:
        self._builder = builder
        self._max_depth = max_depth
        self._depth = 0  # open elements
        self._text: list[str] = []  # of the block that is being read
        self._unseen = 0  # open elements within a hidden one, itself included
        self._preformatted = 0
        self._title: list[str] = []
        self._in_title = False
        self._head = 0  # open heads of tables, whose cells name the columns

    def finish(self) -> str | None:
        """Hand over what is left of the text; the title."""
        self._finish_block()
        return " ".join("".join(self._title).split()) or None

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        self._depth += 1
        if self._depth > self._max_depth:
            raise DocumentTooExpensive(f"More than {self._max_depth} of its HTML elements lie within each other.")
        if tag == "title" and not self._title:
            self._in_title = True
        if self._unseen or tag in _UNSEEN or _is_hidden(tag, attributes):
            self._unseen += tag not in _VOID
            return
        if tag == "br":
            self._text.append("\n")
        elif tag == "img":
            self._text.append(attributes.get("alt", ""))
        elif tag in _BLOCKS or tag in _HEADINGS:
            self._finish_block()
        if tag == "li":
            self._text.append("- ")
        elif tag == "pre":
            self._preformatted += 1
        elif tag == "tr":
            self._builder.open_row()
        elif tag in ("td", "th"):
            self._builder.open_cell(header=tag == "th" or self._head > 0)
            columns = attributes.get("colspan", "")
            if columns.isdecimal() and len(columns) < 4:
                self._builder.widen_cell(int(columns))
        elif tag == "thead":
            self._head += 1

    def data(self, data: str) -> None:
        if self._in_title:
            self._title.append(data)
        elif not self._unseen:
            self._text.append(data if self._preformatted else data.replace("\n", " "))

    def end(self, tag: str) -> None:
        self._depth -= 1
        if tag == "title":
            self._in_title = False
        if self._unseen:
            self._unseen -= tag not in _VOID
            return
        if tag in _HEADINGS:
            self._builder.heading(_HEADINGS[tag], self._take_text())
            return
        if tag in _BLOCKS:
            self._finish_block()
        if tag == "li":
            self._text.clear()
        elif tag == "pre":
            self._preformatted = max(0, self._preformatted - 1)
        elif tag == "tr":
            self._builder.close_row()
        elif tag == "thead":
            self._head = max(0, self._head - 1)
        elif tag == "table":
            self._builder.close_table()

    def close(self) -> None:
        """lxml calls this at the end of the file."""

    def _finish_block(self) -> None:
        text = self._take_text()
        if text == "-":
            self._text.append("- ")  # the item's first block is still to come
        elif text:
            self._builder.block(text)

    def _take_text(self) -> str:
        text = "".join(self._text)
        self._text.clear()
        if self._preformatted:
            return text.strip("\n")
        if "\n" not in text:
            return " ".join(text.split())
        return "\n".join(filter(None, (" ".join(line.split()) for line in text.split("\n"))))


def _is_hidden(tag: str, attributes: Mapping[str, str]) -> bool:
    if tag == "dialog" and "open" not in attributes:
        return True
    if not attributes:
        return False
    return "hidden" in attributes or bool(_HIDING_STYLE.search(attributes.get("style", "")))

"""Headings that are only printed as such: larger or bolder than the text, on lines of their own."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ingest.parsers.pdf_layout import Table, Text
from ingest.parsers.pdf_words import Font

_LARGER = 1.12  # times the size of the text
_MAX_LINES = 3
_MAX_CHARACTERS = 120
_MAX_DEPTH = 3
_MAX_SHARE = 0.25  # of the lines: where more look like headings, the look means something else
_LETTERS = re.compile(r"[^\W\d_]{2}|[\u3400-\u9fff]")
_FULL = 0.9  # of a line's usual width
_SENTENCE_END = re.compile(r"[.!?。！？：:；;…][\"'”’)\]）」』]*$")
_NO_HEADING = re.compile(
    r"[a-zß-ÿ]|[-•·▪●◦○■□◆▶➢✓*–—]\s|\(\d"  # goes on with a sentence, an item of a list, a note under a table
    r"|.*(?:[,;，；、:：]|[^\W\d_]{3}[.。!！?？])$"  # is a sentence, or stands before one
    r"|.*(?:\. ?){4,}"  # an entry of a table of contents
    r"|.*\d\W+\d[\d.,]*$"  # the head of a table's columns
    r"|(?:\([^()]*\)\s*)+$",  # what its numbers are in
    re.S,
)


class Heading(NamedTuple):
    """A heading on a page: at which of the page's printed lines it begins, and the titles over it with its own."""

    line: int
    path: tuple[str, ...]


class _Found(NamedTuple):
    page: int
    line: int
    end: int  # where the next line is
    title: str
    font: Font


def printed_headings(pages: Sequence[Sequence[Text | Table]]) -> dict[int, list[Heading]]:
    """The headings of each page, from 0, that has any; none where the fonts do not tell them from the text."""
    body = _body(pages)
    if body is None:
        return {}
    found = [heading for number, page in enumerate(pages) for heading in _on_page(number, page, body)]
    lines = sum(len(block.lines) for page in pages for block in page if isinstance(block, Text))
    if len(found) > _MAX_SHARE * lines:
        return {}
    levels = {level: at for at, level in enumerate(sorted({_level(each, body) for each in found}))}
    path: list[tuple[int, str]] = []
    headings: dict[int, list[Heading]] = {}
    before: _Found | None = None
    for each in found:
        level = levels[_level(each, body)]
        # Right under another one it adds to that, as what a table's numbers are in to its title.
        adds = before is not None and (before.page, before.end) == (each.page, each.line)
        while path and (path[-1][0] > level or (path[-1][0] == level and not adds)):
            path.pop()
        before = each
        path.append((level, each.title))
        titles = tuple(title for _, title in path[-_MAX_DEPTH:])
        headings.setdefault(each.page, []).append(Heading(each.line, titles))
    return headings


def _body(pages: Sequence[Sequence[Text | Table]]) -> Font | None:
    """The font of most of the running text."""
    characters: Counter[Font] = Counter()
    for page in pages:
        for block in page:
            if isinstance(block, Text):
                for line, font in zip(block.lines, block.fonts, strict=False):
                    if font is not None:
                        characters[font] += len(line)
    return characters.most_common(1)[0][0] if characters else None


def _level(found: _Found, body: Font) -> tuple[float, bool, bool]:
    """What sorts headings by their rank: larger ones first, then bold ones, then upright ones.

    What is smaller than the text stands over a table of small print, and ranks as if it were not.
    """
    font = found.font
    return -max(font.size, body.size), not font.is_bold, font.is_italic


def _on_page(number: int, page: Sequence[Text | Table], body: Font) -> Iterator[_Found]:
    at = 0
    for block in page:
        if isinstance(block, Table):
            at += len(block.rows)
            continue
        for start, end, font in _runs(block):
            if not _stands_out(font, body) or end - start > _MAX_LINES or _is_within(block, start, end):
                continue
            title = " ".join(block.lines[start:end])
            if len(title) <= _MAX_CHARACTERS and _LETTERS.search(title) and not _NO_HEADING.match(title):
                yield _Found(number, at + start, at + end, title, font)
        at += len(block.lines)


def _is_within(block: Text, start: int, end: int) -> bool:
    """Whether the lines are in the middle of a sentence, of which a part is emphasised."""
    if start and block.widths[start - 1] >= _FULL * block.usual and not _SENTENCE_END.search(block.lines[start - 1]):
        return True
    return end < len(block.lines) and block.lines[end][:1].islower()


def _runs(block: Text) -> Iterator[tuple[int, int, Font]]:
    """Lines that follow each other in one font."""
    start = 0
    for at in range(1, len(block.fonts) + 1):
        if at == len(block.fonts) or block.fonts[at] != block.fonts[start]:
            font = block.fonts[start]
            if font is not None:
                yield start, at, font
            start = at


def _stands_out(font: Font, body: Font) -> bool:
    return font.size >= _LARGER * body.size or (font.is_bold and not body.is_bold)

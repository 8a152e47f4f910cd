"""Pages of text and tables to sections: whole paragraphs, under the headings of an outline."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace

from ingest.parsers.paragraphs import join_printed, joint, rejoin, runs_on, vocabulary
from ingest.parsers.pdf_headings import Heading, printed_headings
from ingest.parsers.pdf_layout import Table, Text
from ingest.sections import PARAGRAPH_BREAK, Section
from ingest.tables import CELL_BORDER, join_cells

_PAGES_OF_A_CHAPTER = 5  # an outline with fewer entries than one for so many pages leaves out the headings
_LONG_TABLE = 6  # rows: a table that may be cut into several chunks
_MAX_HEADER = 300  # characters
_MAX_TITLES = 3  # rows over a table's header row and with it
_VALUE = re.compile(r"[\s$€£¥(]*[-+–]?[\d.,\s]*\d[\d.,]*\s*[%)]*")
_YEAR = re.compile(r"(?:19|20)\d\d\s*年?")
OutlineEntry = tuple[int, tuple[str, ...]]  # page, from 0, and heading path


def sections(pages: Sequence[Sequence[Text | Table]], outline: Sequence[OutlineEntry]) -> Iterator[Section]:
    """Sections of whole paragraphs, cut at pages, where a heading stands, and around long tables.

    The outline names the headings. Where there is none, or one of few chapters, their print tells them.
    """
    words = vocabulary("\n".join(line for block in page for line in _printed(block)) for page in pages)
    by_page = _headings(pages, outline)
    headings: tuple[str, ...] = ()
    before: Section | None = None
    for index, page in enumerate(pages):
        for path, blocks in _under_headings(page, by_page.get(index, []), headings):
            for text, header in _parts(blocks, words):
                section = Section(text, index + 1, path, _between(before, text, path), header)
                if before is not None and header and header == before.header:
                    section = replace(section, joint="\n")
                yield section
                before = section
            headings = path


def _parts(blocks: Sequence[Text | Table], words: frozenset[str]) -> Iterator[tuple[str, str]]:
    """The texts of sections, and the header row of those that are a long table."""
    paragraphs: list[str] = []
    for block in blocks:
        if isinstance(block, Table):
            lines = [join_cells(row) for row in block.rows]
            at = _header_at(block)
            header = lines[at] if at is not None else ""
            if at is None or not header:
                paragraphs.append("\n".join(lines))
                continue
            paragraphs += lines[:at]  # a title over the columns
            lines = lines[at:]
            if paragraphs:
                yield "\n".join(paragraphs), ""
                paragraphs = []
            yield "\n".join(lines), header
            continue
        found = join_printed(block.lines, block.widths, block.usual, words)
        if block.may_go_on and paragraphs and runs_on(paragraphs[-1], found[0]):
            paragraphs[-1] = rejoin([paragraphs[-1], found.pop(0)], words)
        paragraphs += found
    if paragraphs:
        yield "\n".join(paragraphs), ""


def _between(before: Section | None, text: str, path: tuple[str, ...]) -> str:
    """What stands between two sections: less than a blank line where a paragraph runs on."""
    if before is None or before.headings != path or before.header:
        return PARAGRAPH_BREAK
    last, first = before.text.rsplit("\n", 1)[-1], text.split("\n", 1)[0]
    if CELL_BORDER in last or CELL_BORDER in first:  # rows of a table
        return PARAGRAPH_BREAK
    return joint(last, first) if runs_on(last, first) else PARAGRAPH_BREAK


def _headings(pages: Sequence[Sequence[Text | Table]], outline: Sequence[OutlineEntry]) -> dict[int, list[Heading]]:
    """The headings of each page, from 0."""
    outlined = _outlined(pages, outline)
    if len(outline) * _PAGES_OF_A_CHAPTER >= len(pages):
        return outlined
    printed = printed_headings(pages)
    chapter: tuple[str, ...] = ()
    found: dict[int, list[Heading]] = {}
    for number in sorted({*outlined, *printed}):
        chapters = outlined.get(number, [])
        named = {_squeeze(each.path[-1]) for each in chapters}
        others = [each for each in printed.get(number, ()) if _squeeze(each.path[-1]) not in named]
        for each in sorted([*chapters, *others], key=lambda each: each.line):
            if each in chapters:
                chapter = each.path
            path = chapter if each in chapters else (*chapter, each.path[-1]) if chapter else each.path
            found.setdefault(number, []).append(Heading(each.line, path))
    return found


def _outlined(pages: Sequence[Sequence[Text | Table]], outline: Sequence[OutlineEntry]) -> dict[int, list[Heading]]:
    """Where the outline's titles stand on each page. One that is not there counts from where it would be."""
    shown: dict[int, list[str]] = {}
    found: dict[int, list[Heading]] = {}
    for number, path in outline:
        if number not in shown:
            shown[number] = [line for block in pages[number] for line in _printed(block)] if number < len(pages) else []
        lines, title = shown[number], _squeeze(path[-1])
        headings = found.setdefault(number, [])
        start = headings[-1].line if headings else 0
        at = next((at for at in range(start, len(lines)) if _opens_with(lines, at, title)), start)
        headings.append(Heading(at, path))
    return found


def _under_headings(
    blocks: Sequence[Text | Table], cuts: Sequence[Heading], headings: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], list[Text | Table]]]:
    """The blocks of a page under their heading paths."""
    part: list[Text | Table] = []
    remaining = deque(cuts)
    at = 0
    for block in blocks:
        end = at + len(_printed(block))
        first = at
        while remaining and remaining[0].line < end:
            cut, path = remaining.popleft()
            if isinstance(block, Text) and cut > first:
                part.append(block.cut(first - at, cut - at))
                first = cut
            yield headings, part
            headings, part = path, []
        part.append(block.cut(first - at, end - at) if isinstance(block, Text) else block)
        at = end
    yield headings, part
    for _, path in remaining:
        yield path, []


def _printed(block: Text | Table) -> Sequence[str]:
    return block.lines if isinstance(block, Text) else [" ".join(row) for row in block.rows]


def _opens_with(lines: Sequence[str], at: int, title: str) -> bool:
    """Whether a title of the outline stands at this line, perhaps numbered, perhaps broken over three lines."""
    shown = _squeeze("".join(lines[at : at + 3]))[: len(title) + 8]
    return bool(title) and (shown.startswith(title) or shown.lstrip("0123456789.§").startswith(title))


def _header_at(table: Table) -> int | None:
    """Which row of a long table names its columns; none where the first rows are like the others."""
    if len(table.rows) < _LONG_TABLE:
        return None
    for at, row in enumerate(table.rows[:_MAX_TITLES]):
        filled = [cell for cell in row if cell]
        if any(_VALUE.fullmatch(cell) and not _YEAR.fullmatch(cell) for cell in filled):
            return None
        # The first column of statements has no name; then others may lack one, too.
        if len(filled) > 1 and (not row[0] or len(filled) * 2 >= len(row)):
            return at if len(join_cells(row)) <= _MAX_HEADER else None
    return None


def _squeeze(text: str) -> str:
    return re.sub(r"\s+", "", text).lower()

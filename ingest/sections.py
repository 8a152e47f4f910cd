"""What a parser finds in a file: sections under their headings, and how they become one text with exact offsets."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import IO, Literal, Protocol

from app.errors import DocumentTooExpensive
from ingest.tables import Table, join_cells

PARAGRAPH_BREAK = "\n\n"
HIDDEN_CHARACTERS = "Invisible characters were removed."  # a warning

_MAX_COLUMNS_COVERED = 50  # by one cell

_CONTROLS = "\x00-\x08\x0e-\x1f\x7f-\x9f"
# Zero-width, bidirectional, and tag characters: invisible to a reader, so nothing that he would expect to be read.
_INVISIBLES = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufeff\uffa0"
    "\ufff9-\ufffb\U000e0000-\U000e007f"
)
_LINE_BREAK = re.compile("\r\n|[\r\v\f\x85\u2028\u2029]")
_NOT_KEPT = re.compile(f"[{_CONTROLS}{_INVISIBLES}]")
_INVISIBLE = re.compile(f"[{_INVISIBLES}]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_VISIBLE = re.compile(rf"[^\s{_CONTROLS}{_INVISIBLES}]")
# Most texts have nothing of all this: one search tells.
_ODD = re.compile(f"[{_CONTROLS}{_INVISIBLES}\v\f\r\u2028\u2029\ud800-\udfff]")
_SPACE_AT_END = re.compile(r"\n(?<=[^\S\n]\n)")  # of a line; the line breaks are found at once
_DEEPEST_TABLE = 20  # tables in tables: those below are text of the cell around them, or closing them takes for ever
_BLANK_LINES = re.compile("\n{3,}")


class Source(Protocol):
    """The file that a parser reads: a `Path`, or bytes that came within another file."""

    def open(self, mode: Literal["rb"], /) -> IO[bytes]: ...


@dataclass(frozen=True, slots=True)
class Section:
    """A run of text on one page and under one heading path. A heading's own line is the first of its section.

    A table whose rows are not understood without their header row is a section of its own, which begins with that row.
    """

    text: str
    page: int | None = None  # counts from 1
    headings: tuple[str, ...] = ()
    joint: str = PARAGRAPH_BREAK  # what stands between the section before and this one
    header: str = ""  # of a table: its header row as it stands in `text`, cut at a column if it is very long


@dataclass(frozen=True, slots=True)
class Parsed:
    """A file as its parser read it."""

    sections: tuple[Section, ...]
    pages: int | None = None
    title: str | None = None
    warnings: tuple[str, ...] = ()
    page_labels: tuple[str, ...] = ()  # of each page, in order, where the file calls them otherwise than 1, 2, 3


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a parser may read before the document is refused."""

    max_pages: int = 5000
    max_characters: int = 50_000_000  # of text: a shelf of books
    max_nesting: int = 2  # files within files, such as the attachments of a mail that is attached to a mail
    seconds: float = 120.0  # on the clock; a parser that may come near tells how far it came


@dataclass(frozen=True, slots=True)
class Span:
    """Where a section stands in the normalised text: `text[start:end]`."""

    start: int
    end: int
    page: int | None
    headings: tuple[str, ...]
    header: str = ""


def normalise(text: str) -> str:
    """The text as it is stored and quoted: what a person sees, without what nobody sees. Idempotent.

    Newlines become `\\n`; controls, zero-width, bidirectional and tag characters go; lone surrogates become U+FFFD;
    spaces at line ends and more than one blank line go. No compatibility normalisation: people want their own text.
    """
    if _ODD.search(text):
        text = _SURROGATE.sub("\ufffd", _NOT_KEPT.sub("", _LINE_BREAK.sub("\n", text)))
    text = text.strip("\n")
    if text[-1:].isspace() or _SPACE_AT_END.search(text):
        # By lines, because a pattern for "spaces before a newline" takes quadratic time on a long run of spaces.
        text = "\n".join([line.rstrip() for line in text.split("\n")])
    if "\n\n\n" in text:
        text = _BLANK_LINES.sub(PARAGRAPH_BREAK, text)
    return text.strip("\n")


def is_blank(text: str) -> bool:
    """Whether nothing that can be seen would be left of the text."""
    return _VISIBLE.search(text) is None


def hides_characters(text: str) -> bool:
    """Whether the text holds characters that a reader cannot see, such as those that smuggle instructions."""
    # Soft hyphens are removed, too, but ordinary: they tell where a word may be broken.
    return not text.isascii() and _INVISIBLE.search(text.lstrip("\ufeff").replace("\u00ad", "")) is not None


def assemble(sections: Iterable[Section]) -> tuple[str, list[Span]]:
    """The document's normalised text, the one that all offsets refer to, and where each section stands in it."""
    parts: list[str] = []
    spans: list[Span] = []
    length = 0
    for section in sections:
        text = normalise(section.text)
        if not text or text.isspace():
            continue
        if parts:
            parts.append(section.joint)
            length += len(section.joint)
        parts.append(text)
        spans.append(Span(length, length + len(text), section.page, section.headings, normalise(section.header)))
        length += len(text)
    return "".join(parts), spans


@dataclass(slots=True)
class _Row:
    """A row that is being read: the blocks of each cell."""

    cells: list[list[str]]
    has_plain: bool = False  # cells that were not marked as a header's
    padding: int = 0  # further columns that the last cell covers


class SectionBuilder:
    """Collects blocks of text, in document order, into sections under the headings that precede them.

    Tables may be nested: a row becomes a line `a | b`, and a row with a single cell stays as the blocks that it holds.
    A long table with a header row becomes a section of its own; other tables stay with the prose around them.
    """

    def __init__(self, limits: Limits) -> None:
        self._characters_left = limits.max_characters
        self._sections: list[Section] = []
        self._path: list[tuple[int, str]] = []  # (level, title)
        self._page: int | None = None
        self._blocks: list[str] = []
        self._rows: list[_Row] = []  # the open ones, outermost first
        self._too_deep = 0  # open rows that are not among them
        self._table = Table()  # the finished rows of the outermost table

    def open_page(self, number: int) -> None:
        """What follows is on this page, or slide, and under no heading yet."""
        self.turn_to_page(number)
        self._path.clear()

    def turn_to_page(self, number: int) -> None:
        """What follows is on this page, and still under the same headings."""
        self._finish_section()
        self._page = number

    def heading(self, level: int, text: str) -> None:
        """A heading opens a section under all headings of a smaller level. Inside a table it is ordinary text."""
        title = " ".join(normalise(text).split())
        if self._rows or not title:
            self.block(text)
            return
        self._count(title)
        self._finish_section()
        while self._path and self._path[-1][0] >= level:
            self._path.pop()
        self._path.append((level, title))
        self._blocks.append(" ".join(text.split()))  # not normalised, so that what is hidden in it is noticed

    def block(self, text: str) -> None:
        """A paragraph, a list item, or any other block."""
        if not text or text.isspace():
            return
        self._count(text)
        if not self._rows:
            self._finish_table()
            self._blocks.append(text)
        else:
            self._last_cell().append(text)

    def row(self, cells: Sequence[str], header: bool = False) -> None:
        """A whole row of a table that is not nested; each cell is one text."""
        line = join_cells(cells)
        if line:
            self._count(line)
            self._table.row(cells, line, header)

    def open_row(self) -> None:
        if len(self._rows) < _DEEPEST_TABLE:
            self._rows.append(_Row([]))
        else:
            self._too_deep += 1

    def open_cell(self, header: bool = False) -> None:
        if self._rows and not self._too_deep:
            row = self._rows[-1]
            row.cells.extend([] for _ in range(row.padding + 1))
            row.has_plain |= not header
            row.padding = 0

    def widen_cell(self, columns: int) -> None:
        """The cell that was opened last covers several columns; the next cell stands behind them all."""
        if self._rows and not self._too_deep:
            self._rows[-1].padding = max(1, min(columns, _MAX_COLUMNS_COVERED)) - 1

    def close_row(self, header: bool = False) -> None:
        """Join the cells of the innermost open row; it becomes a line of the table or a block of the cell around it.

        It is a header row if that is said here or of each of its cells.
        """
        if self._too_deep:
            self._too_deep -= 1
            return
        if not self._rows:
            return
        row = self._rows.pop()
        filled = [cell for cell in row.cells if cell]
        if not filled:
            return
        cells = [" ".join(" ".join(cell).split()) for cell in row.cells]
        lines = filled[0] if len(filled) == 1 else [join_cells(cells)]
        if self._rows:
            self._last_cell().extend(lines)
        elif len(filled) == 1:
            self._table.lines(lines)
        else:
            self._table.row(cells, lines[0], header or not row.has_plain)

    def close_table(self) -> None:
        if not self._rows:
            self._finish_table()

    def sections(self) -> tuple[Section, ...]:
        """All that was collected."""
        self._too_deep = 0
        while self._rows:
            self.close_row()
        self._finish_section()
        return tuple(self._sections)

    def _last_cell(self) -> list[str]:
        """The cell of the innermost open row that is being read."""
        if not self._rows[-1].cells:
            self.open_cell()
        return self._rows[-1].cells[-1]

    def _count(self, text: str) -> None:
        self._characters_left -= len(text)
        if self._characters_left < 0:
            raise DocumentTooExpensive("The file holds more text than is allowed.")

    def _finish_table(self) -> None:
        if not self._table:
            return
        before, table, header = self._table.parts()
        self._table = Table()
        if before:
            self._blocks.append(before)
        if header:
            self._finish_blocks()
            self._sections.append(self._section(table, header))
        else:
            self._blocks.append(table)

    def _finish_section(self) -> None:
        self._finish_table()
        self._finish_blocks()

    def _finish_blocks(self) -> None:
        if self._blocks:
            self._sections.append(self._section(_join_blocks(self._blocks)))
            self._blocks = []

    def _section(self, text: str, header: str = "") -> Section:
        return Section(text, self._page, tuple(title for _, title in self._path), header=header)


def _join_blocks(blocks: list[str]) -> str:
    """Blocks with a blank line between them; the items of a list stay together."""
    parts = [blocks[0]]
    for before, block in pairwise(blocks):
        parts += "\n" if before.startswith("- ") and block.startswith("- ") else PARAGRAPH_BREAK, block
    return "".join(parts)

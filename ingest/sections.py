"""What a parser finds in a file: sections under their headings, and how they become one text with exact offsets."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from app.errors import DocumentTooExpensive

PARAGRAPH_BREAK = "\n\n"

_LINE_BREAK = re.compile("\r\n|[\r\v\f\x85\u2028\u2029]")
_CONTROL = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f]")
# Zero-width, bidirectional, and tag characters: invisible to a reader, so nothing that he would expect to be read.
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufeff\uffa0"
    "\ufff9-\ufffb\U000e0000-\U000e007f]"
)
_SURROGATE = re.compile("[\ud800-\udfff]")
_ASCII = {code: None for code in (*range(32), 127) if chr(code) not in "\t\n"} | dict.fromkeys(b"\r\v\f", "\n")
_BLANK_LINES = re.compile("\n{3,}")


@dataclass(frozen=True, slots=True)
class Section:
    """A run of text on one page and under one heading path. A heading's own line is the first of its section.

    A table whose rows are not understood without their header row is a section of its own, which begins with that row.
    """

    text: str
    page: int | None = None  # counts from 1
    headings: tuple[str, ...] = ()
    joint: str = PARAGRAPH_BREAK  # what stands between the section before and this one
    header: str = ""  # of a table: its header row as one line, as it stands in `text`


@dataclass(frozen=True, slots=True)
class Parsed:
    """A file as its parser read it."""

    sections: tuple[Section, ...]
    pages: int | None = None
    title: str | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a parser may read before the document is refused."""

    max_pages: int = 5000
    max_characters: int = 50_000_000  # of text: a shelf of books
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
    if text.isascii():
        # The same as below, ten times as fast.
        text = text.replace("\r\n", "\n").translate(_ASCII)
        untidy = " \n" in text or "\t\n" in text or text[-1:].isspace()
    else:
        text = _INVISIBLE.sub("", _CONTROL.sub("", _LINE_BREAK.sub("\n", text)))
        text = _SURROGATE.sub("\ufffd", text)
        untidy = True
    if untidy:
        # By lines, because a pattern for "spaces before a newline" takes quadratic time on a long run of spaces.
        text = "\n".join([line.rstrip() for line in text.split("\n")])
    if "\n\n\n" in text:
        text = _BLANK_LINES.sub(PARAGRAPH_BREAK, text)
    return text.strip("\n")


def hides_characters(text: str) -> bool:
    """Whether the text holds characters that a reader cannot see, such as those that smuggle instructions."""
    return not text.isascii() and _INVISIBLE.search(text.lstrip("\ufeff")) is not None


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
        spans.append(Span(length, length + len(text), section.page, section.headings, section.header))
        length += len(text)
    return "".join(parts), spans


class SectionBuilder:
    """Collects blocks of text, in document order, into sections under the headings that precede them.

    Tables may be nested: a row becomes a line `a | b`, and a row with a single cell stays as the blocks that it holds.
    """

    def __init__(self, limits: Limits) -> None:
        self._characters_left = limits.max_characters
        self._sections: list[Section] = []
        self._path: list[tuple[int, str]] = []  # (level, title)
        self._blocks: list[str] = []
        self._rows: list[list[list[str]]] = []  # open rows → their cells → the blocks of each
        self._lines: list[str] = []  # finished rows of the outermost table

    def heading(self, level: int, text: str) -> None:
        """A heading opens a section under all headings of a smaller level. Inside a table it is ordinary text."""
        title = " ".join(normalise(text).split())
        if self._rows or not title:
            self.block(text)
            return
        self._finish_section()
        while self._path and self._path[-1][0] >= level:
            self._path.pop()
        self._path.append((level, title))
        self._blocks.append(title)

    def block(self, text: str) -> None:
        """A paragraph, a list item, or any other block."""
        if not text or text.isspace():
            return
        self._characters_left -= len(text)
        if self._characters_left < 0:
            raise DocumentTooExpensive("The file holds more text than is allowed.")
        if not self._rows:
            self._finish_table()
            self._blocks.append(text)
        elif self._rows[-1]:
            self._rows[-1][-1].append(text)
        else:
            self._rows[-1].append([text])

    def open_row(self) -> None:
        self._rows.append([])

    def open_cell(self) -> None:
        if self._rows:
            self._rows[-1].append([])

    def close_row(self) -> None:
        """Join the cells of the innermost open row; it becomes a line of the table or a block of the cell around it."""
        if not self._rows:
            return
        cells = self._rows.pop()
        filled = [cell for cell in cells if cell]
        lines = filled[0] if len(filled) == 1 else [" | ".join(" ".join(" ".join(cell).split()) for cell in cells)]
        if not filled:
            return
        if self._rows:
            if not self._rows[-1]:
                self._rows[-1].append([])
            self._rows[-1][-1].extend(lines)
        else:
            self._lines.extend(lines)

    def close_table(self) -> None:
        if not self._rows:
            self._finish_table()

    def sections(self) -> tuple[Section, ...]:
        """All that was collected."""
        while self._rows:
            self.close_row()
        self._finish_section()
        return tuple(self._sections)

    def _finish_table(self) -> None:
        if self._lines:
            self._blocks.append("\n".join(self._lines))
            self._lines = []

    def _finish_section(self) -> None:
        self._finish_table()
        if self._blocks:
            headings = tuple(title for _, title in self._path)
            self._sections.append(Section(_join_blocks(self._blocks), headings=headings))
            self._blocks = []


def _join_blocks(blocks: list[str]) -> str:
    """Blocks with a blank line between them; the items of a list stay together."""
    parts = [blocks[0]]
    for before, block in pairwise(blocks):
        parts += "\n" if before.startswith("- ") and block.startswith("- ") else PARAGRAPH_BREAK, block
    return "".join(parts)

"""Tables as lines of text, `a | b`, and which of their rows is the header."""

from __future__ import annotations

import re
from collections.abc import Sequence

CELL_BORDER = " | "

# A table of no more than this fits within a chunk, where its header row is seen anyway. In bytes of UTF-8, because a
# Chinese character is a token and three bytes, and an English word of five letters is one or two tokens.
_SHORT_TABLE_BYTES = 500
_MAX_HEADER_BYTES = 300  # a longer one would leave no room for the rows that it explains
_MAX_TITLE_CHARACTERS = 120  # of a column; longer cells are prose
_MAX_GAP = 16  # empty cells side by side; more say nothing, and hostile sheets have thousands

_LINE_BREAK = re.compile("[\n\r\v\f\x85\u2028\u2029]")
_YEAR = re.compile(r"(?:FY ?)?(?:19|20)\d\d(?:[-/]\d\d(?:\d\d)?)?年?|\d{1,2}月", re.I)
# An amount, a date, a share, an address: what stands in a table's body.
_VALUE = re.compile(
    r"[-+~<>≤≥≈(]*\s*(?:[A-Z]{0,3}[$€£¥₹])?\s*[\d.][\d\s.,:/'’-]*(?:e[-+]?\d+)?\s*(?:[%‰°²³$€£¥₹]|[^\W\d]){0,4}[²³)]*"
    r"|\S+@\S+|\w+://\S+"
    r"|\d{4}年\d{1,2}月(?:\d{1,2}日)?|true|false",
    re.I,
)


def looks_like_header(cells: Sequence[str]) -> bool:
    """Whether a row reads like the titles of columns: short texts, most cells filled, no values but years."""
    filled = [cell.strip() for cell in cells if cell and not cell.isspace()]
    if len(filled) < 2 or len(filled) * 2 < len(cells):
        return False
    if any(len(cell) > _MAX_TITLE_CHARACTERS for cell in filled):
        return False
    titles = [cell for cell in filled if not _YEAR.fullmatch(cell)]
    return bool(titles) and not any(map(_is_value, titles))


def _is_value(cell: str) -> bool:
    return len(cell) <= _MAX_TITLE_CHARACTERS and _VALUE.fullmatch(cell) is not None


def join_cells(cells: Sequence[str]) -> str:
    """A row as one line. Empty cells keep the others in their columns, except at the end and in long runs."""
    end = len(cells)
    while end and not cells[end - 1]:
        end -= 1
    line = CELL_BORDER.join(cells[:end])
    if _LINE_BREAK.search(line):
        cells = [" ".join(cell.split()) for cell in cells[:end]]
        line = CELL_BORDER.join(cells)
    if end > _MAX_GAP and not all(cells[:end]):
        kept: list[str] = []
        gap = 0
        for cell in cells[:end]:
            gap = 0 if cell else gap + 1
            if gap <= _MAX_GAP:
                kept.append(cell)
        line = CELL_BORDER.join(kept)
    return line


class Table:
    """Rows in their order, and which of them is the header: one that is marked as such, or else the first one.

    The first row is taken only if it looks like a header and a later one does not: many tables have none.
    """

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._header: int | None = None  # which line it is
        self._guess: int | None = None  # which line it is if there are values below
        self._titles = 0  # filled cells of the header
        self._has_body = False  # whether a row of several cells that is no header has come

    def __bool__(self) -> bool:
        return bool(self._lines)

    def row(self, cells: Sequence[str], line: str, header: bool = False) -> None:
        """A row and the line that it makes. Of several header rows the one that names most columns counts."""
        if not self._has_body or (self._header is None and self._guess is not None):
            self._look_at(cells, header, sum(map(bool, cells)))
        self._lines.append(line)

    def _look_at(self, cells: Sequence[str], header: bool, filled: int) -> None:
        if filled < 2:
            return
        if self._has_body or not header:
            if not self._has_body and self._header is None and looks_like_header(cells):
                self._guess = len(self._lines)
            elif self._header is None and any(map(_is_value, cells)):
                self._header = self._guess
            self._has_body = True
        elif filled > self._titles:
            self._header, self._titles = len(self._lines), filled

    def lines(self, lines: Sequence[str]) -> None:
        """What stands in the only cell of a row."""
        self._lines.extend(lines)

    def parts(self) -> tuple[str, str, str]:
        """What precedes the header row, the table from there on, and its header; the header is empty if not needed."""
        text = "\n".join(self._lines)
        at = self._header
        if at is None or at == len(self._lines) - 1 or _is_short(text):
            return "", text, ""
        return "\n".join(self._lines[:at]), "\n".join(self._lines[at:]), _clip(self._lines[at])


def _is_short(text: str) -> bool:
    return len(text) <= _SHORT_TABLE_BYTES and len(text.encode("utf-8", "replace")) <= _SHORT_TABLE_BYTES


def _clip(header: str) -> str:
    """As many columns of a header row as there is room for; the rest of the line stays in the table itself."""
    encoded = header.encode("utf-8", "replace")
    if len(encoded) <= _MAX_HEADER_BYTES:
        return header.strip()
    cut = encoded[:_MAX_HEADER_BYTES].decode("utf-8", "ignore")
    return cut[: cut.rfind(CELL_BORDER)].strip() if CELL_BORDER in cut else cut.strip()

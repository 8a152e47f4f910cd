"""XLSX: the visible cells of the visible sheets, as people see them.

The XML is read as a stream: memory stays flat but for the texts that cells share. Formulas are never evaluated; what
they last gave is in the file.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from app.errors import DocumentTooExpensive, UnreadableDocument
from ingest.parsers.archive import Element, core_title, forget, open_archive, read_tree, related, require, stream_xml
from ingest.parsers.number_formats import BUILT_IN, NumberFormat
from ingest.sections import Limits, Parsed, SectionBuilder, Source
from ingest.tables import looks_like_header

_X = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
_R_ID = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"
_WORKBOOK = "xl/workbook.xml"
_ROW, _CELL, _COLUMN = f"{_X}row", f"{_X}c", f"{_X}col"
_TEXT, _PHONETIC = f"{_X}t", f"{_X}rPh"
_MAX_COLUMNS = 16_384
_MAX_GAP = 50  # empty cells that are kept between two; longer runs say nothing
_ESCAPED = re.compile("_x([0-9A-Fa-f]{4})_")
_REFERENCE = re.compile(r"([A-Z]{1,3})[0-9]")


@dataclass(slots=True)
class _Workbook:
    """What its sheets share, and what is left out of them."""

    texts: Sequence[str]
    formats: Sequence[NumberFormat]  # by the number of a cell's style
    hidden_sheets: int = 0
    hidden_lines: set[str] = field(default_factory=set)  # names of sheets with hidden rows or columns
    without_value: int = 0  # formulas

    def warnings(self) -> Iterator[str]:
        if self.hidden_sheets:
            yield f"{self.hidden_sheets} hidden sheet{'s were' if self.hidden_sheets > 1 else ' was'} left out."
        if self.hidden_lines:
            yield f"Hidden rows or columns were left out of: {', '.join(sorted(self.hidden_lines)[:10])}."
        if self.without_value:
            yield f"{self.without_value} formulas were never calculated; their cells are empty."


def parse_xlsx(source: Source, limits: Limits) -> Parsed:
    """Each sheet under its name, its rows as lines, its cells as their formats show them."""
    with open_archive(source) as archive:
        if "xl/workbook.bin" in archive.namelist():
            raise UnreadableDocument("The file is a binary Excel workbook (XLSB); save it as XLSX.")
        require(archive, _WORKBOOK, "an Excel workbook")
        properties = read_tree(archive, _WORKBOOK)
        epoch_1904 = any(each.get("date1904") in ("1", "true") for each in properties.iter(f"{_X}workbookPr"))
        workbook = _Workbook(_shared_texts(archive, limits), _formats(archive, epoch_1904))
        builder = SectionBuilder(limits)
        parts = related(archive, _WORKBOOK)
        for sheet in properties.iter(f"{_X}sheet"):
            kind, part = parts.get(sheet.get(_R_ID, ""), ("", ""))
            if kind != "worksheet" or part not in archive.namelist():
                continue  # such as a sheet that is only a chart
            if sheet.get("state", "visible") != "visible":
                workbook.hidden_sheets += 1
                continue
            _read_sheet(archive, part, sheet.get("name", ""), workbook, builder)
        return Parsed(builder.sections(), title=core_title(archive), warnings=tuple(workbook.warnings()))


def _shared_texts(archive: zipfile.ZipFile, limits: Limits) -> list[str]:
    part = next((part for kind, part in related(archive, _WORKBOOK).values() if kind == "sharedStrings"), "")
    texts: list[str] = []
    if part not in archive.namelist():
        return texts
    left = limits.max_characters
    with stream_xml(archive, part, (f"{_X}si",), ("end",)) as events:
        for _, element in events:
            text = _text_of(element)
            left -= len(text) + 1
            if left < 0:
                raise DocumentTooExpensive("The file holds more text than is allowed.")
            texts.append(text)
            forget(element)
    return texts


def _text_of(element: Element) -> str:
    """The runs of a text, without its pronunciation."""
    runs = (each for each in element.iter(_TEXT) if each.getparent().tag != _PHONETIC)
    return _plain("".join(each.text or "" for each in runs))


def _plain(text: str) -> str:
    """One line, and what XML cannot hold put back in."""
    return " ".join(_ESCAPED.sub(lambda match: chr(int(match[1], 16)), text).split())


def _formats(archive: zipfile.ZipFile, epoch_1904: bool) -> list[NumberFormat]:
    part = next((part for kind, part in related(archive, _WORKBOOK).values() if kind == "styles"), "")
    styles = read_tree(archive, part)
    codes: dict[str, str] = {str(number): code for number, code in BUILT_IN.items()}
    for element in styles.iter(f"{_X}numFmt"):
        codes[element.get("numFmtId", "")] = element.get("formatCode", "General")
    made: dict[str, NumberFormat] = {}
    formats = []
    for element in styles.iterfind(f"{_X}cellXfs/{_X}xf"):
        code = codes.get(element.get("numFmtId", "0"), "General")
        formats.append(made.setdefault(code, NumberFormat(code, epoch_1904)))
    return formats or [NumberFormat("General")]


def _read_sheet(archive: zipfile.ZipFile, part: str, name: str, workbook: _Workbook, builder: SectionBuilder) -> None:
    table = _Regions(name, builder)
    hidden = bytearray(_MAX_COLUMNS + 1)  # 1 for each such column
    at = 0
    with stream_xml(archive, part, (_COLUMN, _ROW), ("end",)) as events:
        for _, element in events:
            if element.tag == _COLUMN:
                if _is_hidden(element, "width"):
                    first = min(_number(element, "min", 1), _MAX_COLUMNS)
                    last = min(_number(element, "max", 1), _MAX_COLUMNS)
                    hidden[first : last + 1] = b"\1" * (last + 1 - first)
                continue
            previous, at = at, _number(element, "r", at + 1)
            cells = _cells(element, workbook)
            row_is_hidden = _is_hidden(element, "ht")
            if cells and (row_is_hidden or any(hidden[column] for column in cells)):
                workbook.hidden_lines.add(name)
            if not row_is_hidden:
                table.row(_visible(cells, hidden), apart=at != previous + 1)
            forget(element)
    table.close()


def _is_hidden(element: Element, size: str) -> bool:
    return element.get("hidden") in ("1", "true") or element.get(size) == "0"


def _number(element: Element, name: str, default: int) -> int:
    value = element.get(name, "")
    return int(value) if value.isdecimal() and len(value) < 9 else default


def _visible(cells: Mapping[int, str], hidden: bytearray) -> list[str]:
    """The cells in their order, with empty ones for the columns between them; not for all, where there are many."""
    row: list[str] = []
    last = 0
    for column in sorted(cells):
        between = range(max(last + 1, column - _MAX_GAP), column)
        row.extend("" for empty in between if not hidden[empty])
        if not hidden[column]:
            row.append(cells[column])
        last = column
    return row


def _cells(row: Element, workbook: _Workbook) -> dict[int, str]:
    """The texts of a row's filled cells by their columns, which count from 1."""
    cells: dict[int, str] = {}
    column = 0
    for cell in row.iterfind(_CELL):
        reference = _REFERENCE.match(cell.get("r", ""))
        column = _column(reference[1]) if reference else column + 1
        text = _cell_text(cell, workbook) if column <= _MAX_COLUMNS else ""
        if text:
            cells[column] = text
    return cells


def _column(letters: str) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + ord(letter) - 64
    return number


def _cell_text(cell: Element, workbook: _Workbook) -> str:
    kind = cell.get("t", "n")
    style = _number(cell, "s", 0)
    shown_as = workbook.formats[style] if style < len(workbook.formats) else workbook.formats[0]
    if kind == "inlineStr":
        return shown_as.text(_text_of(cell))
    value = cell.findtext(f"{_X}v")
    if not value:
        workbook.without_value += cell.find(f"{_X}f") is not None
        return ""
    if kind == "s":
        index = int(value)
        return shown_as.text(workbook.texts[index]) if 0 <= index < len(workbook.texts) else ""
    if kind == "b":
        return "TRUE" if value.strip() == "1" else "FALSE"
    if kind == "d":
        return _iso_date(value)
    if kind in ("str", "e"):
        return shown_as.text(_plain(value))
    return shown_as.number(value.strip())


def _iso_date(value: str) -> str:
    """A date that is written as such: without its time, if that is midnight."""
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return value
    return moment.date().isoformat() if moment.time() == datetime.min.time() else moment.isoformat(" ")


class _Regions:
    """The tables of a sheet: a blank row ends one if what follows has its own header, or stands in other columns."""

    def __init__(self, sheet: str, builder: SectionBuilder) -> None:
        self._sheet = sheet
        self._builder = builder
        self._is_empty = True
        self._apart = False
        self._notes: list[str] = []  # single cells behind a blank row: of this table, or titles of the next
        self._span: tuple[int, int] | None = None  # the first and last column of the first row of several cells
        self._has_values = False  # whether the table has rows that no header would look like

    def row(self, cells: Sequence[str], apart: bool) -> None:
        """A row of cells from the first column on; `apart` if rows before it are empty."""
        filled = [column for column, cell in enumerate(cells) if cell]
        self._apart |= apart or not filled
        if not filled:
            return
        if self._is_empty:
            self._builder.heading(1, self._sheet)
            self._is_empty = False
        if self._apart and self._span and len(filled) == 1:
            self._notes.append(cells[filled[0]])
            return
        if self._apart and self._opens_table(cells, filled):
            self._builder.close_table()
            self._span, self._has_values = None, False
        self._apart = False
        self._hand_over_notes()
        cells = cells[min(filled[0], self._span[0] if self._span else filled[0]) :]  # not every table is in column A
        titles = looks_like_header(cells)
        self._builder.row(cells, header=titles and self._span is None)
        if len(filled) > 1:
            self._has_values |= self._span is not None and not titles
            self._span = self._span or (filled[0], filled[-1])

    def close(self) -> None:
        """Nothing follows."""
        self._builder.close_table()
        self._hand_over_notes()
        self._builder.close_table()

    def _opens_table(self, cells: Sequence[str], filled: Sequence[int]) -> bool:
        if self._span is None:
            return True
        return looks_like_header(cells[filled[0] :]) and (self._has_values or self._span != (filled[0], filled[-1]))

    def _hand_over_notes(self) -> None:
        for note in self._notes:
            self._builder.row([note])
        self._notes.clear()

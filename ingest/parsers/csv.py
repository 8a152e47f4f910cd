"""CSV and TSV, with whatever separator: a line for each row, the titles of the columns as the table's header."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable
from itertools import islice

from ingest.parsers.text import read_text
from ingest.sections import Limits, Parsed, Section, SectionBuilder, Source
from ingest.tables import looks_like_header

_SEPARATORS = "\t|;,"  # of two that fit equally, the one that is rarer in texts
_SAMPLE_CHARACTERS = 64 * 1024
_SAMPLE_ROWS = 100
_MIN_SHARE = 0.4  # of the rows that have as many cells as most; in prose the commas fall anywhere


def parse_csv(source: Source, limits: Limits) -> Parsed:
    """Rows as they are: formulas stay text, and a row may be shorter or longer than the others."""
    text, warnings = read_text(source, limits)
    text, separator = _separator(text)
    if separator is None:
        return Parsed((Section(text),), warnings=warnings)
    # With an odd number of quotation marks one of them would swallow the rest of the file.
    if text.count('"') % 2 == 0:
        try:
            rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
            return Parsed(_read(rows, limits), warnings=warnings)
        except csv.Error:  # a cell of more than 128 kB: its quotation marks mean something else
            pass
    note = "Its quotation marks are not in pairs; they were read as ordinary characters."
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator, quoting=csv.QUOTE_NONE)
    return Parsed(_read(rows, limits), warnings=(*warnings, note))


def _read(rows: Iterable[list[str]], limits: Limits) -> tuple[Section, ...]:
    builder = SectionBuilder(limits)
    begun = False
    for cells in rows:
        first = not begun and sum(map(bool, cells)) > 1  # above it, there may be titles
        builder.row(cells, header=first and looks_like_header(cells))
        begun |= first
    return builder.sections()


def _separator(text: str) -> tuple[str, str | None]:
    """The text, without the line in which Excel may name the separator, and the separator; None if there is none."""
    text = text.removeprefix("\ufeff")
    if text[:4].lower() == "sep=" and text[5:6] in ("\r", "\n"):
        return text[5:].lstrip("\r\n"), text[4]
    scores = {}
    for separator in _SEPARATORS:
        reader = csv.reader(io.StringIO(text[:_SAMPLE_CHARACTERS], newline=""), delimiter=separator)
        try:
            lengths = [len(row) for row in islice(reader, _SAMPLE_ROWS) if row]
        except csv.Error:
            continue
        if len(text) > _SAMPLE_CHARACTERS and len(lengths) > 1:
            lengths.pop()  # cut short
        columns, rows = Counter(lengths).most_common(1)[0] if lengths else (0, 0)
        if columns > 1 and rows >= len(lengths) * _MIN_SHARE:
            # The titles tell a separator from the commas within amounts.
            scores[separator] = (round(rows / len(lengths), 1), lengths[0] == columns, columns)
    return text, max(scores, key=lambda separator: scores[separator], default=None)

"""JSON and JSON Lines as text that a person can read: `- path: value`, and each record of a list as a row.

Numbers stay as they are written, however many digits they have.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

from app.errors import DocumentTooExpensive, UnreadableDocument
from ingest.parsers.text import read_text
from ingest.sections import Limits, Parsed, Section, SectionBuilder, Source
from ingest.tables import CELL_BORDER

_MAX_HEADINGS = 3
_MAX_DEPTH = 100
_LONG_CHARACTERS = 400  # an object or list of more than this is a section of its own
_MAX_RECORD_CHARACTERS = 1000  # a longer one has a line for each of its values
_MAX_WARNINGS = 5
_WORDS = {None: "null", True: "true", False: "false"}

_Line = tuple[str, str]  # path and value


class _Number(str):
    """A number as it is written."""

    __slots__ = ()


_DECODER = json.JSONDecoder(parse_int=_Number, parse_float=_Number, parse_constant=_Number)


def parse_json(source: Source, limits: Limits) -> Parsed:
    """A JSON document, or one on each line. Large objects and lists near the top are sections under their keys."""
    text, warnings = read_text(source, limits)
    text = text.removeprefix("\ufeff").strip()
    writer = _Writer(limits)
    try:
        writer.write(_DECODER.decode(text))
    except json.JSONDecodeError as error:
        records, bad = _json_lines(text)
        if len(records) <= len(bad):
            raise UnreadableDocument(f"The file is not JSON: {error.msg}, line {error.lineno}.") from None
        writer.write(records)
        warnings = (*warnings, *bad[:_MAX_WARNINGS])
    return Parsed(writer.sections(), warnings=warnings)


def _json_lines(text: str) -> tuple[list[Any], list[str]]:
    """The records of a file with one on each line, and what is wrong with other lines."""
    records: list[Any] = []
    bad: list[str] = []
    for number, line in enumerate(io.StringIO(text), start=1):  # not `splitlines`: a string may hold U+2028
        if line.isspace():
            continue
        try:
            records.append(_DECODER.decode(line.strip()))
        except json.JSONDecodeError as error:
            bad.append(f"Line {number} is not JSON ({error.msg}); it was left out.")
            if len(bad) > len(records) + _MAX_WARNINGS:
                break
    return records, bad


class _Writer:
    """Writes a value as lines, and keeps count: every line carries its path, which can be long."""

    def __init__(self, limits: Limits) -> None:
        self._builder = SectionBuilder(limits)
        self._characters_left = limits.max_characters

    def sections(self) -> tuple[Section, ...]:
        return self._builder.sections()

    def write(self, value: Any, level: int = 1) -> None:
        """All that `value` holds; in an object, what is long is a section under its key."""
        if isinstance(value, list):
            records = ["\n".join(map(_show_line, self._record("", item, level))) for item in value]
            self._builder.block(("\n\n" if any("\n" in record for record in records) else "\n").join(records))
        elif not isinstance(value, dict) or level > _MAX_HEADINGS:
            self._builder.block("\n".join(map(_show_line, self._lines("", value, level))))
        else:
            long = {key: inner for key, inner in value.items() if _is_long(inner)}
            short = {key: inner for key, inner in value.items() if key not in long}
            self._builder.block("\n".join(map(_show_line, self._lines("", short, level))))
            for key, inner in long.items():
                self._builder.heading(level, key)
                self.write(inner, level + 1)

    def _lines(self, path: str, value: Any, depth: int) -> Iterator[_Line]:
        """A line for each value; a list of plain values is one line, a list of records has one for each."""
        if depth > _MAX_DEPTH:
            raise UnreadableDocument("The file is nested too deeply to be read.")
        if isinstance(value, dict):
            for key, inner in value.items():
                yield from self._lines(f"{path}.{key}" if path else key, inner, depth + 1)
        elif isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
            for at, item in enumerate(value):
                yield from self._record(f"{path}[{at}]", item, depth + 1)
        else:
            shown = ", ".join(map(_show, value)) if isinstance(value, list) else _show(value)
            self._characters_left -= len(path) + len(shown)
            if self._characters_left < 0:
                raise DocumentTooExpensive("The file holds more text than is allowed.")
            yield path, shown

    def _record(self, path: str, value: Any, depth: int) -> list[_Line]:
        """One line for all that a record holds, if it is not too long."""
        lines = list(self._lines(path, value, depth))
        if sum(len(inner) - len(path) + len(text) + 2 for inner, text in lines) > _MAX_RECORD_CHARACTERS:
            return lines
        return [(path, CELL_BORDER.join(_named(inner[len(path) :].removeprefix("."), text) for inner, text in lines))]


def _is_long(value: Any) -> bool:
    """Whether a list or an object holds much text; it is read only as far as need be."""
    if not isinstance(value, dict | list):
        return False
    left = _LONG_CHARACTERS
    pending: list[Iterator[Any]] = [iter((value,))]
    while pending and left > 0:
        for item in pending[-1]:
            if isinstance(item, dict | list):
                left -= sum(map(len, item)) if isinstance(item, dict) else 0
                pending.append(iter(item.values() if isinstance(item, dict) else item))
                break
            left -= len(item) if isinstance(item, str) else 4
            if left <= 0:
                break
        else:
            pending.pop()
    return left <= 0


def _show_line(line: _Line) -> str:
    """A row of a record, or an item of a list: either is a sentence by itself, without a full stop."""
    text = _named(*line)
    return text if CELL_BORDER in text else f"- {text}"


def _named(path: str, text: str) -> str:
    return f"{path}: {text}" if path else text


def _show(value: Any) -> str:
    return value if isinstance(value, str) else _WORDS[value]

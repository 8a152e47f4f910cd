"""What people have filled into a PDF's form: it is in no page's text, so each page is followed by its fields."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pypdf

from ingest.sections import PARAGRAPH_BREAK, Section, normalise

_MOST_WIDGETS = 20_000
_DEEPEST_FIELD = 16  # fields within fields
_MOST_CHARACTERS = 20_000  # of a value
_LONGEST_NAME = 200
_PUSH_BUTTON, _PASSWORD = 1 << 16, 1 << 13  # flags of a field: ISO 32000-1, 12.7.4
_MERELY_ON = frozenset({"on", "yes", "true", "x", "checked", "selected"})  # states that say no more than that
_XFA = "It is an XFA form: what its viewer would show of it is not read."


@dataclass(frozen=True, slots=True)
class Form:
    """The filled fields of each page, from 0, a line each: `name: value`, `[x] name` of a box that is ticked."""

    lines: Mapping[int, list[str]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def read_form(reader: pypdf.PdfReader) -> Form:
    """The fields that are not empty; none where the form is damaged."""
    try:
        form = _resolved(reader.root_object.get("/AcroForm"))
        if not isinstance(form, Mapping):
            return Form()
        is_dynamic = bool(_resolved(reader.root_object.get("/NeedsRendering")))
        return Form(dict(_filled(reader)), (_XFA,) if is_dynamic and "/XFA" in form else ())
    except MemoryError:
        raise
    except Exception:  # pypdf meets damage with any exception; the pages can still be read
        return Form()


def with_form(sections: Iterable[Section], form: Form) -> Iterator[Section]:
    """The sections of the pages, each page's fields behind its text."""
    pending = dict(sorted(form.lines.items()))
    last: Section | None = None
    for section in sections:
        for number in [number for number in pending if number + 1 < (section.page or 0)]:
            yield _section(number, pending.pop(number), last)
        yield section
        last = section
    for number, lines in pending.items():
        yield _section(number, lines, last)


def _section(number: int, lines: list[str], last: Section | None) -> Section:
    headings = last.headings if last is not None else ()
    return Section("\n".join(lines), number + 1, headings, PARAGRAPH_BREAK)


def _filled(reader: pypdf.PdfReader) -> Iterator[tuple[int, list[str]]]:
    left = _MOST_WIDGETS
    for number, page in enumerate(reader.pages):
        lines: dict[str, None] = {}  # a field may be shown several times
        for reference in _resolved(page.get("/Annots")) or ():
            widget = _resolved(reference)
            if left and isinstance(widget, Mapping) and widget.get("/Subtype") == "/Widget":
                left -= 1
                if line := _line(widget):
                    lines[line] = None
        if lines:
            yield number, list(lines)


def _line(widget: Mapping[str, Any]) -> str:
    kind, flags = _inherited(widget, "/FT"), _inherited(widget, "/Ff") or 0
    name = _name(widget)
    if kind == "/Btn":
        state = "" if flags & _PUSH_BUTTON else _state(widget)
        if not state:
            return ""
        return f"[x] {name}" if state.isdigit() or state.lower() in _MERELY_ON else f"{name}: {state}"
    if kind not in ("/Tx", "/Ch") or flags & _PASSWORD:
        return ""
    value = _inherited(widget, "/V")
    chosen = [_text(each) for each in (value if isinstance(value, list) else [value])]
    if kind == "/Ch":
        chosen = [_shown(each, _inherited(widget, "/Opt")) for each in chosen]
    text = ", ".join(each for each in chosen if each)
    return f"{name}: {text}" if text else ""


def _state(widget: Mapping[str, Any]) -> str:
    """What a ticked box or the chosen one of several stands for; empty for the others."""
    state = str(_resolved(widget.get("/AS")) or _inherited(widget, "/V") or "/Off")
    appearances = _resolved((_resolved(widget.get("/AP")) or {}).get("/N"))
    if state == "/Off" or (isinstance(appearances, Mapping) and state not in appearances):
        return ""
    return _text(state.removeprefix("/"))


def _shown(value: str, options: Any) -> str:
    """The text of a list's entry, which may be stored under another one."""
    for option in options if isinstance(options, list) else ():
        option = _resolved(option)
        if isinstance(option, list) and len(option) == 2 and _text(option[0]) == value:
            return _text(option[1])
    return value


def _name(widget: Mapping[str, Any]) -> str:
    """What a person would call the field: its tooltip, or else the last part of its name, without a number."""
    name = _text(_inherited(widget, "/TU")) or _text(_inherited(widget, "/T")).removesuffix("[0]")
    return name[:_LONGEST_NAME] or "field"


def _inherited(widget: Any, key: str) -> Any:
    """An entry of a field, or of the one that it is a part of."""
    for _ in range(_DEEPEST_FIELD):
        if not isinstance(widget, Mapping):
            return None
        if key in widget:
            return _resolved(widget.get(key))
        widget = _resolved(widget.get("/Parent"))
    return None


def _resolved(value: Any) -> Any:
    return value.get_object() if hasattr(value, "get_object") else value


def _text(value: Any) -> str:
    """A string, or a stream that holds one, on one line."""
    value = _resolved(value)
    if hasattr(value, "get_data"):
        value = value.get_data().decode("utf-8", "replace")
    return " ".join(normalise(str(value)[:_MOST_CHARACTERS]).split()) if value is not None else ""

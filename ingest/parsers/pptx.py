"""PPTX: slide by slide, as pages; titles are headings, text is in reading order, notes follow their slide."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator

from app.errors import DocumentTooExpensive
from ingest.parsers.archive import Element, core_title, open_archive, read_tree, related, require
from ingest.sections import Limits, Parsed, SectionBuilder, Source

_A = "{http://schemas.openxmlformats.org/drawingml/2006/main}"
_P = "{http://schemas.openxmlformats.org/presentationml/2006/main}"
_R = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}"
_C = "{http://schemas.openxmlformats.org/drawingml/2006/chart}"
_DIAGRAM = "{http://schemas.openxmlformats.org/drawingml/2006/diagram}relIds"
_MC = "{http://schemas.openxmlformats.org/markup-compatibility/2006}"
_PRESENTATION = "ppt/presentation.xml"
_SHAPE, _GROUP, _FRAME = f"{_P}sp", f"{_P}grpSp", f"{_P}graphicFrame"
_SHAPES = (_SHAPE, _GROUP, _FRAME)
_TITLES = ("title", "ctrTitle")
_FURNITURE = ("dt", "ftr", "hdr", "sldNum", "sldImg")  # placeholders that say the same on every slide
_LINE = 360_000  # a centimetre: shapes whose tops differ by less stand in one line
_Place = tuple[int, int]  # top and left, in EMU


def parse_pptx(source: Source, limits: Limits) -> Parsed:
    """The text of every slide that is shown. Slides are numbered as PowerPoint numbers them, hidden ones included."""
    with open_archive(source) as archive:
        require(archive, _PRESENTATION, "a PowerPoint presentation")
        builder = SectionBuilder(limits)
        parts = related(archive, _PRESENTATION)
        references = read_tree(archive, _PRESENTATION).findall(f"{_P}sldIdLst/{_P}sldId")
        if len(references) > limits.max_pages:
            raise DocumentTooExpensive(f"The file has {len(references)} slides; {limits.max_pages} are allowed.")
        hidden = 0
        for number, reference in enumerate(references, start=1):
            _, part = parts.get(reference.get(f"{_R}id", ""), ("", ""))
            slide = read_tree(archive, part)
            if slide.get("show") in ("0", "false"):
                hidden += 1
                continue
            builder.open_page(number)
            _Slide(archive, part, slide, builder).read()
        warnings = (f"{hidden} hidden slide{'s were' if hidden > 1 else ' was'} left out.",) if hidden else ()
        return Parsed(builder.sections(), len(references), core_title(archive), warnings)


class _Slide:
    """One slide and what it refers to: its layout, which places its shapes, its notes, diagrams and charts."""

    def __init__(self, archive: zipfile.ZipFile, part: str, slide: Element, builder: SectionBuilder) -> None:
        self._archive = archive
        self._slide = slide
        self._builder = builder
        self._parts = related(archive, part)
        self._places = _layout_places(read_tree(archive, self._part_of_kind("slideLayout")))

    def read(self) -> None:
        shapes = self._in_order(self._slide.find(f"{_P}cSld/{_P}spTree"))
        title = next((shape for shape in shapes if _placeholder(shape)[0] in _TITLES and _lines(shape)), None)
        if title is not None:
            self._builder.heading(1, " ".join(_lines(title)))
        for shape in shapes:
            if shape is not title:
                self._read_shape(shape)
        notes = read_tree(self._archive, self._part_of_kind("notesSlide"))
        for shape in notes.iter(_SHAPE):
            if _placeholder(shape)[0] == "body" and (lines := _lines(shape)):
                self._builder.block("\n".join(["Notes:", *lines]))

    def _part_of_kind(self, kind: str) -> str:
        return next((part for found, part in self._parts.values() if found == kind), "")

    def _read_shape(self, shape: Element) -> None:
        if shape.tag == _GROUP:
            for each in self._in_order(shape):
                self._read_shape(each)
        elif shape.tag == _SHAPE:
            self._builder.block("\n".join(_lines(shape)))
        else:
            for table in shape.iter(f"{_A}tbl"):
                self._read_table(table)
            for element in shape.iter(_DIAGRAM, f"{_C}chart"):
                reference = element.get(f"{_R}dm") or element.get(f"{_R}id", "")
                part = read_tree(self._archive, self._parts.get(reference, ("", ""))[1])
                self._builder.block("\n".join(_chart_lines(part) if element.tag != _DIAGRAM else _lines(part)))

    def _read_table(self, table: Element) -> None:
        properties = table.find(f"{_A}tblPr")
        has_header = properties is not None and properties.get("firstRow") in ("1", "true")
        for at, row in enumerate(table.iterfind(f"{_A}tr")):
            cells = [" ".join(_lines(cell)) for cell in row.iterfind(f"{_A}tc")]
            self._builder.row(cells, header=has_header and at == 0)
        self._builder.close_table()

    def _in_order(self, tree: Element | None) -> list[Element]:
        """The visible shapes of a tree from top to bottom and left to right; those without a place keep theirs."""
        placed: list[tuple[_Place, Element]] = []
        place = (0, 0)
        for shape in _visible(tree):
            place = _place(shape) or self._places.get(_placeholder(shape)) or place
            placed.append(((place[0] // _LINE, place[1]), shape))
        return [shape for _, shape in sorted(placed, key=lambda each: each[0])]


def _visible(tree: Element | None) -> Iterator[Element]:
    for element in tree if tree is not None else ():
        if element.tag == f"{_MC}AlternateContent":
            yield from _visible(element.find(f"{_MC}Choice"))  # what follows repeats it for old programs
        elif element.tag in _SHAPES and _placeholder(element)[0] not in _FURNITURE:
            properties = element.find(f"./*/{_P}cNvPr")
            if properties is None or properties.get("hidden") not in ("1", "true"):
                yield element


def _placeholder(shape: Element) -> tuple[str, str]:
    """The type and index of the placeholder that a shape fills; empty if it fills none."""
    placeholder = shape.find(f"./*/{_P}nvPr/{_P}ph")
    return (placeholder.get("type", "body"), placeholder.get("idx", "")) if placeholder is not None else ("", "")


def _place(shape: Element) -> _Place | None:
    transform = shape.find(f"{_P}xfrm") if shape.tag == _FRAME else shape.find(f"./*/{_A}xfrm")
    offset = transform.find(f"{_A}off") if transform is not None else None
    if offset is None:
        return None
    try:
        return int(offset.get("y", "")), int(offset.get("x", ""))
    except ValueError:
        return None


def _layout_places(layout: Element) -> dict[tuple[str, str], _Place]:
    """Where a layout puts its placeholders."""
    places = {}
    for shape in layout.iter(_SHAPE):
        place = _place(shape)
        if place:
            places[_placeholder(shape)] = place
    return places


def _lines(element: Element) -> list[str]:
    """The paragraphs of a shape, a cell, or a diagram that hold text."""
    return [line for paragraph in element.iter(f"{_A}p") if (line := _paragraph(paragraph))]


def _paragraph(paragraph: Element) -> str:
    runs = paragraph.iter(f"{_A}t", f"{_A}br")
    return " ".join("".join(" " if run.tag == f"{_A}br" else run.text or "" for run in runs).split())


def _chart_lines(chart: Element) -> Iterator[str]:
    """A chart's title, and of each series its name and values by category, as they were last drawn."""
    title = chart.find(f".//{_C}title")
    if title is not None:
        yield " ".join(_lines(title))
    for series in chart.iter(f"{_C}ser"):
        name = " ".join(_values(series.find(f"{_C}tx")).values())
        values = _values(series.find(f"{_C}val"))
        categories = _values(series.find(f"{_C}cat"))
        shown = ", ".join(f"{categories.get(at, '')} {value}".strip() for at, value in values.items())
        yield f"{name}: {shown}" if name else shown


def _values(data: Element | None) -> dict[str, str]:
    if data is None:
        return {}
    return {point.get("idx", ""): point.findtext(f"{_C}v") or "" for point in data.iter(f"{_C}pt")}

"""Presentations: slides as pages, titles as headings, everything on a slide in reading order."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sample_files as files
from pptx.chart.data import CategoryChartData
from pptx.enum.chart import XL_CHART_TYPE
from pptx.util import Cm

from app.errors import DocumentTooExpensive, EncryptedDocument, UnreadableDocument
from app.media_types import MediaType
from ingest.parsers import parse
from ingest.sections import Limits, Parsed

TITLE_ONLY, BLANK = 5, 6


@pytest.fixture
def read(tmp_path: Path):  # type: ignore[no-untyped-def]
    def read(data: bytes | Callable[[Any], object], limits: Limits | None = None) -> Parsed:
        path = tmp_path / "file.pptx"
        path.write_bytes(data if isinstance(data, bytes) else files.slides(data))
        return parse(path, MediaType.PPTX, limits)

    return read


def add_slide(presentation: Any, title: str = "", texts: tuple[tuple[str, float, float], ...] = ()) -> Any:
    """A slide with text boxes: each a text, and its place from the top and from the left in cm."""
    slide = presentation.slides.add_slide(presentation.slide_layouts[TITLE_ONLY if title else BLANK])
    if title:
        slide.shapes.title.text = title
    for text, top, left in texts:
        slide.shapes.add_textbox(Cm(left), Cm(top), Cm(5), Cm(1)).text_frame.text = text
    return slide


def rewritten(data: bytes, member: str, old: str, new: str) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    assert old.encode() in members[member]
    members[member] = members[member].replace(old.encode(), new.encode())
    return files.archive(members)


def test_structure(read) -> None:  # type: ignore[no-untyped-def]
    """A slide is a page under its title; a slide without one is under no heading; notes come last."""

    def fill(presentation: Any) -> None:
        presentation.core_properties.title = "All hands"
        slide = add_slide(presentation, "Results", (("Revenue grew.\nCosts fell.", 5, 2),))
        slide.notes_slide.notes_text_frame.text = "Thank the team."
        add_slide(presentation, texts=(("没有标题的一页。", 5, 2),))

    parsed = read(fill)
    assert (parsed.title, parsed.pages) == ("All hands", 2)
    assert [(section.page, section.headings, section.text) for section in parsed.sections] == [
        (1, ("Results",), "Results\n\nRevenue grew.\nCosts fell.\n\nNotes:\nThank the team."),
        (2, (), "没有标题的一页。"),
    ]


def test_reading_order(read) -> None:  # type: ignore[no-untyped-def]
    """Text boxes are read from top to bottom and left to right, however they were added; groups stay together."""

    def fill(presentation: Any) -> None:
        slide = add_slide(
            presentation, "Order", (("4 bottom", 15, 2), ("3 right", 6.1, 12), ("2 left", 6.2, 2), ("1 top", 4, 12))
        )
        group = slide.shapes.add_group_shape()
        for text, top in (("6 below", 17.5), ("5 above", 16)):
            group.shapes.add_textbox(Cm(2), Cm(top), Cm(5), Cm(1)).text_frame.text = text

    assert read(fill).sections[0].text.split("\n\n") == [
        *("Order", "1 top", "2 left", "3 right", "4 bottom", "5 above", "6 below")
    ]


def test_placeholders_stand_where_their_layout_puts_them(read) -> None:  # type: ignore[no-untyped-def]
    """A placeholder without a place of its own is read where its layout places it."""

    def fill(presentation: Any) -> None:
        slide = presentation.slides.add_slide(presentation.slide_layouts[3])  # two columns
        slide.shapes.title.text = "Columns"
        slide.placeholders[1].text, slide.placeholders[2].text = "Left", "Right"
        slide.shapes.add_textbox(Cm(2), Cm(0.1), Cm(5), Cm(1)).text_frame.text = "Above"

    assert read(fill).sections[0].text == "Columns\n\nAbove\n\nLeft\n\nRight"


def test_tables_and_charts(read) -> None:  # type: ignore[no-untyped-def]
    """A long table has its header; a chart says what it shows."""

    def fill(presentation: Any) -> None:
        slide = add_slide(presentation, "Figures")
        table = slide.shapes.add_table(30, 2, Cm(2), Cm(4), Cm(9), Cm(9)).table
        for row in range(30):
            table.cell(row, 0).text = f"Office {row}" if row else "Place"
            table.cell(row, 1).text = "opened\nlast year" if row else "Remark"
        data = CategoryChartData()
        data.categories = ["2023", "2024"]
        data.add_series("Revenue", (1.5, 2.5))
        slide.shapes.add_chart(XL_CHART_TYPE.COLUMN_CLUSTERED, Cm(2), Cm(15), Cm(9), Cm(5), data)

    title, table, chart = read(fill).sections
    assert (title.text, table.header, table.page) == ("Figures", "Place | Remark", 1)
    assert table.text.startswith("Place | Remark\nOffice 1 | opened last year\n")
    assert "Revenue: 2023 1.5, 2024 2.5" in chart.text


def test_hidden_parts(read) -> None:  # type: ignore[no-untyped-def]
    """Hidden slides and shapes stay out, and are counted; so does what stands on every slide."""

    def fill(presentation: Any) -> None:
        add_slide(presentation, "Hidden")._element.set("show", "0")
        slide = add_slide(presentation, "Shown", (("SECRET", 5, 2), ("Visible", 7, 2)))
        slide.shapes[1]._element.nvSpPr.cNvPr.set("hidden", "1")
        slide.shapes[2]._element.nvSpPr.cNvPr.set("descr", "A description")

    parsed = read(fill)
    assert [(section.page, section.text) for section in parsed.sections] == [(2, "Shown\n\nVisible")]
    assert parsed.warnings == ("1 hidden slide was left out.",)


def test_alternatives(read) -> None:  # type: ignore[no-untyped-def]
    """Of a shape that is there a second time for old programs, only the first is read."""
    data = files.slides(lambda presentation: add_slide(presentation, "Title", (("Text", 5, 2),)))
    shape = (
        "<p:sp><p:nvSpPr><p:cNvPr id='9' name='x'/><p:cNvSpPr/><p:nvPr/></p:nvSpPr><p:txBody><a:p><a:r><a:t>{}</a:t>"
    )
    shape += "</a:r></a:p></p:txBody></p:sp>"
    both = f"<mc:Choice>{shape.format('new')}</mc:Choice><mc:Fallback>{shape.format('old')}</mc:Fallback>"
    alternatives = (
        f'<mc:AlternateContent xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006">{both}'
        "</mc:AlternateContent></p:spTree>"
    )
    text = read(rewritten(data, "ppt/slides/slide1.xml", "</p:spTree>", alternatives)).sections[0].text
    assert "new" in text
    assert "old" not in text


def test_refusals(read) -> None:  # type: ignore[no-untyped-def]
    """Too many slides, a password, and other kinds of archives are clear failures."""
    three = files.slides(lambda presentation: [add_slide(presentation, "x") for _ in range(3)])
    with pytest.raises(DocumentTooExpensive, match="3 slides; 2 are allowed"):
        read(three, Limits(max_pages=2))
    with pytest.raises(EncryptedDocument):
        read(files.OLE + "EncryptedPackage".encode("utf-16-le"))
    with pytest.raises(UnreadableDocument, match="not a PowerPoint presentation"):
        read(files.archive({"word/document.xml": "<x/>"}))
    strict = "http://purl.oclc.org/ooxml/presentationml/main"
    with pytest.raises(UnreadableDocument, match="Strict"):
        read(files.archive({"ppt/presentation.xml": f'<p:presentation xmlns:p="{strict}"/>'}))

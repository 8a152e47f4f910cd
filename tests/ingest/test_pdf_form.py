"""Forms that somebody has filled in, and pages that have names of their own."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sample_files as files
from pypdf import PdfReader, PdfWriter
from pypdf.constants import PageLabelStyle
from pypdf.generic import ArrayObject, DictionaryObject, NameObject, NumberObject, TextStringObject
from reportlab.pdfgen.canvas import Canvas

from app.media_types import MediaType
from ingest.chunking import chunk, with_page_labels
from ingest.parsers import parse
from ingest.sections import Parsed, assemble


@pytest.fixture
def read(tmp_path: Path) -> Callable[[bytes], Parsed]:
    def read(data: bytes) -> Parsed:
        path = tmp_path / "file.pdf"
        path.write_bytes(data)
        return parse(path, MediaType.PDF)

    return read


def form() -> bytes:
    """Two pages of fields."""
    buffer = io.BytesIO()
    canvas = Canvas(buffer, invariant=True)
    fields = canvas.acroForm
    canvas.drawString(72, 780, "Application")
    fields.textfield(name="given", tooltip="Given name", value="Ada", x=72, y=700)
    fields.textfield(name="empty", tooltip="Middle name", x=72, y=670)
    fields.checkbox(name="member", tooltip="Member", checked=True, x=72, y=640)
    fields.checkbox(name="student", tooltip="Student", checked=False, x=72, y=610)
    fields.radio(name="size", tooltip="Size", value="Small", selected=False, x=72, y=580)
    fields.radio(name="size", tooltip="Size", value="Large", selected=True, x=110, y=580)
    canvas.showPage()
    canvas.drawString(72, 780, "The second page.")
    fields.choice(name="city", tooltip="City", value="Paris", options=["Paris", "Rome"], x=72, y=700)
    fields.textfield(name="secret", tooltip="PIN", value="1234", fieldFlags="password", x=72, y=670)
    fields.textfield(name="remarks", value="-", x=72, y=640)
    canvas.showPage()
    canvas.drawString(72, 780, "The third page.")
    canvas.save()

    def remark(writer: PdfWriter) -> None:
        (field,) = (each for each in writer.pages[1]["/Annots"] if each.get_object()["/T"] == "remarks")  # type: ignore[attr-defined]
        values = {NameObject("/TU"): TextStringObject("备注"), NameObject("/V"): TextStringObject("下午三点\n到达。")}
        field.get_object().update(values)

    return changed(buffer.getvalue(), remark)


def changed(data: bytes, change: Callable[[PdfWriter], object]) -> bytes:
    writer = PdfWriter(clone_from=io.BytesIO(data))
    change(writer)
    buffer = io.BytesIO()
    writer.write(buffer)
    return buffer.getvalue()


def test_what_was_filled_in(read: Callable[[bytes], Parsed]) -> None:
    """Texts, choices and ticked boxes follow the text of their page, with their names; passwords do not."""
    parsed = read(form())
    assert [(section.page, section.text) for section in parsed.sections] == [
        (1, "Application"),
        (1, "Given name: Ada\n[x] Member\nSize: Large"),
        (2, "The second page."),
        (2, "City: Paris\n备注: 下午三点 到达。"),
        (3, "The third page."),
    ]


def test_a_form_is_found_by_chunks(read: Callable[[bytes], Parsed]) -> None:
    """The offsets of fields are exact, as those of all text."""
    text, spans = assemble(read(form()).sections)
    for piece in chunk(text, spans, lambda texts: [len(each) for each in texts], 60, 0):
        assert text[piece.start : piece.end] == piece.text


def test_a_page_of_fields_alone(read: Callable[[bytes], Parsed]) -> None:
    """A form without a word printed on it is a document, too."""
    buffer = io.BytesIO()
    canvas = Canvas(buffer)
    canvas.acroForm.textfield(name="topmost[0].given[0]", value="Ada", x=72, y=700)
    canvas.showPage()
    canvas.save()
    (section,) = read(buffer.getvalue()).sections
    assert section.text.endswith("given: Ada")


def test_fields_within_fields(read: Callable[[bytes], Parsed]) -> None:
    """What a field inherits from the one around it, entries that are stored under other names, several choices."""

    def nest(writer: PdfWriter) -> None:
        kid = DictionaryObject(
            {NameObject("/Subtype"): NameObject("/Widget"), NameObject("/Type"): NameObject("/Annot")}
        )
        options = [
            [TextStringObject("m"), TextStringObject("Monday")],
            [TextStringObject("t"), TextStringObject("Tuesday")],
        ]
        parent = DictionaryObject(
            {
                NameObject("/FT"): NameObject("/Ch"),
                NameObject("/T"): TextStringObject("days[0]"),
                NameObject("/V"): ArrayObject([TextStringObject("m"), TextStringObject("t")]),
                NameObject("/Opt"): ArrayObject([ArrayObject(option) for option in options]),
            }
        )
        kid[NameObject("/Parent")] = writer._add_object(parent)
        writer.pages[0][NameObject("/Annots")] = ArrayObject([writer._add_object(kid), NumberObject(7)])
        writer.root_object[NameObject("/AcroForm")] = DictionaryObject({NameObject("/Fields"): ArrayObject()})

    parsed = read(changed(files.pdf([["Words."]]), nest))
    assert [section.text for section in parsed.sections] == ["Words.", "days: Monday, Tuesday"]


def test_a_form_that_only_its_viewer_shows(read: Callable[[bytes], Parsed]) -> None:
    """Of an XFA form there is what the page says, and a warning."""

    def make_dynamic(writer: PdfWriter) -> None:
        writer.root_object["/AcroForm"][NameObject("/XFA")] = TextStringObject("x")  # type: ignore[index]
        writer.root_object[NameObject("/NeedsRendering")] = NumberObject(1)

    assert "XFA" in read(changed(form(), make_dynamic)).warnings[0]


@pytest.mark.parametrize("damage", ["annotations", "loop", "form"])
def test_a_damaged_form(read: Callable[[bytes], Parsed], damage: str) -> None:
    """It costs nothing but its fields."""

    def harm(writer: PdfWriter) -> None:
        first: Any = writer.pages[0]["/Annots"][0].get_object()  # type: ignore[index]
        if damage == "annotations":
            writer.pages[0][NameObject("/Annots")] = NumberObject(3)
        elif damage == "loop":
            del first["/V"]
            first[NameObject("/Parent")] = first.indirect_reference
        else:
            writer.root_object[NameObject("/AcroForm")] = NumberObject(3)

    text = assemble(read(changed(form(), harm)).sections)[0]
    assert "Application" in text
    assert "The third page." in text


def labelled(writer: PdfWriter) -> None:
    writer.set_page_label(0, 1, PageLabelStyle.LOWERCASE_ROMAN)
    writer.set_page_label(2, 2, PageLabelStyle.DECIMAL, "A-", start=3)


def test_pages_that_have_names(read: Callable[[bytes], Parsed]) -> None:
    """Labels are those of the file, and chunks have those of their pages; the number stays what it is."""
    data = changed(files.pdf([["First."], ["Second."], ["Third."]]), labelled)
    parsed = read(data)
    assert parsed.page_labels == ("i", "ii", "A-3") == tuple(PdfReader(io.BytesIO(data)).page_labels)
    text, spans = assemble(parsed.sections)
    pieces = chunk(text, spans, lambda texts: [len(each) for each in texts], 1000, 0)
    (piece,) = with_page_labels(pieces, parsed.page_labels)
    assert (piece.page, piece.page_label, piece.pages) == (1, "i", (1, 2, 3))
    assert piece.page_labels == ((1, "i"), (2, "ii"), (3, "A-3"))


def test_pages_that_are_merely_counted(read: Callable[[bytes], Parsed]) -> None:
    """No labels, or the numbers themselves: there is nothing to tell."""
    data = files.pdf([["First."], ["Second."]])
    assert read(data).page_labels == ()
    assert read(changed(data, lambda writer: writer.set_page_label(0, 1, PageLabelStyle.DECIMAL))).page_labels == ()
    piece = chunk(*assemble(read(data).sections), lambda texts: [1 for _ in texts], 1000, 0)
    assert with_page_labels(piece, ("1", "")) == [*piece]

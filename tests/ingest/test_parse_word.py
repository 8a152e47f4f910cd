"""Word documents: headings, lists, tables, what is hidden, and damage."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import pytest
import sample_files as files
from docx.enum.text import WD_BREAK

from app.errors import DocumentTooExpensive, EmptyDocument, EncryptedDocument, UnreadableDocument
from app.media_types import MediaType
from ingest.parsers import parse
from ingest.sections import Parsed


@pytest.fixture
def read(tmp_path: Path):  # type: ignore[no-untyped-def]
    def read(data: bytes) -> Parsed:
        path = tmp_path / "file.docx"
        path.write_bytes(data)
        return parse(path, MediaType.DOCX)

    return read


def test_structure(read) -> None:  # type: ignore[no-untyped-def]
    """Headings become the path; paragraphs, lists and tables follow in the document's order."""

    def fill(document: Any) -> None:
        document.core_properties.title = "Handbook"
        document.add_heading("Handbook", 0)
        document.add_heading("Leave", 1)
        document.add_paragraph("Fifteen days.").add_run().add_break(WD_BREAK.LINE)
        table = document.add_table(2, 2)
        for cell, text in zip(table._cells, ["Years", "Days", "10", "20"], strict=True):
            cell.text = text
        document.add_paragraph("After the table.")
        document.add_heading("假期", 2)
        document.add_paragraph("可以结转。")

    parsed = read(files.word(fill))
    assert parsed.title == "Handbook"
    assert [(section.headings, section.text) for section in parsed.sections] == [
        (("Handbook",), "Handbook"),
        (("Handbook", "Leave"), "Leave\n\nFifteen days.\n\n\nYears | Days\n10 | 20\n\nAfter the table."),
        (("Handbook", "Leave", "假期"), "假期\n\n可以结转。"),
    ]


def test_headings_of_other_languages(read) -> None:  # type: ignore[no-untyped-def]
    """A heading is told by its style's name in any of several languages, its base style, or its outline level."""
    styles = (
        '<w:style w:styleId="1"><w:name w:val="标题 1"/></w:style>'
        '<w:style w:styleId="2"><w:name w:val="My own"/><w:basedOn w:val="1"/></w:style>'
        '<w:style w:styleId="3"><w:name w:val="x"/><w:basedOn w:val="4"/></w:style>'
        '<w:style w:styleId="4"><w:name w:val="y"/><w:basedOn w:val="3"/></w:style>'
    )
    body = (
        files.paragraph("一", '<w:pStyle w:val="1"/>')
        + files.paragraph("Two", '<w:pStyle w:val="2"/>')
        + files.paragraph("Three", '<w:outlineLvl w:val="1"/>')
        + files.paragraph("Text", '<w:pStyle w:val="3"/>')
        + files.paragraph("Item", "<w:numPr/>")
    )
    sections = read(files.word_of_xml(body, styles)).sections
    assert [section.headings for section in sections] == [("一",), ("Two",), ("Two", "Three")]
    assert sections[-1].text == "Three\n\nText\n\n- Item"


def test_hidden_and_deleted_text(read) -> None:  # type: ignore[no-untyped-def]
    """What Word does not show is not read; tracked insertions and content controls are."""
    body = (
        files.paragraph("Hidden", run="<w:vanish/>")
        + files.paragraph("Shown", run='<w:vanish w:val="0"/>')
        + "<w:p><w:del><w:r><w:delText>Deleted</w:delText></w:r></w:del>"
        "<w:ins><w:r><w:t>Inserted</w:t></w:r></w:ins></w:p>"
        + f"<w:sdt><w:sdtContent>{files.paragraph('Controlled')}</w:sdtContent></w:sdt>"
    )
    assert read(files.word_of_xml(body)).sections[0].text == "Shown\n\nInserted\n\nControlled"


def test_nested_tables(read) -> None:  # type: ignore[no-untyped-def]
    """A table in a cell keeps to its row; thousands of nested ones are refused, not crashed on."""

    def table(inner: str) -> str:
        return (
            f"<w:tbl><w:tr><w:tc>{files.paragraph('a')}{inner}</w:tc><w:tc>{files.paragraph('b')}</w:tc></w:tr></w:tbl>"
        )

    assert read(files.word_of_xml(table(table("")))).sections[0].text == "a a | b | b"
    with pytest.raises(UnreadableDocument):
        read(files.word_of_xml("<w:tbl><w:tr><w:tc>" * 2000 + "</w:tc></w:tr></w:tbl>" * 2000))


def test_table_header(read) -> None:  # type: ignore[no-untyped-def]
    """A long table is a section of its own with its header row: one that is marked, or one that reads like one."""

    def table(first: str, *rows: str) -> str:
        cells = ["".join(f"<w:tc>{files.paragraph(text)}</w:tc>" for text in row.split("|")) for row in rows]
        return (
            f"<w:tbl><w:tr>{first}{cells[0]}</w:tr>" + "".join(f"<w:tr>{row}</w:tr>" for row in cells[1:]) + "</w:tbl>"
        )

    names = [f"Employee {number}|of the accounting department" for number in range(20)]
    amounts = [f"Item {number}|{number}.50 €|of the accounting department" for number in range(20)]
    marked = table("<w:trPr><w:tblHeader/></w:trPr>", "Name|Place", *names)
    before, first, between, second, plain = read(
        files.word_of_xml(
            files.paragraph("Before.")
            + marked
            + files.paragraph("Between.")
            + table("", "What|Price|Place", *amounts)
            + table("", "Lee|of the accounting department", *names)
        )
    ).sections
    assert (before.text, between.text) == ("Before.", "Between.")
    assert (first.header, second.header, plain.header) == ("Name | Place", "What | Price | Place", "")
    assert first.text.startswith("Name | Place\nEmployee 0 | of the")
    assert second.text.endswith("Item 19 | 19.50 € | of the accounting department")


def test_merged_cells(read) -> None:  # type: ignore[no-untyped-def]
    """A cell over two columns leaves the next one in its own."""
    cells = [f"<w:tc><w:tcPr>{span}</w:tcPr>{files.paragraph(text)}</w:tc>" for span, text in (
        ("", "Town"), ('<w:gridSpan w:val="2"/>', "Staff"), ("", "Note"))]  # fmt: skip
    body = f"<w:tbl><w:tr>{''.join(cells)}</w:tr></w:tbl>"
    assert read(files.word_of_xml(body)).sections[0].text == "Town | Staff |  | Note"


def test_damage(read) -> None:  # type: ignore[no-untyped-def]
    """Broken XML, a cut file, another kind of zip, no text: each is a clear failure."""
    whole = files.word_of_xml(files.paragraph("Text"))
    broken = io.BytesIO()
    with zipfile.ZipFile(broken, "w") as archive:
        archive.writestr("other.xml", "<x/>")
    for data in (whole[: len(whole) // 2], files.word_of_xml("<w:p>"), broken.getvalue(), b"", b"PK\x03\x04"):
        with pytest.raises(UnreadableDocument):
            read(data)
    with pytest.raises(EmptyDocument):
        read(files.word_of_xml("<w:p/>"))


def test_password(read) -> None:  # type: ignore[no-untyped-def]
    """A Word file inside an OLE container needs a password; any other is of an old format."""
    with pytest.raises(EncryptedDocument):
        read(files.OLE + b"\0" * 1000 + "EncryptedPackage".encode("utf-16-le"))
    with pytest.raises(UnreadableDocument, match="old Office format"):
        read(files.OLE + b"\0" * 1000)


def test_zip_bomb(read) -> None:  # type: ignore[no-untyped-def]
    """A file that unpacks to hundreds of times its size is refused before it is unpacked."""
    with pytest.raises(DocumentTooExpensive, match="bomb"):
        read(files.word_of_xml("<!--" + " " * 40_000_000 + "-->"))


def test_hostile_archives(read) -> None:  # type: ignore[no-untyped-def]
    """Links, members that point out of the archive, and thousands of members are refused."""
    link = zipfile.ZipInfo("word/link")
    link.external_attr = 0o120777 << 16
    for member, message in ((link, "links"), ("../../etc/x", "out of itself"), ("/etc/x", "out of itself")):
        with pytest.raises(UnreadableDocument, match=message):
            read(files.archive({"word/document.xml": "<x/>", member: "x"}))
    with pytest.raises(DocumentTooExpensive, match="larger"):
        read(files.archive({str(number): "" for number in range(10_001)}))


def test_entities_are_not_expanded(read) -> None:  # type: ignore[no-untyped-def]
    """A document type declaration can neither multiply text nor read files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(
            "word/document.xml",
            '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd"><!ENTITY b "BOMB">]><w:document xmlns:w='
            '"http://schemas.openxmlformats.org/wordprocessingml/2006/main"><w:p><w:r><w:t>Safe &e;&b;</w:t></w:r>'
            "</w:p></w:document>",
        )
    assert read(buffer.getvalue()).sections[0].text.strip() == "Safe"

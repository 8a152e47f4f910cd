"""EPUB books and OpenDocument texts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import sample_files as files

from app.errors import EncryptedDocument, UnreadableDocument
from app.media_types import MediaType
from ingest.parsers import parse
from ingest.sections import Parsed

Read = Callable[[bytes], Parsed]


@pytest.fixture
def read_book(tmp_path: Path) -> Read:
    return lambda data: parse(written(tmp_path, data), MediaType.EPUB)


@pytest.fixture
def read_text(tmp_path: Path) -> Read:
    return lambda data: parse(written(tmp_path, data), MediaType.ODT)


def written(folder: Path, data: bytes) -> Path:
    path = folder / "file"
    path.write_bytes(data)
    return path


def test_chapters(read_book: Read) -> None:
    """Chapters come in the spine's order under their headings; one that is missing is told of."""
    chapters = {
        "the%20first.xhtml": "<?xml version='1.0'?><html><head><title/><script src='x'/></head><body><h1>One</h1>"
        "<p>First&nbsp;text.</p></body></html>",
        "a.xhtml": "<h2>Two</h2><p>第二章。</p><style>STYLE</style><table><tr><td>a<td>b</table>",
    }
    data = files.book(chapters, title="A Book")
    parsed = read_book(data)
    assert parsed.title == "A Book"
    assert [(section.headings, section.text) for section in parsed.sections] == [
        (("Two",), "Two\n\n第二章。\n\na | b"),
    ]
    assert parsed.warnings == ("The chapter OPS/the first.xhtml is not in the file.",)
    there = read_book(files.book({"first.xhtml": chapters["the%20first.xhtml"], "a.xhtml": chapters["a.xhtml"]}))
    assert [section.headings for section in there.sections] == [("One",), ("One", "Two")]
    assert there.sections[0].text == "One\n\nFirst text."


def test_table_of_contents(read_book: Read) -> None:
    """A chapter without a heading has its title from the table of contents; a broken one is no harm."""
    chapters = {"a.xhtml": "<p class='title'>Text A.</p>", "b.xhtml": "<h1>Own</h1><p>Text B.</p>"}
    point = "<navPoint><navLabel><text>{0} title</text></navLabel><content src='{0}.xhtml#x'/></navPoint>"
    parsed = read_book(files.book(chapters, contents=point.format("a") + point.format("b")))
    assert [section.headings for section in parsed.sections] == [("a title",), ("Own",)]
    assert read_book(files.book(chapters, contents="<broken>")).sections[0].headings == ()


def encryption(method: str) -> str:
    return (
        '<encryption xmlns="urn:oasis:names:tc:opendocument:xmlns:container">'
        '<EncryptedData xmlns="http://www.w3.org/2001/04/xmlenc#">'
        f'<EncryptionMethod Algorithm="{method}"/></EncryptedData></encryption>'
    )


def test_protected_books(read_book: Read) -> None:
    """A book with DRM is a clear failure; one in which only fonts are garbled is not."""
    chapters = {"a.xhtml": "<p>Text.</p>"}
    fonts = files.book(chapters, encryption=encryption("http://www.idpf.org/2008/embedding"))
    assert read_book(fonts).sections[0].text == "Text."
    with pytest.raises(EncryptedDocument, match="DRM"):
        read_book(files.book(chapters, encryption=encryption("http://www.w3.org/2001/04/xmlenc#aes128-cbc")))


def test_broken_books(read_book: Read) -> None:
    """An archive that is no book, and one whose package is missing, are clear failures."""
    for members in ({"x": "x"}, {"META-INF/container.xml": "<container/>"}):
        with pytest.raises(UnreadableDocument, match="not an EPUB book"):
            read_book(files.archive(members))


def test_open_document_structure(read_text: Read) -> None:
    """Titles and headings become the path; lists, tables, boxes and notes are where they belong."""
    body = (
        '<text:p text:style-name="P1">Handbook</text:p><text:h text:outline-level="1">Leave</text:h>'
        '<text:p>Fifteen<text:s text:c="2"/>days<text:line-break/>a\n  year.<text:note><text:note-citation>1'
        "</text:note-citation><text:note-body><text:p>By law.</text:p></text:note-body></text:note></text:p>"
        "<text:list><text:list-item><text:p>First</text:p><text:p>its second block</text:p></text:list-item>"
        "<text:list-item><text:p>Second</text:p></text:list-item></text:list>"
        "<text:p>Outer<draw:frame><draw:text-box><text:p>In a box.</text:p></draw:text-box></draw:frame></text:p>"
        '<text:h text:outline-level="2">假期</text:h><text:p><text:span>可以</text:span>结转。</text:p>'
    )
    styles = '<style:style style:name="P1" style:parent-style-name="Title"/>'
    meta = {"meta.xml": '<dc:title xmlns:dc="http://purl.org/dc/elements/1.1/">A title</dc:title>'}
    parsed = read_text(files.open_text(body, styles, meta))
    assert parsed.title == "A title"
    assert [(section.headings, section.text) for section in parsed.sections] == [
        (("Handbook",), "Handbook"),
        (
            ("Handbook", "Leave"),
            "Leave\n\nFifteen  days\na year.\n\n- First\n\nits second block\n\n- Second\n\nIn a box.\n\nOuter",
        ),
        (("Handbook", "Leave", "假期"), "假期\n\n可以结转。\n\nBy law."),
    ]


def row(*cells: str, attributes: str = "") -> str:
    filled = "".join(f"<table:table-cell><text:p>{cell}</text:p></table:table-cell>" for cell in cells)
    return f"<table:table-row {attributes}>{filled}</table:table-row>"


def test_open_document_tables(read_text: Read) -> None:
    """A long table has its header row; empty repeated cells keep the columns; hidden rows stay out."""
    rows = "".join(row(f"Office {number}", "on the ground floor of the house") for number in range(20))
    hidden = row("SECRET", "SECRET", attributes='table:visibility="collapse"')
    empty = '<table:table-cell table:number-columns-repeated="{}"/>'
    cell = "<table:table-cell><text:p>{}</text:p></table:table-cell>"
    cells = cell.format("a") + empty.format(2) + cell.format("d") + empty.format(99_999_999)
    repeated = f"<table:table-row>{cells}</table:table-row>"
    header = f"<table:table-header-rows>{row('Name', 'Place')}</table:table-header-rows>"
    body = f"<table:table>{header}{rows}{hidden}</table:table><text:p>x</text:p><table:table>{repeated}</table:table>"
    table, after = read_text(files.open_text(body)).sections
    assert table.header == "Name | Place"
    assert table.text.endswith("Office 19 | on the ground floor of the house")
    assert after.text == "x\n\na |  |  | d"


def test_open_document_hidden_text(read_text: Read) -> None:
    """Deleted text, comments, and what is hidden do not get through."""
    body = (
        "<text:tracked-changes><text:changed-region><text:p>DELETED</text:p></text:changed-region></text:tracked-changes>"
        "<text:p>Shown<!-- COMMENT --><?x INSTRUCTION?><office:annotation><text:p>COMMENT</text:p></office:annotation>"
        '<text:span text:style-name="T1">HIDDEN</text:span></text:p><text:p text:style-name="T1">HIDDEN</text:p>'
        '<text:section text:display="none"><text:p>HIDDEN</text:p></text:section>'
        '<text:p>HIDDEN<text:hidden-paragraph text:is-hidden="true"/></text:p><text:p>Also shown</text:p>'
    )
    styles = '<style:style style:name="T1"><style:text-properties text:display="none"/></style:style>'
    assert read_text(files.open_text(body, styles)).sections[0].text == "Shown\n\nAlso shown"


def test_open_document_refusals(read_text: Read) -> None:
    """A password, a spreadsheet and another archive are clear failures."""
    manifest = {"META-INF/manifest.xml": "<manifest:file-entry><manifest:encryption-data/></manifest:file-entry>"}
    with pytest.raises(EncryptedDocument):
        read_text(files.open_text("<text:p>x</text:p>", parts=manifest))
    sheet = '<x xmlns:o="urn:oasis:names:tc:opendocument:xmlns:office:1.0"><o:spreadsheet/></x>'
    for members in ({"content.xml": sheet}, {"x": "x"}):
        with pytest.raises(UnreadableDocument, match="not an OpenDocument text"):
            read_text(files.archive(members))

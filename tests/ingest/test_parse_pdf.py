"""PDFs: pages, paragraphs, outlines, passwords, damage."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
import sample_files as files
from pdfminer.cmapdb import CMapDB
from pypdf import PdfWriter
from pypdf.generic import ArrayObject, DictionaryObject, NameObject, NumberObject, StreamObject, TextStringObject

from app.errors import DocumentTooExpensive, EmptyDocument, EncryptedDocument, UnreadableDocument
from app.media_types import MediaType
from ingest.parsers import parse
from ingest.parsers.paragraphs import join_lines, vocabulary
from ingest.sections import Limits, Parsed, assemble


@pytest.fixture
def read(tmp_path: Path):  # type: ignore[no-untyped-def]
    def read(data: bytes, limits: Limits | None = None, password: str | None = None) -> Parsed:
        path = tmp_path / "file.pdf"
        path.write_bytes(data)
        return parse(path, MediaType.PDF, limits, password=password)

    return read


def test_pages(read) -> None:  # type: ignore[no-untyped-def]
    """Pages count from 1, an empty one too, and Chinese is read as it is written."""
    parsed = read(files.pdf([["The first page."], [], ["第三页的内容。"]], title="Three pages"))
    assert [(section.page, section.text) for section in parsed.sections] == [
        (1, "The first page."),
        (3, "第三页的内容。"),
    ]
    assert (parsed.pages, parsed.title, parsed.warnings) == (3, "Three pages", ())


def test_paragraphs(read) -> None:  # type: ignore[no-untyped-def]
    """Lines that the page's width has broken become paragraphs again, across pages too."""
    first = [
        "Annual leave",
        "Every employee who has worked for the company for a year has fifteen days of",
        "paid leave, which may be carried over to the following year until the end of",
        "March.",
        "Who leaves the company in the middle of the year has a share of these days that",
    ]
    parsed = read(files.pdf([first, ["is counted by months."]]))
    text, spans = assemble(parsed.sections)
    assert text.split("\n") == [
        "Annual leave",
        "Every employee who has worked for the company for a year has fifteen days of paid leave, which may be carried"
        " over to the following year until the end of March.",
        "Who leaves the company in the middle of the year has a share of these days that is counted by months.",
    ]
    assert [text[span.start : span.end] for span in spans if span.page == 2] == ["is counted by months."]


def test_chinese_paragraphs(read) -> None:  # type: ignore[no-untyped-def]
    """Chinese lines are joined without a space."""
    lines = ["年假规定", "凡在本公司工作满一年的员工，每年享有十五天的带薪年假，未休的年", "假可以结转到次年三月底。"]
    text, _ = assemble(read(files.pdf([lines])).sections)
    assert text == "年假规定\n凡在本公司工作满一年的员工，每年享有十五天的带薪年假，未休的年假可以结转到次年三月底。"


def test_hyphens() -> None:
    """A word that was cut at a line end is put together; a hyphen that belongs to it stays."""
    lines = [
        "In the real world each long-term plan meets its neighbours, and long-",
        "term thinking is rare. Only real-",
        "world data helps, and the computa-",
        "tion of it costs what computation costs.",
    ]
    assert join_lines(lines, vocabulary(["\n".join(lines)])) == [
        "In the real world each long-term plan meets its neighbours, and long-term thinking is rare. Only real-world"
        " data helps, and the computation of it costs what computation costs."
    ]


def test_table_rows_and_items_stay_apart() -> None:
    """Rows of numbers, list items and section numbers do not run into each other."""
    rows = [
        "Net sales in all regions of the world 32,765 30,109",
        "Operating income before any of the taxes 4,100 3,900",
    ]
    items = ["1. The first thing that has to be done on the very first day", "2. The second thing"]
    assert join_lines([*rows, *items, "2.1", "Heading"]) == [*rows, *items, "2.1 Heading"]


def test_outline(read) -> None:  # type: ignore[no-untyped-def]
    """The outline gives the heading path, from the line on where its title stands."""
    data = files.pdf(
        [
            ["Preface text.", "1 Leave", "Fifteen days.", "1.1 Carry over", "Until March."],
            ["More on it."],
            ["2 Pay", "Monthly."],
        ],
        outline=[(0, 0, "Leave"), (0, 1, "Carry over"), (2, 0, "Pay")],
    )
    assert [(section.headings, section.text) for section in read(data).sections] == [
        ((), "Preface text."),
        (("Leave",), "1 Leave\nFifteen days."),
        (("Leave", "Carry over"), "1.1 Carry over\nUntil March."),
        (("Leave", "Carry over"), "More on it."),
        (("Pay",), "2 Pay\nMonthly."),
    ]


def test_passwords(read) -> None:  # type: ignore[no-untyped-def]
    """An empty user password opens by itself, whatever was sent; a real one has to be sent, and to be right."""
    for sent in (None, "", "unneeded"):
        parsed = read(files.pdf([["Open to all."]], password=""), password=sent)
        assert parsed.sections[0].text == "Open to all."
    locked = files.pdf([["Secret."]], password="secret")
    with pytest.raises(EncryptedDocument, match="send it again with its password"):
        read(locked)
    with pytest.raises(EncryptedDocument, match="is wrong"):
        read(locked, password="guess")
    for right in ("secret", "owner"):
        assert read(locked, password=right).sections[0].text == "Secret."


@pytest.mark.parametrize("algorithm", ["RC4-40", "RC4-128", "AES-128", "AES-256-R5", "AES-256"])
@pytest.mark.parametrize("password", ["secret", "Grüße", "密码"])
def test_every_way_to_encrypt(read, algorithm: str, password: str) -> None:  # type: ignore[no-untyped-def]
    """Each algorithm of the format is read, with a password in any alphabet that it can encode."""
    writer = PdfWriter(clone_from=io.BytesIO(files.pdf([["Secret."]])))
    try:
        writer.encrypt(password, owner_password="owner", algorithm=algorithm)
    except UnicodeEncodeError:
        pytest.skip("no such password in this algorithm")
    data = io.BytesIO()
    writer.write(data)
    assert read(data.getvalue(), password=password).sections[0].text == "Secret."


def test_vertical_japanese_in_a_font_that_is_not_there(read) -> None:  # type: ignore[no-untyped-def]
    """Numbers of Adobe's characters become letters, lines that run downwards are read from right to left."""
    columns = [
        "第一条の規定により、この政令を",
        "制定する。附則は次のとおりとする。",
        "この政令は公布の日から施行する。",
    ]
    parsed = read(vertical(columns))
    assert "".join(parsed.sections[0].text.split()) == "".join(columns)
    # A system with Chinese or Japanese fonts lends PDFium one, by which it knows the letters itself.
    assert all("pdfminer.six" in warning for warning in parsed.warnings)


def vertical(columns: Sequence[str]) -> bytes:
    """A page of columns in a font of the Japan1 collection, without the font: each character is its number there."""
    font = CMapDB.get_unicode_map("Adobe-Japan1", vertical=False)
    numbers = {text: cid for cid, text in sorted(font.cid2unichr.items(), reverse=True)}
    shown = "".join(
        f"1 0 0 1 {400 - 20 * at} 700 Tm <{''.join(f'{numbers[each]:04x}' for each in column)}> Tj "
        for at, column in enumerate(columns)
    )
    writer = PdfWriter()
    page = writer.add_blank_page(595, 842)
    stream = StreamObject()
    stream.set_data(f"BT /F 12 Tf {shown} ET".encode())
    page[NameObject("/Contents")] = writer._add_object(stream)
    system = {"/Registry": TextStringObject("Adobe"), "/Ordering": TextStringObject("Japan1"), "/Supplement": 2}
    descendant = {"/Subtype": "/CIDFontType0", "/CIDSystemInfo": named(system)}
    descendant |= {"/FontDescriptor": named({"/Type": "/FontDescriptor", "/FontName": "/Ryumin-Light", "/Flags": 4})}
    descendant |= {"/BaseFont": "/Ryumin-Light", "/Type": "/Font"}
    descendants = ArrayObject([writer._add_object(named(descendant))])
    font_of_page = {"/Type": "/Font", "/Subtype": "/Type0", "/BaseFont": "/Ryumin-Light", "/Encoding": "/Identity-V"}
    fonts = named({"/F": writer._add_object(named(font_of_page | {"/DescendantFonts": descendants}))})
    page[NameObject("/Resources")] = named({"/Font": fonts})
    data = io.BytesIO()
    writer.write(data)
    return data.getvalue()


def named(entries: Mapping[str, Any]) -> DictionaryObject:
    """A dictionary of a PDF, in which strings are names."""
    objects = {str: NameObject, int: NumberObject}
    return DictionaryObject(
        {NameObject(key): objects.get(type(value), lambda each: each)(value) for key, value in entries.items()}
    )


def test_an_encrypted_attachment(tmp_path: Path) -> None:
    """The password of a mail opens the PDFs that it has attached."""
    message = EmailMessage()
    message["Subject"] = "Report"
    message.set_content("See the report.")
    locked = files.pdf([["Fifteen days."]], password="secret")
    message.add_attachment(locked, maintype="application", subtype="pdf", filename="report.pdf")
    path = tmp_path / "mail.eml"
    path.write_bytes(bytes(message))
    assert "Fifteen" not in assemble(parse(path, MediaType.EML).sections)[0]
    assert "Fifteen days." in assemble(parse(path, MediaType.EML, password="secret").sections)[0]


@pytest.mark.parametrize("share", [0.01, 0.3, 0.5, 0.9])
def test_cut_file(read, share: float) -> None:  # type: ignore[no-untyped-def]
    """A PDF that was cut off is read as far as it goes, or fails clearly."""
    data = files.pdf([["Some text."]] * 5)
    try:
        parsed = read(data[: int(len(data) * share)])
    except (UnreadableDocument, EmptyDocument):
        return
    assert "Some text." in parsed.sections[0].text


def test_no_text(read) -> None:  # type: ignore[no-untyped-def]
    """A PDF without text says so."""
    with pytest.raises(EmptyDocument, match="pages are empty"):
        read(files.pdf([[], []]))


def test_limits(read) -> None:  # type: ignore[no-untyped-def]
    """Too many pages or too much text is refused."""
    data = files.pdf([["Page."]] * 3)
    with pytest.raises(DocumentTooExpensive, match="3 pages; 2 are allowed"):
        read(data, Limits(max_pages=2))
    with pytest.raises(DocumentTooExpensive, match="more text"):
        read(data, Limits(max_characters=8))

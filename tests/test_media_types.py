"""What a file is, by its content first and its name second."""

from __future__ import annotations

import io
import random
import re
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import UnsupportedMediaType
from app.media_types import READABLE, MediaType, detect

TEXT = "Every employee has 15 days of paid leave a year. "
CHINESE = "每位员工每年享有十五天的带薪年假，可以结转到次年三月底。"
TRADITIONAL = "每位員工每年享有十五天的帶薪年假，可以結轉到次年三月底。"


OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"


def zip_of(*members: str | tuple[str, str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for member in members:
            archive.writestr(*(member if isinstance(member, tuple) else (member, "x")))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("filename", "head", "expected"),
    [
        ("a.pdf", b"%PDF-1.7\n", MediaType.PDF),
        ("a.pdf", b"\x00junk before\n%PDF-1.7\n", MediaType.PDF),
        ("a.txt", b"%PDF-1.7\n\xff\xff", MediaType.PDF),
        ("a", b"\xef\xbb\xbf%PDF-1.4\n", MediaType.PDF),
        ("notes.md", b"# Files\n\nA file that begins with %PDF-1.7 is a PDF.", MediaType.MARKDOWN),
        ("a.docx", zip_of("[Content_Types].xml", "word/document.xml"), MediaType.DOCX),
        ("a.zip", zip_of("word/document.xml"), MediaType.DOCX),
        ("a.docx", zip_of("[Content_Types].xml", "docProps/app.xml"), MediaType.DOCX),
        ("a.html", b"just text", MediaType.HTML),
        ("a.txt", b"<!-- x -->\n<!DOCTYPE html><html>", MediaType.HTML),
        ("a", b"<?xml version='1.0'?>\n<html xmlns='x'>", MediaType.HTML),
        ("a.MD", b"# Title", MediaType.MARKDOWN),
        ("README", b"Read me", MediaType.TEXT),
        ("data.csv", b"name,days\nLee,15\n", MediaType.CSV),
        ("data.TSV", b"name\tdays\nLee\t15\n", MediaType.TSV),
        ("data.csv", b"<html><table>", MediaType.HTML),
        ("data.csv", zip_of("[Content_Types].xml", "xl/workbook.xml"), MediaType.XLSX),
        ("data.csv", b'[\n  {"name": "Lee"}]', MediaType.JSON),
        ("a.json", b'{"days": 15}', MediaType.JSON),
        ("a.ndjson", b'{"days": 15}\n{}', MediaType.JSON_LINES),
        ("a.pptx", zip_of("[Content_Types].xml", "ppt/presentation.xml"), MediaType.PPTX),
        ("a.xlsx", zip_of("[Content_Types].xml", "docProps/app.xml"), MediaType.XLSX),
        ("a.docx", zip_of("[Content_Types].xml", "xl/workbook.xml"), MediaType.XLSX),
        ("a.docx", zip_of("word/embeddings/xl/workbook.xml"), MediaType.DOCX),
        ("a.epub", zip_of("mimetype", "META-INF/container.xml"), MediaType.EPUB),
        ("book", zip_of(("mimetype", "application/epub+zip")), MediaType.EPUB),
        ("a.zip", zip_of(("mimetype", "application/vnd.oasis.opendocument.text")), MediaType.ODT),
        ("a.eml", b"Subject: Leave\n\nFifteen days.", MediaType.EML),
        ("a.txt", b"From: a@b.c\r\nTo: d@e.f\r\n g@h.i\r\nMessage-ID: <1>\r\n\r\nHi", MediaType.EML),
        ("a.txt", b"From: Lee\nTo: Kim\n\nA letter that is no mail.", MediaType.TEXT),
        ("a.txt", b"MZ is how the text begins", MediaType.TEXT),
        ("a.txt", b"", MediaType.TEXT),
    ],
)
def test_detect(filename: str, head: bytes, expected: MediaType) -> None:
    """Content decides; the extension is a hint among kinds of text."""
    assert detect(filename, head) is expected


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "gbk", "gb18030", "latin-1"]
)
def test_text_encodings(encoding: str) -> None:
    """Text is text in any encoding."""
    text = "Le café est fermé. " * 20 if encoding == "latin-1" else (TEXT + CHINESE) * 20
    assert detect("a.txt", text.encode(encoding)) is MediaType.TEXT


def test_big5() -> None:
    """Traditional Chinese in Big5 is text."""
    assert detect("a.txt", TRADITIONAL.encode("big5")) is MediaType.TEXT


def test_head_inside_character() -> None:
    """A head that ends in the middle of a character is still text."""
    assert detect("a.txt", CHINESE.encode()[:-1]) is MediaType.TEXT


@pytest.mark.parametrize(
    ("filename", "head", "message"),
    [
        ("report.pdf", b"MZ\x90\x00\x03\x00\x00\x00\x04", "report.pdf is not a PDF but a Windows program"),
        ("report.pdf", b"\x89PNG\r\n\x1a\n\x00", "report.pdf is not a PDF but a PNG image"),
        ("report.pdf", b"only words", "report.pdf is not a PDF but plain text"),
        ("photo.gif", b"GIF89a\x00", "photo.gif is a GIF image, which cannot be read"),
        ("a.xlsx", b"name,days", "a.xlsx is not an Excel workbook but plain text"),
        ("a.xls", b"<html><table>", "a.xls is not an Excel workbook but plain text"),
        ("a.eml", b"only words", "a.eml is not an e-mail message but plain text"),
        ("a.mbox", b"From a@b.c Mon\nFrom: a@b.c\nMessage-ID: <1>\n\nHi", "a mailbox of messages"),
        (
            "a.odt",
            zip_of(("mimetype", "application/vnd.oasis.opendocument.spreadsheet")),
            "not an OpenDocument text but",
        ),
        ("data.json", b"<?xml version='1.0'?><a/>", "data.json is an XML file"),
        ("a.zip", zip_of("x"), "a.zip is a ZIP archive"),
        ("a.rtf", b"{\\rtf1 hello}", "an RTF document"),
        ("feed.xml", b"<?xml version='1.0'?><rss/>", "an XML file"),
        ("old.doc", OLE + b"\0" * 600, "an old Office format"),
        ("old.xls", OLE + b"\0" * 600, "an old Office format"),
        ("a.msg", OLE + b"\0" * 600, "an Outlook message (save it as EML)"),
        ("a", OLE + "EncryptedPackage".encode("utf-16-le"), "a password-protected Office file"),
    ],
)
def test_refusals(filename: str, head: bytes, message: str) -> None:
    """What cannot be read is refused in words that say what it is and what can be read."""
    with pytest.raises(UnsupportedMediaType, match=re.escape(READABLE)) as caught:
        detect(filename, head)
    assert message in caught.value.message


def test_binary_named_text() -> None:
    """Random bytes do not become text by their name."""
    with pytest.raises(UnsupportedMediaType):
        detect("a.txt", random.Random(7).randbytes(4096))


@pytest.mark.parametrize(("name", "expected"), [("a.docx", MediaType.DOCX), ("a.xlsx", MediaType.XLSX)])
def test_protected_office_files(name: str, expected: MediaType) -> None:
    """A password-protected Office file goes to the parser, which sees all of it and says that a password is needed."""
    assert detect(name, OLE + b"\0" * 600) is expected


@given(st.text(max_size=300), st.binary(max_size=300))
def test_never_fails_otherwise(filename: str, head: bytes) -> None:
    """Whatever the name and the bytes are, there is a media type or a refusal."""
    try:
        media_type = detect(filename, head)
    except UnsupportedMediaType:
        return
    assert media_type in MediaType

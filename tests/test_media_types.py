"""What a file is, by its content first and its name second."""

from __future__ import annotations

import io
import random
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import UnsupportedMediaType
from app.media_types import MediaType, detect

TEXT = "Every employee has 15 days of paid leave a year. "
CHINESE = "每位员工每年享有十五天的带薪年假，可以结转到次年三月底。"
TRADITIONAL = "每位員工每年享有十五天的帶薪年假，可以結轉到次年三月底。"


def zip_of(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, "x")
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
        ("data.csv", b"name,days\nLee,15\n", MediaType.TEXT),
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
        ("a.pptx", zip_of("[Content_Types].xml", "ppt/x.xml"), "a.pptx is a PowerPoint presentation, which"),
        ("a.docx", zip_of("[Content_Types].xml", "xl/workbook.xml"), "a.docx is not a Word document but an Excel"),
        ("a.epub", zip_of("mimetype", "OEBPS/x"), "a.epub is an EPUB book"),
        ("a.zip", zip_of("x"), "a.zip is a ZIP archive"),
        ("a.rtf", b"{\\rtf1 hello}", "an RTF document"),
        ("feed.xml", b"<?xml version='1.0'?><rss/>", "an XML file"),
        ("old.doc", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600, "an old Office format"),
    ],
)
def test_refusals(filename: str, head: bytes, message: str) -> None:
    """What cannot be read is refused in words that say what it is and what can be read."""
    with pytest.raises(UnsupportedMediaType, match="PDF, DOCX, HTML, Markdown, plain text and images") as caught:
        detect(filename, head)
    assert message in caught.value.message


def test_binary_named_text() -> None:
    """Random bytes do not become text by their name."""
    with pytest.raises(UnsupportedMediaType):
        detect("a.txt", random.Random(7).randbytes(4096))


def test_protected_word_document() -> None:
    """A password-protected Word document goes to the parser, which says that a password is needed."""
    assert detect("a.docx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600) is MediaType.DOCX


@given(st.text(max_size=300), st.binary(max_size=300))
def test_never_fails_otherwise(filename: str, head: bytes) -> None:
    """Whatever the name and the bytes are, there is a media type or a refusal."""
    try:
        media_type = detect(filename, head)
    except UnsupportedMediaType:
        return
    assert media_type in MediaType

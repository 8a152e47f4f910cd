"""Small files of every format, made on the spot."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from xml.sax.saxutils import escape

import docx
from reportlab.lib.pagesizes import A4
from reportlab.lib.pdfencrypt import StandardEncryption
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.pdfgen.canvas import Canvas

_WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"


def pdf(
    pages: Sequence[Sequence[str]],
    *,
    outline: Sequence[tuple[int, int, str]] = (),
    title: str | None = None,
    password: str | None = None,
) -> bytes:
    """A PDF of pages of lines. `outline` holds (page from 0, level from 0, title)."""
    buffer = io.BytesIO()
    encryption = None if password is None else StandardEncryption(password, ownerPassword="owner", strength=128)
    canvas = Canvas(buffer, pagesize=A4, invariant=True, encrypt=encryption)
    pdfmetrics.registerFont(UnicodeCIDFont("STSong-Light"))
    if title:
        canvas.setTitle(title)
    for number, lines in enumerate(pages):
        for bookmark, (page, level, heading) in enumerate(outline):
            if page == number:
                canvas.bookmarkPage(f"b{bookmark}")
                canvas.addOutlineEntry(heading, f"b{bookmark}", level)
        for at, line in enumerate(lines):
            canvas.setFont("Helvetica" if line.isascii() else "STSong-Light", 11)
            canvas.drawString(72, 780 - 16 * at, line)
        canvas.showPage()
    canvas.save()
    return buffer.getvalue()


def word(fill: object) -> bytes:
    """A DOCX as python-docx writes it, filled by the function that is given."""
    document = docx.Document()
    fill(document)  # type: ignore[operator]
    buffer = io.BytesIO()
    document.save(buffer)
    return buffer.getvalue()


def word_of_xml(body: str, styles: str = "") -> bytes:
    """A DOCX around the XML of its body, for what python-docx does not write."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr("word/document.xml", f'<w:document xmlns:w="{_WORD}"><w:body>{body}</w:body></w:document>')
        if styles:
            archive.writestr("word/styles.xml", f'<w:styles xmlns:w="{_WORD}">{styles}</w:styles>')
    return buffer.getvalue()


def paragraph(text: str, properties: str = "", run: str = "") -> str:
    """A paragraph of WordprocessingML."""
    return f"<w:p><w:pPr>{properties}</w:pPr><w:r><w:rPr>{run}</w:rPr><w:t>{escape(text)}</w:t></w:r></w:p>"

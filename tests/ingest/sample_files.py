"""Small files of every format, made on the spot."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from xml.sax.saxutils import escape

import docx
import openpyxl
import pptx
from reportlab.lib.pagesizes import A4
from reportlab.lib.pdfencrypt import StandardEncryption
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.pdfgen.canvas import Canvas

OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"

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


def word(fill: Callable[[Any], object]) -> bytes:
    """A DOCX as python-docx writes it, filled by the function that is given."""
    return _saved(docx.Document(), fill)


def workbook(fill: Callable[[Any], object]) -> bytes:
    """An XLSX as openpyxl writes it, with one empty sheet, filled by the function that is given."""
    return _saved(openpyxl.Workbook(), fill)


def slides(fill: Callable[[Any], object]) -> bytes:
    """A PPTX as python-pptx writes it, filled by the function that is given."""
    return _saved(pptx.Presentation(), fill)


def small_slides(presentation: Any) -> None:
    """Fill a presentation with one slide: a title, a text, a table and notes."""
    slide = presentation.slides.add_slide(presentation.slide_layouts[1])
    slide.shapes.title.text = "Leave"
    slide.placeholders[1].text = "Fifteen days."
    slide.shapes.add_table(1, 2, 0, 0, 9, 9).table.cell(0, 0).text = "Days"
    slide.notes_slide.notes_text_frame.text = "Until March."


def _saved(document: Any, fill: Callable[[Any], object]) -> bytes:
    fill(document)
    buffer = io.BytesIO()
    document.save(buffer)
    return buffer.getvalue()


def archive(members: Mapping[Any, str | bytes]) -> bytes:
    """A zip file."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return buffer.getvalue()


def open_text(body: str, styles: str = "", parts: Mapping[str, str] | None = None) -> bytes:
    """An ODT around the XML of its body. `parts` are more of its members, each within an element `x`."""
    names = " ".join(
        f'xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{urn}:1.0"'
        for name, urn in (
            *(("office", "office"), ("text", "text"), ("table", "table"), ("style", "style")),
            *(("draw", "drawing"), ("manifest", "manifest")),
        )
    )
    return archive(
        {
            "mimetype": "application/vnd.oasis.opendocument.text",
            "content.xml": f"<office:document-content {names}>"
            f"<office:automatic-styles>{styles}</office:automatic-styles><office:body><office:text>{body}</office:text></office:body></office:document-content>",
            **{name: f"<x {names}>{xml}</x>" for name, xml in (parts or {}).items()},
        }
    )


def book(chapters: Mapping[str, str], title: str = "The Book", contents: str = "", **parts: str) -> bytes:
    """An EPUB of chapters, by file name, in that order. `parts` are more of its members in META-INF."""
    items = "".join(
        f'<item id="c{at}" href="{name}" media-type="application/xhtml+xml"/>' for at, name in enumerate(chapters)
    )
    items += '<item id="ncx" href="toc.ncx" media-type="application/x-dtbncx+xml"/>'
    spine = "".join(f'<itemref idref="c{at}"/>' for at in range(len(chapters)))
    return archive(
        {
            "mimetype": "application/epub+zip",
            "META-INF/container.xml": '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
            '<rootfile full-path="OPS/book.opf"/></rootfiles></container>',
            "OPS/book.opf": '<package xmlns="http://www.idpf.org/2007/opf" xmlns:dc="http://purl.org/dc/elements/1.1/">'
            f"<metadata><dc:title>{title}</dc:title></metadata><manifest>{items}</manifest><spine>{spine}</spine></package>",
            "OPS/toc.ncx": f'<ncx xmlns="http://www.daisy.org/z3986/2005/ncx/"><navMap>{contents}</navMap></ncx>',
            **{f"OPS/{name}": text for name, text in chapters.items()},
            **{f"META-INF/{name}.xml": text for name, text in parts.items()},
        }
    )


def word_of_xml(body: str, styles: str = "") -> bytes:
    """A DOCX around the XML of its body, for what python-docx does not write."""
    members = {"[Content_Types].xml": "<Types/>"}
    members["word/document.xml"] = f'<w:document xmlns:w="{_WORD}"><w:body>{body}</w:body></w:document>'
    if styles:
        members["word/styles.xml"] = f'<w:styles xmlns:w="{_WORD}">{styles}</w:styles>'
    return archive(members)


def paragraph(text: str, properties: str = "", run: str = "") -> str:
    """A paragraph of WordprocessingML."""
    return f"<w:p><w:pPr>{properties}</w:pPr><w:r><w:rPr>{run}</w:rPr><w:t>{escape(text)}</w:t></w:r></w:p>"

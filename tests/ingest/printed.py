"""PDFs and pictures as a printer would see them: words at places, drawn tables, scans."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence

import pypdfium2
from PIL import Image
from reportlab.lib.pagesizes import A4
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen.canvas import Canvas

WIDTH, HEIGHT = A4


def drawn(*pages: Callable[[Canvas], None]) -> bytes:
    """A PDF of pages that functions draw."""
    buffer = io.BytesIO()
    canvas = Canvas(buffer, pagesize=A4, invariant=True)
    for draw in pages:
        canvas.setFont("Helvetica", 11)
        draw(canvas)
        canvas.showPage()
    canvas.save()
    return buffer.getvalue()


def write(canvas: Canvas, lines: Sequence[str], x: float = 72, y: float = 760, size: float = 11) -> None:
    """Lines under each other; y counts from the bottom of the page."""
    canvas.setFont("Helvetica", size)
    for at, line in enumerate(lines):
        canvas.drawString(x, y - 14 * at, line)


def picture(pdf: bytes, page: int = 0, dpi: int = 200) -> Image.Image:
    """A page as a scanner would see it."""
    with pypdfium2.PdfDocument(pdf) as document:
        return document[page].render(scale=dpi / 72).to_pil().convert("L")


def scan(*pictures: Image.Image) -> bytes:
    """A PDF that holds nothing but pictures."""
    buffer = io.BytesIO()
    canvas = Canvas(buffer, pagesize=A4, invariant=True)
    for each in pictures:
        size = each.width * 72 / 200, each.height * 72 / 200
        canvas.setPageSize(size)
        canvas.drawImage(ImageReader(each), 0, 0, *size)
        canvas.showPage()
    canvas.save()
    return buffer.getvalue()

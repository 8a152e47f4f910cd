"""What of a PDF's page is seen: whether it shows a picture, and which text is printed without any colour."""

from __future__ import annotations

import ctypes

import pypdfium2
import pypdfium2.raw as pdfium

_STAMP_CHARACTERS = 60  # a page that is one image and so little text is a scan with a stamp or a page number
_IMAGE_SHARE = 0.5  # of the page
_MANY_PATHS = 50  # a page without text but with so many shapes may show text that was drawn
_MOST_OBJECTS = 2000  # that are looked at


def is_invisible(textpage: pypdfium2.PdfTextPage, index: int) -> bool:
    """Whether a character is printed neither filled nor outlined (text rendering mode 3: ISO 32000-1, 9.3.6)."""
    if index < 0:
        return False
    text = pdfium.FPDFText_GetTextObject(textpage.raw, index)
    return bool(text) and pdfium.FPDFTextObj_GetTextRenderMode(text) == pdfium.FPDF_TEXTRENDERMODE_INVISIBLE


def is_picture(page: pypdfium2.PdfPage, characters: int) -> bool:
    """Whether what the page shows is an image, or drawn, and not text."""
    if characters > _STAMP_CHARACTERS:
        return False
    left, bottom, right, top = page.get_bbox()
    area = max((right - left) * (top - bottom), 1.0)
    images, paths = 0.0, 0
    edges = [ctypes.c_float() for _ in range(4)]
    for index in range(min(pdfium.FPDFPage_CountObjects(page.raw), _MOST_OBJECTS)):
        shape = pdfium.FPDFPage_GetObject(page.raw, index)
        kind = pdfium.FPDFPageObj_GetType(shape)
        if kind == pdfium.FPDF_PAGEOBJ_PATH:
            paths += 1
        elif kind not in (pdfium.FPDF_PAGEOBJ_IMAGE, pdfium.FPDF_PAGEOBJ_FORM):
            continue
        elif pdfium.FPDFPageObj_GetBounds(shape, *map(ctypes.byref, edges)):
            x0, y0, x1, y1 = (edge.value for edge in edges)
            images += max(0.0, min(x1, right) - max(x0, left)) * max(0.0, min(y1, top) - max(y0, bottom))
    if images >= _IMAGE_SHARE * area:
        return True
    return characters == 0 and (images > 0.01 * area or paths >= _MANY_PATHS)

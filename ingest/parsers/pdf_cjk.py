"""Chinese, Japanese and Korean fonts that are not in their PDF: its text is numbers in Adobe's sets of characters.

PDFium and pypdf have no tables for these; pdfminer.six does, and it knows vertical writing. It is slow, so it is asked
only where the others find nothing that can be read.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import pypdf

_COLLECTIONS = frozenset({"Japan1", "GB1", "CNS1", "Korea1"})
_WORD_GAP = 0.5  # of a character: these scripts have no spaces, and their punctuation is narrower than its place


def has_such_fonts(page: pypdf.PageObject) -> bool:
    """Whether a font of the page is of one of these collections and does not tell its letters by itself."""
    fonts = _resolved(_resolved(page.get("/Resources") or {}).get("/Font")) or {}
    return any(_is_such(_resolved(font)) for font in fonts.values())


def _is_such(font: Any) -> bool:
    if not isinstance(font, Mapping) or "/ToUnicode" in font:
        return False
    for descendant in _resolved(font.get("/DescendantFonts")) or ():
        system = _resolved(_resolved(descendant).get("/CIDSystemInfo")) or {}
        if system.get("/Registry") == "Adobe" and system.get("/Ordering") in _COLLECTIONS:
            return True
    return False


def _resolved(value: Any) -> Any:
    return value.get_object() if hasattr(value, "get_object") else value


class TableReader:
    """The pages of one file, by pdfminer.six. Opening it and reading may raise anything."""

    def __init__(self, data: bytes, password: str | None) -> None:
        # Here, because few files need it.
        from pdfminer.converter import PDFPageAggregator
        from pdfminer.layout import LAParams
        from pdfminer.pdfdocument import PDFDocument
        from pdfminer.pdfinterp import PDFPageInterpreter, PDFResourceManager
        from pdfminer.pdfpage import PDFPage
        from pdfminer.pdfparser import PDFParser

        document = PDFDocument(PDFParser(io.BytesIO(data)), password=password or "")
        self._pages = list(PDFPage.create_pages(document))
        resources = PDFResourceManager()
        self._device = PDFPageAggregator(resources, laparams=LAParams(detect_vertical=True, word_margin=_WORD_GAP))
        self._interpreter = PDFPageInterpreter(resources, self._device)

    def text(self, number: int) -> str:
        """A page's text, box by box in the order of reading: vertical ones from right to left."""
        from pdfminer.layout import LTTextBox

        self._interpreter.process_page(self._pages[number])
        boxes = (box for box in self._device.get_result() if isinstance(box, LTTextBox))
        return "".join(box.get_text() for box in boxes)

"""Pictures of text: PNG, JPEG, TIFF of several pages, WebP; read by OCR, a picture as a page."""

from __future__ import annotations

import math
import time
import warnings
from typing import TYPE_CHECKING

import ingest.parsers.ocr as ocr
from app.errors import DocumentTooExpensive, EmptyDocument, UnreadableDocument
from ingest.parsers.pdf_layout import blocks
from ingest.parsers.pdf_sections import sections
from ingest.parsers.pdf_words import PageLines
from ingest.sections import Limits, Parsed, Source

if TYPE_CHECKING:
    from PIL import Image

_FORMATS = ("PNG", "JPEG", "TIFF", "WEBP")
_MAX_PIXELS = 60_000_000  # 180 MB when it is opened; A4 at 600 dpi has 35 million


def parse_image(source: Source, limits: Limits) -> Parsed:
    """The text that OCR reads in the picture, or in each picture of a TIFF."""
    if not ocr.is_installed():
        raise EmptyDocument(f"It is an image; to read images, {ocr.MISSING}.")
    from PIL import Image, ImageSequence

    until = time.monotonic() + limits.seconds * ocr.SHARE_OF_TIME
    pages: list[PageLines] = []
    notes: list[str] = []
    with source.open("rb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of large pictures and of damaged metadata
        try:
            picture = Image.open(file, formats=_FORMATS)
            count = getattr(picture, "n_frames", 1) if picture.format == "TIFF" else 1
            if count > limits.max_pages:
                raise DocumentTooExpensive(f"The file has {count} pages; {limits.max_pages} are allowed.")
            for number, frame in enumerate(ImageSequence.Iterator(picture) if count > 1 else [picture], start=1):
                if time.monotonic() > until:
                    raise DocumentTooExpensive(ocr.out_of_time(number, count, limits.seconds))
                page, whole = _read(frame, until)
                pages.append(page)
                if not whole:
                    notes.append(f"Page {number} was read in part: OCR took too long.")
        except Image.DecompressionBombError:
            raise DocumentTooExpensive("The image has too many pixels.") from None
        except (OSError, ValueError, SyntaxError, EOFError) as error:
            raise UnreadableDocument("The image is damaged and cannot be read.") from error
    if not any(page.lines for page in pages):
        raise EmptyDocument("No text was found in the image.")
    read = "The image was read by OCR." if count == 1 else "The images were read by OCR."
    return Parsed(tuple(sections([blocks(page) for page in pages], [])), pages=count, warnings=(read, *notes[:10]))


def _read(frame: Image.Image, until: float) -> tuple[PageLines, bool]:
    """The lines of one picture, and whether these are all."""
    image, dpi = _pixels(frame)
    try:
        return ocr.read_image(image, dpi, min(until, time.monotonic() + ocr.PAGE_SECONDS)), True
    except ocr.Unfinished as unfinished:
        return unfinished.page, False


def _pixels(frame: Image.Image) -> tuple[ocr.Image, float]:
    """The picture upright, on white, of a bounded size; and its resolution, which only scales where its lines stand."""
    import numpy as np
    from PIL import Image, ImageOps

    width, height = frame.size
    if width * height > _MAX_PIXELS:
        raise DocumentTooExpensive(f"The image has {width} × {height} pixels; {_MAX_PIXELS:,} are allowed.")
    if frame.mode.startswith("I"):  # of 16 bits
        frame = frame.point(lambda value: value / 256)
        frame = frame.convert("L")
    if frame.has_transparency_data:
        white = Image.new("RGBA", frame.size, "white")
        white.alpha_composite(frame.convert("RGBA"))
        frame = white
    frame = ImageOps.exif_transpose(frame).convert("RGB")
    share = min(1.0, math.sqrt(ocr.MAX_PIXELS / (width * height)))
    if share < 1:
        frame = frame.resize((max(1, round(frame.width * share)), max(1, round(frame.height * share))))
    return np.ascontiguousarray(np.asarray(frame)[:, :, ::-1]), ocr.DPI

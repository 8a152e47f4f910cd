"""Text in pictures, by RapidOCR in Chinese and English: an extra, because it brings some 300 MB along."""

from __future__ import annotations

import importlib.util
import math
import time
from functools import cache
from typing import TYPE_CHECKING, Any

from ingest.parsers.pdf_words import Line, PageLines

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pypdfium2

    Image = npt.NDArray[np.uint8]  # height × width × 3
    Boxes = npt.NDArray[np.float32]  # lines × corners × 2

DPI = 200  # at this resolution print of 8 points can be read
MAX_PIXELS = 20_000_000  # A3 at 200 dpi is 8 million
MISSING = "install the extra with `pip install footnote[ocr]`"

PAGE_SECONDS = 40.0  # a page of print takes 2 to 10
SHARE_OF_TIME = 0.9  # of what a file may take: the rest is for putting its text together

_DETECTION_SIDE = 1120  # pixels: finding the lines takes less than reading them, and memory with the square
_TURNED = 1.5  # as high as wide: a line that runs upwards or downwards
_LINES_ASKED = 9  # whether the page is upside down
_ASKED_WIDTH = 4  # of their height
_MIN_SCORE = 0.5


class Unfinished(Exception):
    """The time ran out; `page` is what was read until then."""

    def __init__(self, page: PageLines) -> None:
        super().__init__()
        self.page = page


def is_installed() -> bool:
    """Whether the extra is there."""
    return all(importlib.util.find_spec(name) is not None for name in ("rapidocr", "onnxruntime"))


def out_of_time(page: int, pages: int, seconds: float) -> str:
    """Why a document failed, and how far it had come."""
    return (
        f"OCR had come to page {page} of {pages} when the {seconds:g} s for one file were over;"
        " split the file, or allow more time."
    )


def render(page: pypdfium2.PdfPage) -> tuple[Image, float]:
    """A page of a PDF as a picture, and its resolution: 200 dpi, or less where the page is very large."""
    width, height = page.get_size()
    dpi = min(DPI, 72 * math.sqrt(MAX_PIXELS / max(width * height, 1.0)))
    import numpy as np

    image = page.render(scale=dpi / 72).to_numpy()
    return (np.repeat(image[:, :, :1], 3, axis=2) if image.shape[2] == 1 else image[:, :, :3]), dpi


def read_image(image: Image, dpi: float, deadline: float) -> PageLines:
    """The lines of a picture, turned until they are upright. Raises `Unfinished` at `deadline` (monotonic)."""
    scale = 72 / dpi
    image, boxes = _upright(image, _detect(image), deadline)
    page = PageLines(image.shape[1] * scale, image.shape[0] * scale, ordered=False)
    for box in boxes:
        if time.monotonic() > deadline:
            raise Unfinished(page)
        text = _recognise(image, box)
        if text:
            (x0, y0), (x1, y1) = box.min(axis=0) * scale, box.max(axis=0) * scale
            page.lines.append(Line(text, float(x0), float(y0), float(x1), float(y1), len(page.lines)))
            page.characters += len(text)
    return page


@cache
def _engine() -> Any:
    from rapidocr import RapidOCR

    return RapidOCR(
        params={
            "Global.log_level": "critical",
            # One thread: the limit on processor time counts them all, and other files are read at the same time.
            "EngineConfig.onnxruntime.intra_op_num_threads": 1,
            "EngineConfig.onnxruntime.inter_op_num_threads": 1,
        }
    )


def _detect(image: Image) -> Boxes:
    """Where lines are: their four corners each, from the top to the bottom."""
    import cv2
    import numpy as np

    height, width = image.shape[:2]
    share = min(1.0, _DETECTION_SIDE / max(height, width))
    small = image
    if share < 1:
        size = (max(1, round(width * share)), max(1, round(height * share)))
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
    found = _engine()(small, use_det=True, use_cls=False, use_rec=False)
    if getattr(found, "boxes", None) is None:
        return np.zeros((0, 4, 2), np.float32)
    boxes: Boxes = np.asarray(found.boxes, np.float32) / np.float32(share)
    return boxes


def _upright(image: Image, boxes: Boxes, deadline: float) -> tuple[Image, Boxes]:
    """The picture with its lines from left to right, and where they are in it."""
    import numpy as np

    if not len(boxes):
        return image, boxes
    extent = boxes.max(axis=1) - boxes.min(axis=1)
    if (extent[:, 1] > _TURNED * extent[:, 0]).sum() * 2 > len(boxes):
        boxes = _turned(boxes, 90, image)
        image = np.ascontiguousarray(np.rot90(image, -1))
    longest = np.argsort(boxes[:, :, 0].min(axis=1) - boxes[:, :, 0].max(axis=1))[:_LINES_ASKED]
    upside_down = sum(_is_upside_down(image, boxes[at]) for at in longest if time.monotonic() < deadline)
    if upside_down * 2 > len(longest):
        boxes = _turned(boxes, 180, image)
        image = np.ascontiguousarray(np.rot90(image, 2))
    return image, boxes


def _turned(boxes: Boxes, degrees: int, image: Image) -> Boxes:
    """The corners after the picture was turned clockwise; again from the upper left one on, clockwise."""
    import numpy as np

    height, width = image.shape[:2]
    if degrees == 90:
        turned = np.stack([height - boxes[:, :, 1], boxes[:, :, 0]], axis=2)
        return np.roll(turned, 1, axis=1)
    return np.roll(np.array([width, height], np.float32) - boxes, 2, axis=1)


def _is_upside_down(image: Image, box: Boxes) -> bool:
    crop = _engine().crop_text_regions(image, box[None])[0]
    crop = crop[:, : _ASKED_WIDTH * crop.shape[0]]  # the classifier would squeeze a longer one
    found = _engine()(crop, use_det=False, use_cls=True, use_rec=False)
    (label, score), *_ = found.cls_res
    return bool(label == "180" and score > 0.5)


def _recognise(image: Image, box: Boxes) -> str:
    crop = _engine().crop_text_regions(image, box[None])[0]
    found = _engine()(crop, use_det=False, use_cls=False, use_rec=True)
    if not found.txts or found.scores[0] < _MIN_SCORE:
        return ""
    return " ".join(str(found.txts[0]).split())

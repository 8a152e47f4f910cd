"""How much of a PDF's text arrives: pages whose text is known, as they are printed and as 200 dpi scans of them."""

from __future__ import annotations

import io
import os
import tempfile
import time
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pypdfium2
from reportlab.lib.pagesizes import A4
from reportlab.lib.utils import ImageReader, simpleSplit
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas

from app.media_types import MediaType
from benchmarks.datasets import SourceDocument, read_documents
from benchmarks.printed_pages import Page, producers
from benchmarks.results import Result, Row
from ingest.parsers import ocr, parse

_MAX_ERROR_DIGITAL = 0.02
_MAX_ERROR_OCR = 0.05
_MARGIN = 56
_SIZE, _LEADING = 10, 13
_DPI = 200
# A Chinese font that can be drawn: scans need one. Debian's fonts-wqy-microhei, or a path in the environment.
_CHINESE_FONTS = (
    os.environ.get("FOOTNOTE_BENCH_CHINESE_FONT", ""),
    "/usr/share/fonts/truetype/wqy/wqy-microhei.ttc",
    "/Library/Fonts/Arial Unicode.ttf",
)
_TABLES = {
    "en": [["Grade", "Days of leave", "Remark"], ["Junior", "15", "by months"], ["Senior", "20", "none"]]
    + [[f"Grade {n}", str(20 + n), f"after {n} years"] for n in range(3, 9)],
    "zh": [["级别", "年假天数", "备注"], ["初级", "15", "按月计算"], ["高级", "20", "无"]]
    + [[f"第{n}级", str(20 + n), f"满{n}年以后"] for n in range(3, 9)],
}


@dataclass
class MadePdf:
    """A PDF that was made, what is printed on each of its pages in the order of reading, and the rows of its tables."""

    pdf: bytes
    pages: list[str] = field(default_factory=list)
    rows: list[str] = field(default_factory=list)


def run(data: Path, *, quick: bool) -> Result:
    """Paragraphs of XQuAD in both languages, in one and two columns, with a table, footnotes, a header and numbers.

    Then pages of them by other producers, as far as these are installed.
    """
    rows: list[Row] = []
    details: dict[str, Any] = {}
    fonts = printing_fonts()
    drawable = {"en": "Helvetica", "zh": _chinese_font()}
    count = 12 if quick else 60
    for language in ("en", "zh"):
        documents = printable_documents(data, language)[:count]
        for columns in (1, 2):
            what = f"{language}, {columns} column{'s' if columns > 1 else ''}"
            made = make_pdf(documents, language, fonts[language], columns)
            rows += _measure(f"{what}, digital", made, _MAX_ERROR_DIGITAL, details)
            font = drawable[language]
            if ocr.is_installed() and font:
                short = make_pdf(documents[: 6 if quick else 12], language, font, columns)
                for degrees in (0, 90, 180):
                    turned = f", turned by {degrees}°" if degrees else ""
                    scan = MadePdf(_scanned(short.pdf, degrees), short.pages, short.rows)
                    rows += _measure(f"{what}, OCR of {_DPI} dpi{turned}", scan, _MAX_ERROR_OCR, details)
                    if columns == 2 or quick:
                        break
    for language in ("en", "zh"):
        pages = _pages(printable_documents(data, language)[: 4 if quick else 40], language)
        table = [" | ".join(row) for page in pages for row in page.table]
        for producer, make in producers(language).items():
            made = MadePdf(make(pages), [page.text for page in pages], table)
            rows += _measure(f"{language}, {producer}", made, _MAX_ERROR_DIGITAL, details)
    return Result(rows, details)


def _pages(documents: Sequence[SourceDocument], language: str) -> list[Page]:
    """Two documents a page; every other page has a table."""
    return [
        Page(
            documents[at].text[:30],  # what many pages begin with would be taken for a running line
            [documents[at].text, documents[at + 1].text],
            [] if at % 4 else _TABLES[language],
            f"{at // 2 + 1} {documents[-at - 1].text[:40]}",
        )
        for at in range(0, len(documents) - 1, 2)
    ]


def printing_fonts() -> dict[str, str]:
    """Names of fonts by language; they are known to every reader and not part of the file."""
    return {"en": "Helvetica", "zh": _register("STSong-Light")}


def printable_documents(data: Path, language: str) -> list[SourceDocument]:
    """Paragraphs that the font of the language has all letters of: Helvetica those of Western Europe only."""
    known = "cp1252" if language == "en" else "utf-8"
    every = read_documents(data, f"xquad_{language}")
    return [each for each in every if each.text.encode(known, "ignore").decode(known) == each.text]


def _measure(what: str, made: MadePdf, most: float, details: dict[str, Any]) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "made.pdf"
        path.write_bytes(made.pdf)
        started = time.process_time()
        parsed = parse(path, MediaType.PDF)
        seconds = time.process_time() - started
    read = ["" for _ in made.pages]
    for section in parsed.sections:
        read[(section.page or 1) - 1] += section.text + "\n"
    errors = [_distance(_bare(page), _bare(text)) for page, text in zip(made.pages, read, strict=True)]
    rate = sum(errors) / sum(len(_bare(page)) for page in made.pages)
    # An office suite puts room between Chinese and digits, and who reads the PDF cannot know who has.
    lines = {"".join(line.split()) for text in read for line in text.split("\n")}
    whole = sum(1 for row in made.rows if "".join(row.split()) in lines)
    per_page = seconds / len(made.pages)
    details[what] = {
        "pages": len(made.pages),
        "errors": errors,
        "characters": sum(len(_bare(page)) for page in made.pages),
        "rows_whole": whole,
        "rows": len(made.rows),
        "cpu_ms_per_page": round(per_page * 1000, 1),
        "warnings": parsed.warnings,
    }
    yield Row(f"{what}: characters that are wrong", f"{rate:.2%}", f"≤ {most:.0%}", rate <= most)
    yield Row("… rows of tables that are one line", f"{whole} of {len(made.rows)}")
    yield Row("… processor time a page", f"{per_page * 1000:.1f} ms")


def _bare(text: str) -> str:
    """Without white space and the borders between cells, in NFKC."""
    return "".join(unicodedata.normalize("NFKC", text).replace("|", "").split())


def _distance(a: str, b: str) -> int:
    """Characters to insert, remove, or replace (Levenshtein)."""
    codes = np.array([ord(each) for each in b], np.int64)
    steps = np.arange(len(b) + 1)
    before = steps.copy()
    for at, each in enumerate(a, start=1):
        row = np.minimum(before[1:] + 1, before[:-1] + (codes != ord(each)))
        row = np.concatenate(([at], row))
        before = np.minimum.accumulate(row - steps) + steps
    return int(before[-1])


def make_pdf(
    documents: Sequence[SourceDocument], language: str, font: str, columns: int, *, tables_differ: bool = False
) -> MadePdf:
    """Title and text of each document, one after the other; a table on every other page, a footnote on each.

    `tables_differ`: the square of the page's number is added to the numbers of its table, so that only its header row
    stands on other pages, too, and no number counts them.
    """
    buffer = io.BytesIO()
    canvas = Canvas(buffer, pagesize=A4, invariant=True)
    made = MadePdf(b"")
    width = (A4[0] - 2 * _MARGIN - 18 * (columns - 1)) / columns
    lines = [line for each in documents for line in _lines(each, font, width)]
    while lines:
        number = len(made.pages) + 1
        canvas.setFont(font, 8)
        canvas.drawString(_MARGIN, A4[1] - 30, "Footnote" + " 2026")
        canvas.drawRightString(A4[0] - _MARGIN, 24, f"{number} / 99")
        printed: list[str] = []
        y = A4[1] - _MARGIN
        if number % 2:
            table = _plus(_TABLES[language], number**2) if tables_differ else _TABLES[language]
            y = _table(canvas, table, font, y, printed, made.rows)
        canvas.setFont(font, _SIZE)
        fit = int((y - _MARGIN - 30) / _LEADING)
        for column in range(columns):
            for at, line in enumerate(lines[:fit]):
                canvas.drawString(_MARGIN + column * (width + 18), y - _LEADING * (at + 1), line)
                printed.append(line)
            lines = lines[fit:]
        canvas.setFont(font, 8)
        note = (
            f"{number} {' '.join(documents[-number % len(documents)].text.split())[: 70 if language == 'en' else 35]}"
        )
        canvas.drawString(_MARGIN, _MARGIN, note)
        printed.append(note)
        made.pages.append("\n".join(printed))
        canvas.showPage()
    canvas.save()
    made.pdf = buffer.getvalue()
    return made


def _lines(document: SourceDocument, font: str, width: float) -> Iterator[str]:
    yield from _broken(document.title, font, width)
    yield from _broken(document.text, font, width)


def _broken(text: str, font: str, width: float) -> list[str]:
    text = " ".join(text.split())
    if text.isascii() or font == "Helvetica":
        return list(simpleSplit(text, font, _SIZE, width))
    lines = [""]
    for character in text:
        if pdfmetrics.stringWidth(lines[-1] + character, font, _SIZE) > width:
            lines.append("")
        lines[-1] += character
    return [line.strip() for line in lines]


def _plus(cells: list[list[str]], number: int) -> list[list[str]]:
    return [[str(int(cell) + number) if cell.isdigit() else cell for cell in row] for row in cells]


def _table(canvas: Canvas, cells: list[list[str]], font: str, y: float, printed: list[str], rows: list[str]) -> float:
    """A table without any drawn line; the distance of its columns is all that tells."""
    canvas.setFont(font, _SIZE)
    for row in cells:
        y -= _LEADING + 2
        for at, cell in enumerate(row):
            canvas.drawString(_MARGIN + 130 * at, y, cell)
        printed.append(" ".join(row))
        rows.append(" | ".join(row))
    return y - _LEADING


def _scanned(pdf: bytes, degrees: int) -> bytes:
    """The same pages as pictures: grey, 200 dpi, JPEG."""
    buffer = io.BytesIO()
    canvas = Canvas(buffer, invariant=True)
    for page in pypdfium2.PdfDocument(pdf):
        picture = page.render(scale=_DPI / 72).to_pil().convert("L").rotate(degrees, expand=True)
        jpeg = io.BytesIO()
        picture.save(jpeg, "JPEG", quality=75)
        size = picture.width * 72 / _DPI, picture.height * 72 / _DPI
        canvas.setPageSize(size)
        canvas.drawImage(ImageReader(jpeg), 0, 0, *size)
        canvas.showPage()
    canvas.save()
    return buffer.getvalue()


def _register(name: str) -> str:
    pdfmetrics.registerFont(UnicodeCIDFont(name))
    return name


def _chinese_font() -> str | None:
    for path in filter(None, _CHINESE_FONTS):
        if Path(path).exists():
            pdfmetrics.registerFont(TTFont("Chinese", path))
            return "Chinese"
    return None

"""Make the sample PDF and DOCX from their text in `samples/source`: `python samples/make.py [FOLDER]`.

The results are committed; run it again after a change of the text. The same text gives the same bytes. Station, people
and places of all samples are invented; they were written for Footnote and are under its licence.
"""

from __future__ import annotations

import io
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

import docx
from markdown_it import MarkdownIt
from markdown_it.token import Token
from reportlab.lib import colors
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle, getSampleStyleSheet
from reportlab.lib.units import mm
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Flowable, PageBreak, Paragraph, SimpleDocTemplate, Table, TableStyle

SAMPLES = Path(__file__).parent
WRITTEN_ON = datetime(2025, 11, 20, tzinfo=UTC)


class Kind(StrEnum):
    HEADING = "heading"
    PARAGRAPH = "paragraph"
    BULLET = "bullet"
    TABLE = "table"
    PAGE_BREAK = "page break"


@dataclass(frozen=True, slots=True)
class Block:
    """One piece of a document: `level` of a heading, `rows` of a table, `text` of the others."""

    kind: Kind
    text: str = ""
    level: int = 0
    rows: tuple[tuple[str, ...], ...] = ()


def read_blocks(markdown: str) -> Iterator[Block]:
    """The blocks of the small part of Markdown that the samples use; a rule (`---`) breaks the page."""
    tokens = MarkdownIt("commonmark").enable("table").parse(markdown)
    in_list = False
    for index, token in enumerate(tokens):
        if token.type in {"bullet_list_open", "bullet_list_close"}:
            in_list = token.type == "bullet_list_open"
        elif token.type == "hr":
            yield Block(Kind.PAGE_BREAK)
        elif token.type == "heading_open":
            yield Block(Kind.HEADING, _text_of(tokens[index + 1]), level=int(token.tag[1]))
        elif token.type == "paragraph_open":
            yield Block(Kind.BULLET if in_list else Kind.PARAGRAPH, _text_of(tokens[index + 1]))
        elif token.type == "table_open":
            yield Block(Kind.TABLE, rows=tuple(_rows(tokens[index:])))


def _rows(tokens: list[Token]) -> Iterator[tuple[str, ...]]:
    row: list[str] = []
    for index, token in enumerate(tokens):
        if token.type == "table_close":
            return
        if token.type in {"th_open", "td_open"}:
            row.append(_text_of(tokens[index + 1]))
        elif token.type == "tr_close":
            yield tuple(row)
            row = []


def _text_of(inline: Token) -> str:
    return inline.content.replace("\n", " ")


def write_pdf(blocks: Iterator[Block], path: Path, title: str) -> None:
    """An A4 document in a standard font, with the title and the page number at the foot of each page."""
    styles = getSampleStyleSheet()
    body = ParagraphStyle("body", parent=styles["BodyText"], fontSize=10.5, leading=15, spaceAfter=7)

    def flowable(block: Block) -> Flowable:
        match block.kind:
            case Kind.HEADING:
                return Paragraph(block.text, styles["Title" if block.level == 1 else f"Heading{block.level - 1}"])
            case Kind.TABLE:
                return _pdf_table(block.rows)
            case Kind.PAGE_BREAK:
                return PageBreak()
            case Kind.BULLET:
                return Paragraph(block.text, body, bulletText="•")
            case Kind.PARAGRAPH:
                return Paragraph(block.text, body)

    def foot(canvas: Canvas, document: SimpleDocTemplate) -> None:
        canvas.setFont("Helvetica", 8)
        canvas.drawString(25 * mm, 14 * mm, title)
        canvas.drawRightString(185 * mm, 14 * mm, f"Page {document.page}")

    document = SimpleDocTemplate(
        str(path),
        pagesize=A4,
        title=title,
        author="The Footnote authors",
        leftMargin=25 * mm,
        rightMargin=25 * mm,
        invariant=1,  # no time of writing in the file
    )
    document.build([flowable(block) for block in blocks], onFirstPage=foot, onLaterPages=foot)


def _pdf_table(rows: tuple[tuple[str, ...], ...]) -> Table:
    table = Table([list(row) for row in rows], hAlign="LEFT", spaceBefore=6, spaceAfter=10)
    table.setStyle(
        TableStyle(
            [
                ("FONT", (0, 0), (-1, 0), "Helvetica-Bold", 9.5),
                ("FONT", (0, 1), (-1, -1), "Helvetica", 9.5),
                ("GRID", (0, 0), (-1, -1), 0.4, colors.grey),
                ("BACKGROUND", (0, 0), (-1, 0), colors.whitesmoke),
            ]
        )
    )
    return table


def write_docx(blocks: Iterator[Block], path: Path, title: str) -> None:
    """A Word document with the built-in heading, list and table styles."""
    document = docx.Document()
    document.core_properties.title = title
    document.core_properties.author = "The Footnote authors"
    document.core_properties.created = document.core_properties.modified = WRITTEN_ON
    for block in blocks:
        match block.kind:
            case Kind.HEADING:
                document.add_heading(block.text, level=block.level - 1)
            case Kind.TABLE:
                table = document.add_table(rows=0, cols=len(block.rows[0]), style="Light Grid Accent 1")
                for row in block.rows:
                    for cell, text in zip(table.add_row().cells, row, strict=True):
                        cell.text = text
            case Kind.PAGE_BREAK:
                document.add_page_break()
            case Kind.BULLET:
                document.add_paragraph(block.text, style="List Bullet")
            case Kind.PARAGRAPH:
                document.add_paragraph(block.text)
    written = io.BytesIO()
    document.save(written)
    path.write_bytes(_without_times(written))


def _without_times(archive: io.BytesIO) -> bytes:
    """The same ZIP archive with one fixed time on every entry."""
    fixed = io.BytesIO()
    with zipfile.ZipFile(archive) as source, zipfile.ZipFile(fixed, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            entry = zipfile.ZipInfo(name, WRITTEN_ON.timetuple()[:6])
            target.writestr(entry, source.read(name), zipfile.ZIP_DEFLATED)
    return fixed.getvalue()


def main(folder: Path) -> None:
    handbook = (SAMPLES / "source" / "station-handbook.md").read_text(encoding="utf-8")
    write_pdf(read_blocks(handbook), folder / "station-handbook.pdf", "Kestrel Ridge Station: Handbook")
    loans = (SAMPLES / "source" / "instrument-loans.md").read_text(encoding="utf-8")
    write_docx(read_blocks(loans), folder / "instrument-loans.docx", "Lending instruments")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else SAMPLES)

"""From a file to sections of text. To add a format: one module with one function, and one line in `PARSERS`.

A parser takes `(source, limits)` and returns `Parsed`. It may raise anything; `parse` lets out only `IngestionError`s.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

from app.errors import DocumentTooExpensive, EmptyDocument, IngestionError, UnreadableDocument
from app.media_types import READABLE, MediaType
from app.types import PdfEngine
from ingest.parsers.csv import parse_csv
from ingest.parsers.docx import parse_docx
from ingest.parsers.eml import parse_eml
from ingest.parsers.epub import parse_epub
from ingest.parsers.html import parse_html
from ingest.parsers.image import parse_image
from ingest.parsers.json import parse_json
from ingest.parsers.markdown import parse_markdown
from ingest.parsers.odt import parse_odt
from ingest.parsers.pdf import parse_pdf
from ingest.parsers.pptx import parse_pptx
from ingest.parsers.text import parse_text
from ingest.parsers.xlsx import parse_xlsx
from ingest.sections import HIDDEN_CHARACTERS, Limits, Parsed, Source, hides_characters, is_blank

logger = logging.getLogger(__name__)


PARSERS: Mapping[str, Callable[[Source, Limits], Parsed]] = {
    MediaType.DOCX: parse_docx,
    MediaType.PPTX: parse_pptx,
    MediaType.XLSX: parse_xlsx,
    MediaType.ODT: parse_odt,
    MediaType.EPUB: parse_epub,
    MediaType.HTML: parse_html,
    MediaType.MARKDOWN: parse_markdown,
    MediaType.CSV: parse_csv,
    MediaType.TSV: parse_csv,
    MediaType.JSON: parse_json,
    MediaType.JSON_LINES: parse_json,
    MediaType.TEXT: parse_text,
    MediaType.PNG: parse_image,
    MediaType.JPEG: parse_image,
    MediaType.TIFF: parse_image,
    MediaType.WEBP: parse_image,
}


def _parser(media_type: str, password: str | None, engine: PdfEngine) -> Callable[[Source, Limits], Parsed] | None:
    """The one for a media type. Mails may have PDFs attached."""
    if media_type == MediaType.PDF:
        return partial(parse_pdf, password=password, engine=engine)
    if media_type == MediaType.EML:
        return partial(parse_eml, read=partial(parse, password=password, pdf_engine=engine))
    return PARSERS.get(media_type)


def parse(
    source: Source,
    media_type: str,
    limits: Limits | None = None,
    *,
    password: str | None = None,
    pdf_engine: PdfEngine = PdfEngine.DEFAULT,
) -> Parsed:
    """Read a file of a known media type. Raises only `IngestionError`s, whatever its bytes are."""
    parser = _parser(media_type, password, pdf_engine)
    if parser is None:
        raise UnreadableDocument(f"There is no parser for {media_type}; {READABLE}.")
    try:
        parsed = parser(source, limits or Limits())
        if all(is_blank(section.text) for section in parsed.sections):
            raise EmptyDocument
    except IngestionError:
        raise
    except MemoryError:
        raise DocumentTooExpensive("Reading the file took more memory than is allowed.") from None
    except RecursionError:
        raise UnreadableDocument("The file is nested too deeply to be read.") from None
    except Exception as error:
        # Libraries meet damaged files with any exception at all; to the user it is all one: the file cannot be read.
        logger.debug("parsing %s failed", source, exc_info=True)
        raise UnreadableDocument(f"The file is damaged and cannot be read ({type(error).__name__}).") from error
    if HIDDEN_CHARACTERS not in parsed.warnings and any(hides_characters(section.text) for section in parsed.sections):
        return replace(parsed, warnings=(*parsed.warnings, HIDDEN_CHARACTERS))
    return parsed

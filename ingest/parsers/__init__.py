"""From a file to sections of text. To add a format: one module with one function, and one line in `PARSERS`.

A parser takes `(path, limits)` and returns `Parsed`. It may raise anything; `parse` lets out only `IngestionError`s.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from app.errors import DocumentTooExpensive, EmptyDocument, IngestionError, UnreadableDocument
from app.media_types import READABLE, MediaType
from ingest.parsers.docx import parse_docx
from ingest.parsers.html import parse_html
from ingest.parsers.image import parse_image
from ingest.parsers.markdown import parse_markdown
from ingest.parsers.pdf import parse_pdf
from ingest.parsers.text import parse_text
from ingest.sections import Limits, Parsed, hides_characters, normalise

logger = logging.getLogger(__name__)

PARSERS: Mapping[str, Callable[[Path, Limits], Parsed]] = {
    MediaType.PDF: parse_pdf,
    MediaType.DOCX: parse_docx,
    MediaType.HTML: parse_html,
    MediaType.MARKDOWN: parse_markdown,
    MediaType.TEXT: parse_text,
    MediaType.PNG: parse_image,
    MediaType.JPEG: parse_image,
    MediaType.TIFF: parse_image,
    MediaType.WEBP: parse_image,
}


def parse(path: Path, media_type: str, limits: Limits | None = None) -> Parsed:
    """Read a file of a known media type. Raises only `IngestionError`s, whatever its bytes are."""
    parser = PARSERS.get(media_type)
    if parser is None:
        raise UnreadableDocument(f"There is no parser for {media_type}; {READABLE}.")
    try:
        parsed = parser(path, limits or Limits())
        if not any(normalise(section.text).strip() for section in parsed.sections):
            raise EmptyDocument
    except IngestionError:
        raise
    except MemoryError:
        raise DocumentTooExpensive("Reading the file took more memory than is allowed.") from None
    except RecursionError:
        raise UnreadableDocument("The file is nested too deeply to be read.") from None
    except Exception as error:
        # Libraries meet damaged files with any exception at all; to the user it is all one: the file cannot be read.
        logger.debug("parsing %s failed", path, exc_info=True)
        raise UnreadableDocument(f"The file is damaged and cannot be read ({type(error).__name__}).") from error
    if any(hides_characters(section.text) for section in parsed.sections):
        return replace(parsed, warnings=(*parsed.warnings, "Invisible characters were removed."))
    return parsed

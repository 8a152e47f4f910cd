"""PDF: pypdf opens it and knows its outline, PDFium finds the words and their places; under the outline's headings."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import Any

import pypdf
from pypdf.errors import FileNotDecryptedError

from app.errors import DocumentTooExpensive, EncryptedDocument
from app.types import PdfEngine
from ingest.parsers.docling_engine import read_by_docling
from ingest.parsers.pdf_form import Form, read_form, with_form
from ingest.parsers.pdf_pages import Pages, locked
from ingest.parsers.pdf_sections import OutlineEntry, sections
from ingest.sections import Limits, Parsed, Source, normalise

# A page's content stream of more than 32 MB is no page of text; pypdf would take minutes over it.
pypdf.overwrite_configuration(
    zlib_maximum_output_length=32_000_000,
    lzw_maximum_output_length=32_000_000,
    run_length_maximum_output_length=32_000_000,
    array_based_stream_maximum_output_length=32_000_000,
    stream_decoding_work_maximum_length=64_000_000,
    stream_parsing_work_maximum_count=1_000_000,
    outline_maximum_entries=20_000,
    jbig2dec_binary=None,
)


def parse_pdf(
    source: Source, limits: Limits, password: str | None = None, engine: PdfEngine = PdfEngine.DEFAULT
) -> Parsed:
    """The text of every page; pages count from 1. A page that cannot be read is left out with a warning."""
    with source.open("rb") as file:
        data = file.read()
    reader, password = _open(data, password)
    with Pages(data, reader, limits, password) as pages:
        if len(pages) > limits.max_pages:
            raise DocumentTooExpensive(f"The file has {len(pages)} pages; {limits.max_pages} are allowed.")
        labels = pages.labels()
        if engine is PdfEngine.DOCLING:
            found, warnings = read_by_docling(_decrypted(reader, data), limits)
        else:
            outline = _outline(reader) if reader is not None else []
            found, warnings = tuple(sections(pages.read(), outline)), pages.warnings
    form = read_form(reader) if reader is not None else Form()
    if not form.lines and not any(section.text for section in found):
        raise pages.reason_for_nothing()
    return Parsed(
        tuple(with_form(found, form)),
        pages=len(pages),
        title=_title(reader) if reader is not None else None,
        warnings=(*warnings, *form.warnings),
        page_labels=labels,
    )


def _decrypted(reader: pypdf.PdfReader | None, data: bytes) -> bytes:
    """The file without its encryption."""
    if reader is None or not reader.is_encrypted:
        return data
    plain = io.BytesIO()
    pypdf.PdfWriter(clone_from=reader).write(plain)
    return plain.getvalue()


def _open(data: bytes, password: str | None) -> tuple[pypdf.PdfReader | None, str | None]:
    """pypdf's view of the file, None where it is too damaged for that; and the password that opens it, if one must.

    Raises `EncryptedDocument`.
    """
    try:
        reader = pypdf.PdfReader(io.BytesIO(data))
        if not reader.is_encrypted or reader.decrypt(""):
            password = None
        elif password is None or not reader.decrypt(password):
            raise locked(password)
        len(reader.pages)
    except FileNotDecryptedError:
        raise locked(password) from None
    except (EncryptedDocument, MemoryError):
        raise
    except Exception:  # pypdf meets damage with any exception; PDFium may still find the pages
        return None, password
    return reader, password


def _outline(reader: pypdf.PdfReader) -> list[OutlineEntry]:
    """The document's bookmarks, in page order; none where they are damaged."""
    try:
        numbers = {page.indirect_reference.idnum: at for at, page in enumerate(reader.pages) if page.indirect_reference}
        entries = list(_flatten(reader.outline, (), numbers))
    except MemoryError:
        raise
    except Exception:  # the pages can still be read without their outline
        return []
    return sorted(entries, key=lambda entry: entry[0])


def _flatten(outline: Sequence[Any], parents: tuple[str, ...], page_numbers: dict[int, int]) -> Iterator[OutlineEntry]:
    path = parents
    for entry in outline:
        if isinstance(entry, list):
            yield from _flatten(entry, path, page_numbers)
            continue
        title = " ".join(normalise(str(entry.title)).split())
        path = (*parents, title) if title else parents
        page = page_numbers.get(getattr(entry.page, "idnum", -1))
        if title and page is not None:
            yield page, path


def _title(reader: pypdf.PdfReader) -> str | None:
    try:
        title = reader.metadata.title if reader.metadata else None
    except Exception:  # a damaged title is no reason to refuse the pages
        return None
    return " ".join(normalise(title).split()) or None if isinstance(title, str) else None

"""PDF by pypdf, page by page, under the headings of its outline."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import pypdf
from pypdf.errors import FileNotDecryptedError, PdfReadError

from app.errors import DocumentTooExpensive, EmptyDocument, EncryptedDocument, UnreadableDocument
from ingest.parsers.paragraphs import join_lines, joint, runs_on, vocabulary
from ingest.sections import (
    HIDDEN_CHARACTERS,
    PARAGRAPH_BREAK,
    Limits,
    Parsed,
    Section,
    Source,
    hides_characters,
    normalise,
)

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

_NO_TEXT = "No text was found in the file: its pages are empty, or images such as scans, which cannot be read yet."
_OutlineEntry = tuple[int, tuple[str, ...]]  # page, from 0, and heading path


def parse_pdf(source: Source, limits: Limits) -> Parsed:
    """The text of every page; pages count from 1. A page that cannot be read is left out with a warning."""
    try:
        with source.open("rb") as file:
            return _read(file, limits)
    except FileNotDecryptedError:
        raise EncryptedDocument from None
    except PdfReadError as error:
        raise UnreadableDocument("The PDF is damaged and cannot be read.") from error


def _read(file: Any, limits: Limits) -> Parsed:
    reader = pypdf.PdfReader(file)
    if reader.is_encrypted and not reader.decrypt(""):
        raise EncryptedDocument
    pages = len(reader.pages)
    if pages > limits.max_pages:
        raise DocumentTooExpensive(f"The file has {pages} pages; {limits.max_pages} are allowed.")
    texts, warnings = _page_texts(reader, limits)
    if not any(texts):
        if pages and len(warnings) == pages:
            raise UnreadableDocument("The PDF is damaged: none of its pages can be read.")
        raise EmptyDocument(_NO_TEXT)
    sections = tuple(_sections(texts, _outline(reader)))
    return Parsed(sections, pages=pages, title=_title(reader), warnings=tuple(warnings[:20]))


def _page_texts(reader: pypdf.PdfReader, limits: Limits) -> tuple[list[str], list[str]]:
    texts: list[str] = []
    warnings: list[str] = []
    hides = False
    characters = 0
    for number, page in enumerate(reader.pages, start=1):
        try:
            found = page.extract_text()
            hides = hides or hides_characters(found)
            text = normalise(found)
        except MemoryError:
            raise
        except Exception as error:  # pypdf meets damage with any exception; the other pages may still be whole
            warnings.append(f"Page {number} cannot be read ({type(error).__name__}).")
            text = ""
        characters += len(text)
        if characters > limits.max_characters:
            raise DocumentTooExpensive("The file holds more text than is allowed.")
        texts.append(text.strip())
    return texts, [HIDDEN_CHARACTERS, *warnings] if hides else warnings


def _sections(texts: Sequence[str], outline: Sequence[_OutlineEntry]) -> Iterator[Section]:
    """Sections of whole paragraphs, cut at pages and where a heading of the outline stands."""
    words = vocabulary(texts)
    by_page: dict[int, list[tuple[str, ...]]] = {}
    for page, path in outline:
        by_page.setdefault(page, []).append(path)
    headings: tuple[str, ...] = ()
    before = ""
    for index, text in enumerate(texts):
        lines = [line for line in map(_tidy, text.split("\n")) if line]
        for path, part in _split_at_headings(lines, by_page.get(index, []), headings):
            paragraphs = join_lines(part, words)
            if not paragraphs:
                headings = path
                continue
            goes_on = path == headings and runs_on(before, paragraphs[0])
            between = joint(before, paragraphs[0]) if goes_on else PARAGRAPH_BREAK
            yield Section("\n".join(paragraphs), index + 1, path, between)
            headings, before = path, paragraphs[-1]


def _split_at_headings(
    lines: list[str], paths: list[tuple[str, ...]], headings: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], list[str]]]:
    """The lines of a page under their heading paths. A title that is not among them counts from where it would be."""
    start = 0
    for path in paths:
        title = _squeeze(path[-1])
        found = next((at for at in range(start, len(lines)) if _opens_with(lines, at, title)), None)
        if found is not None:
            yield headings, lines[start:found]
            start = found
        headings = path
    yield headings, lines[start:]


def _opens_with(lines: list[str], at: int, title: str) -> bool:
    """Whether a title of the outline stands at this line, perhaps numbered, perhaps broken over three lines."""
    shown = _squeeze("".join(lines[at : at + 3]))[: len(title) + 8]
    return bool(title) and (shown.startswith(title) or shown.lstrip("0123456789.§").startswith(title))


def _outline(reader: pypdf.PdfReader) -> list[_OutlineEntry]:
    """The document's bookmarks, in page order; none where they are damaged."""
    try:
        numbers = {page.indirect_reference.idnum: at for at, page in enumerate(reader.pages) if page.indirect_reference}
        entries = list(_flatten(reader.outline, (), numbers))
    except MemoryError:
        raise
    except Exception:  # the pages can still be read without their outline
        return []
    return sorted(entries, key=lambda entry: entry[0])


def _flatten(outline: Sequence[Any], parents: tuple[str, ...], page_numbers: dict[int, int]) -> Iterator[_OutlineEntry]:
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


def _tidy(line: str) -> str:
    return " ".join(line.split())


def _squeeze(text: str) -> str:
    return re.sub(r"\s+", "", text).lower()

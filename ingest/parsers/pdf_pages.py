"""Reads the pages of a PDF: by PDFium, by pypdf where that finds little, by OCR where there is no text to be found."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Self

import pypdf
import pypdfium2

import ingest.parsers.ocr as ocr
from app.errors import DocumentTooExpensive, EmptyDocument, EncryptedDocument, IngestionError, UnreadableDocument
from ingest.parsers.pdf_cjk import TableReader, has_such_fonts
from ingest.parsers.pdf_layout import Table, Text, blocks, plain
from ingest.parsers.pdf_quality import is_garbled
from ingest.parsers.pdf_running import without_running_lines
from ingest.parsers.pdf_seen import is_picture
from ingest.parsers.pdf_words import PageLines, read_page
from ingest.sections import Limits, normalise

_FEW_CHARACTERS = 600  # on a page: pypdf is asked too, which takes it some milliseconds
_MUCH_MORE = 1.3  # as many characters as PDFium has found: it has lost text
_LOST_SHARE = 0.5  # of the garbled characters: OCR has not read them either, such as those of a font that is missing
_NAMED_RUNS = 5
_LONGEST_LABEL = 50
_LIGATURES = dict(zip(range(0xFB00, 0xFB07), ("ff", "fi", "fl", "ffi", "ffl", "st", "st"), strict=True))


class Pages:
    """The pages of one file. `read` gives the blocks of each; `warnings` tells what was not read as usual."""

    def __init__(
        self, data: bytes, reader: pypdf.PdfReader | None, limits: Limits, password: str | None = None
    ) -> None:
        self._data = data
        self._password = password
        self._reader = reader
        self._limits = limits
        self._document = _open(data, password, is_readable=reader is not None)
        if self._document is None and reader is None:
            raise UnreadableDocument("The PDF is damaged and cannot be read.")
        self._count = len(self._document) if self._document is not None else 0
        if not self._count and reader is not None:
            self._count = len(reader.pages)
        self._characters = 0
        self._unreadable: list[int] = []
        self._by_pypdf: list[int] = []
        self._tables: TableReader | None = None
        self._by_tables: list[int] = []
        self._by_ocr: list[int] = []
        self._unfinished: list[int] = []
        self._without_ocr: list[int] = []
        self._garbled: list[int] = []
        self._hiding: list[int] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._document is not None:
            self._document.close()

    def __len__(self) -> int:
        return self._count

    def read(self) -> list[list[Text | Table]]:
        """The blocks of every page, without headers and footers."""
        started = time.monotonic()
        found = [self._read(number, started) for number in range(self._count)]
        laid_out = [(page.height, page.lines) for page in found if isinstance(page, PageLines)]
        kept = iter(without_running_lines(laid_out))
        result = []
        for page in found:
            if isinstance(page, PageLines):
                page.lines = next(kept)
                result.append(blocks(page))
            else:
                result.append(plain(page))
        return result

    def labels(self) -> tuple[str, ...]:
        """What the document itself calls its pages, such as "iv" or "A-3"; nothing where these are their numbers."""
        if self._document is None:
            return ()
        found = [self._document.get_page_label(number)[:_LONGEST_LABEL] for number in range(self._count)]
        labels = tuple(" ".join(normalise(label).split()) for label in found)
        return labels if any(label not in ("", str(number)) for number, label in enumerate(labels, 1)) else ()

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a person should know of how the pages were read, one line each."""
        told = (
            (self._unreadable, "not read: damaged"),
            (self._by_pypdf, "read by pypdf, in the order of the file"),
            (self._by_tables, "read by pdfminer.six: a font is not in the file"),
            (self._by_ocr, "read by OCR"),
            (self._unfinished, f"read in part: OCR took longer than {ocr.PAGE_SECONDS:g} s"),
            (self._without_ocr, f"without text that could be read; to read images, {ocr.MISSING}"),
            (self._garbled, "garbled: the fonts do not tell which letters they show"),
        )
        found = [f"{_name(pages)} {_is(pages)} {what}." for pages, what in told if pages]
        if self._hiding:
            found.append(f"{_name(self._hiding)}: text that nobody sees was left out.")
        return tuple(found)

    def reason_for_nothing(self) -> IngestionError:
        """Why no page has text."""
        if self._unreadable:
            return UnreadableDocument("The PDF is damaged: none of its pages can be read.")
        if self._without_ocr:
            return EmptyDocument(f"Its pages are images, such as scans; to read them, {ocr.MISSING}.")
        return EmptyDocument("No text was found in the file: its pages are empty.")

    def _read(self, number: int, started: float) -> PageLines | str:
        """A page's lines, or its text where only pypdf could read it. An empty one where there is none."""
        page = self._load(number)
        try:
            found = self._lines(page) if page is not None else PageLines(0, 0)
            if found.hides_text:
                self._hiding.append(number + 1)
            by_pypdf, garbled, characters = self._second_opinion(found, number, page is None)
            if garbled and (by_tables := self._text_by_tables(number)):
                self._count_characters(by_tables)
                self._by_tables.append(number + 1)
                return by_tables
            text = by_pypdf or found.text
            if page is not None and (garbled or is_picture(page, len(text.strip()))):
                scanned = self._by_eye(page, number, started)
                if scanned is not None and (garbled or len(scanned.text) >= len(text)):
                    if garbled and scanned.characters < _LOST_SHARE * characters:
                        self._garbled.append(number + 1)
                    self._count_characters(scanned.text)
                    return scanned
            if garbled:
                self._garbled.append(number + 1)
            self._count_characters(text)
            if by_pypdf:
                self._by_pypdf.append(number + 1)
            return by_pypdf or found
        finally:
            if page is not None:
                page.close()

    def _second_opinion(self, found: PageLines, number: int, alone: bool) -> tuple[str, bool, int]:
        """pypdf's text if it is better, whether there is only garbled text, and how many characters it has."""
        garbled = is_garbled(found.text)
        characters = len("".join(found.text.split()))
        if found.hides_text or (not garbled and found.characters >= _FEW_CHARACTERS):
            return "", garbled, characters  # pypdf does not tell what is hidden
        text = self._text_by_pypdf(number, alone)
        more = len("".join(text.split())) > _MUCH_MORE * characters
        characters = max(characters, len("".join(text.split())))
        if text and (more or garbled) and not is_garbled(text):
            return text, False, characters
        return "", garbled or more, characters

    def _load(self, number: int) -> pypdfium2.PdfPage | None:
        if self._document is None:
            return None
        try:
            return self._document[number]
        except pypdfium2.PdfiumError:
            return None

    def _lines(self, page: pypdfium2.PdfPage) -> PageLines:
        found = read_page(page, self._limits.max_characters)
        if found.characters > self._limits.max_characters:
            raise DocumentTooExpensive("The file holds more text than is allowed.")
        for line in found.lines:
            line.text = _tidy(line.text)
        found.lines = [line for line in found.lines if line.text]
        return found

    def _text_by_pypdf(self, number: int, alone: bool) -> str:
        if self._reader is None:
            return ""
        try:
            text = self._reader.pages[number].extract_text()
        except MemoryError:
            raise
        except Exception:  # pypdf meets damage with any exception; the other pages may still be whole
            if alone:
                self._unreadable.append(number + 1)
            return ""
        return text.translate(_LIGATURES)

    def _text_by_tables(self, number: int) -> str:
        """What a page says whose fonts are numbers of a collection; nothing where that is not why it is garbled."""
        try:
            if self._reader is None or not has_such_fonts(self._reader.pages[number]):
                return ""
            self._tables = self._tables or TableReader(self._data, self._password)
            text = self._tables.text(number)
        except MemoryError:
            raise
        except Exception:  # it meets damage with any exception, too; OCR is left
            return ""
        return "" if is_garbled(text) else text

    def _by_eye(self, page: pypdfium2.PdfPage, number: int, started: float) -> PageLines | None:
        """What OCR reads on the page; None where it is not installed."""
        if not ocr.is_installed():
            self._without_ocr.append(number + 1)
            return None
        until = started + self._limits.seconds * ocr.SHARE_OF_TIME
        now = time.monotonic()
        if now > until:
            raise DocumentTooExpensive(ocr.out_of_time(number + 1, self._count, self._limits.seconds))
        self._by_ocr.append(number + 1)
        try:
            return ocr.read_image(*ocr.render(page), min(until, now + ocr.PAGE_SECONDS))
        except ocr.Unfinished as unfinished:
            if time.monotonic() < until:
                self._unfinished.append(number + 1)
            return unfinished.page

    def _count_characters(self, text: str) -> None:
        self._characters += len(text)
        if self._characters > self._limits.max_characters:
            raise DocumentTooExpensive("The file holds more text than is allowed.")


def locked(password: str | None) -> EncryptedDocument:
    """Why an encrypted file cannot be read."""
    if password is None:
        return EncryptedDocument("The file is password-protected; send it again with its password, or without one.")
    return EncryptedDocument("The file is password-protected, and the password that came with it is wrong.")


def _open(data: bytes, password: str | None, *, is_readable: bool) -> pypdfium2.PdfDocument | None:
    """PDFium's view of the file; None where it is too damaged for that.

    Raises `EncryptedDocument`, unless pypdf has opened it: passwords in other alphabets are encoded in several ways.
    """
    try:
        return pypdfium2.PdfDocument(data, password)
    except pypdfium2.PdfiumError as error:
        if "password" in str(error).lower() and not is_readable:
            raise locked(password) from None
        return None


def _tidy(text: str) -> str:
    if text.isascii() and text.isprintable():
        return text
    return " ".join(text.translate(_LIGATURES).split())


def _name(pages: Sequence[int]) -> str:
    """`Page 3`, `Pages 3-5 and 8`, or, where they are many runs, how many and which are the first and the last."""
    runs: list[list[int]] = []
    for page in pages:
        if runs and page == runs[-1][1] + 1:
            runs[-1][1] = page
        else:
            runs.append([page, page])
    if len(runs) > _NAMED_RUNS:
        return f"{len(pages)} pages between {pages[0]} and {pages[-1]}"
    names = [str(first) if first == last else f"{first}-{last}" for first, last in runs]
    listed = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
    return f"{'Page' if len(pages) == 1 else 'Pages'} {listed}"


def _is(pages: Sequence[int]) -> str:
    return "was" if len(pages) == 1 else "were"

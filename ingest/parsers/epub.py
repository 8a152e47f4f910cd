"""EPUB: the chapters in the order of the book's spine, each read as HTML."""

from __future__ import annotations

import contextlib
import posixpath
import re
import zipfile
from collections.abc import Iterator

from lxml import etree

from app.errors import EncryptedDocument, UnreadableDocument
from ingest.parsers.archive import Element, open_archive, read_tree, resolve
from ingest.parsers.html import read_html
from ingest.sections import Limits, Parsed, SectionBuilder, Source

_CONTAINER = "{urn:oasis:names:tc:opendocument:xmlns:container}rootfile"
_OPF = "{http://www.idpf.org/2007/opf}"
_TITLE = "{http://purl.org/dc/elements/1.1/}title"
_XENC = "{http://www.w3.org/2001/04/xmlenc#}"
_NCX = "{http://www.daisy.org/z3986/2005/ncx/}"
_CONTENTS = "application/x-dtbncx+xml"
_CHAPTERS = ("application/xhtml+xml", "text/html", "text/x-oeb1-document")
# Fonts are garbled against copying even in books that everyone may read.
_FONT_METHODS = ("http://www.idpf.org/2008/embedding", "http://ns.adobe.com/pdf/enc#RC")
_HEADING = re.compile(rb"<h[1-6][\s>]", re.I)
_MAX_CHAPTER_BYTES = 64 * 1024 * 1024
_MAX_WARNINGS = 20


def parse_epub(source: Source, limits: Limits) -> Parsed:
    """The book's text under the headings of its chapters. A chapter that is missing is told of."""
    with open_archive(source) as archive:
        root = read_tree(archive, "META-INF/container.xml").find(f".//{_CONTAINER}")
        package = "" if root is None else root.get("full-path", "")
        if package not in archive.namelist():
            raise UnreadableDocument("The file is not an EPUB book.")
        if _is_protected(archive):
            raise EncryptedDocument("The book is protected against copying (DRM), so its text cannot be read.")
        book = read_tree(archive, package)
        titles = _titles(archive, book, posixpath.dirname(package))
        builder = SectionBuilder(limits)
        warnings: list[str] = []
        for part in _spine(book, posixpath.dirname(package)):
            try:
                size = archive.getinfo(part).file_size
            except KeyError:
                warnings.append(f"The chapter {part} is not in the file.")
                continue
            if size > _MAX_CHAPTER_BYTES:
                warnings.append(f"The chapter {part} is larger than is allowed; it was left out.")
                continue
            data = archive.read(part)
            if part in titles and not _HEADING.search(data):
                builder.heading(1, titles[part])
            warnings.extend(read_html(data, builder)[1])
        title = " ".join((book.findtext(f".//{_TITLE}") or "").split())
        return Parsed(builder.sections(), title=title or None, warnings=tuple(warnings[:_MAX_WARNINGS]))


def _spine(book: Element, folder: str) -> Iterator[str]:
    """The parts of the book in reading order, without its table of contents, which repeats the headings."""
    items = {item.get("id"): item for item in book.iter(f"{_OPF}item")}
    seen: set[str] = set()
    for reference in book.iter(f"{_OPF}itemref"):
        item = items.get(reference.get("idref"))
        if item is None or item.get("media-type") not in _CHAPTERS or "nav" in item.get("properties", "").split():
            continue
        part = resolve(folder, item.get("href", ""))
        if part not in seen:
            seen.add(part)
            yield part


def _titles(archive: zipfile.ZipFile, book: Element, folder: str) -> dict[str, str]:
    """What the book's table of contents calls its parts, for chapters that have no heading of their own."""
    item = next((item for item in book.iter(f"{_OPF}item") if item.get("media-type") == _CONTENTS), None)
    if item is None:
        return {}
    part = resolve(folder, item.get("href", ""))
    titles: dict[str, str] = {}
    with contextlib.suppress(etree.XMLSyntaxError):  # the chapters may still be whole
        for point in read_tree(archive, part).iter(f"{_NCX}navPoint"):
            title = point.findtext(f"{_NCX}navLabel/{_NCX}text") or ""
            target = point.find(f"{_NCX}content")
            if target is not None:
                titles.setdefault(resolve(posixpath.dirname(part), target.get("src", "")), title)
    return titles


def _is_protected(archive: zipfile.ZipFile) -> bool:
    methods = read_tree(archive, "META-INF/encryption.xml").iterfind(f".//{_XENC}EncryptedData/{_XENC}EncryptionMethod")
    return any(method.get("Algorithm") not in _FONT_METHODS for method in methods)

"""Zip-based formats are checked before anything in them is unpacked, and their XML is read without entities."""

from __future__ import annotations

import posixpath
import stat
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote

from lxml import etree

from app.errors import DocumentTooExpensive, EncryptedDocument, UnreadableDocument
from ingest.sections import Source

_MAX_ENTRIES = 10_000
_MAX_BYTES = 512 * 1024 * 1024  # unpacked, all members together
_MAX_RATIO = 200  # deflate reaches 1000; XML of real documents stays below 100
_RATIO_MATTERS_FROM_BYTES = 16 * 1024 * 1024
_MAX_TREE_BYTES = 16 * 1024 * 1024  # of a part that is read at once: styles, a slide
_ENCRYPTED = 0x1
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_RELATIONSHIP = "{http://schemas.openxmlformats.org/package/2006/relationships}Relationship"
_TITLE = "{http://purl.org/dc/elements/1.1/}title"
_STRICT_NAMESPACE = b"http://purl.oclc.org/ooxml/"
_XML_OPTIONS: dict[str, Any] = {"resolve_entities": False, "no_network": True, "load_dtd": False, "huge_tree": False}

Element = Any  # lxml has no types


@contextmanager
def open_archive(source: Source) -> Iterator[zipfile.ZipFile]:
    """A zip file whose members are within bounds; `zipfile` never unpacks more than a member declares.

    Archives within it stay closed. Nothing is ever written to a disk; a member that is a link or that points out of the
    archive has no place in a document, though, and whoever put it there meant something else.
    """
    with source.open("rb") as file:
        if file.read(len(_OLE)) == _OLE:
            raise _of_ole(file.read())
        try:
            archive = zipfile.ZipFile(file)
        except (zipfile.BadZipFile, ValueError, EOFError, OverflowError, NotImplementedError) as error:
            raise UnreadableDocument("The file is damaged: its contents cannot be unpacked.") from error
        with archive:
            _check(archive.infolist())
            yield archive


def _check(members: Sequence[zipfile.ZipInfo]) -> None:
    if len(members) > _MAX_ENTRIES or sum(member.file_size for member in members) > _MAX_BYTES:
        raise DocumentTooExpensive("Unpacked, the file is larger than is allowed.")
    for member in members:
        size = member.file_size
        if size > _RATIO_MATTERS_FROM_BYTES and size > member.compress_size * _MAX_RATIO:
            raise DocumentTooExpensive("The file unpacks to many times its size, as a zip bomb does.")
        if member.filename.startswith("/") or ".." in member.filename.split("/"):
            raise UnreadableDocument("The file's archive points out of itself.")
        if stat.S_ISLNK(member.external_attr >> 16):
            raise UnreadableDocument("The file's archive holds links.")
        if member.flag_bits & _ENCRYPTED:
            raise EncryptedDocument
        if member.compress_type not in _METHODS:
            raise UnreadableDocument("The file is packed in an unusual way that cannot be read.")


def _of_ole(data: bytes) -> Exception:
    """The container of old Office formats: it also wraps password-protected new ones."""
    if "EncryptedPackage".encode("utf-16-le") in data:
        return EncryptedDocument()
    return UnreadableDocument(
        "The file is of an old Office format; save it in the new one (DOCX, PPTX, XLSX) or as PDF."
    )


def require(archive: zipfile.ZipFile, part: str, kind: str) -> None:
    """Raise if the archive is not of the kind that has this part, or is of the kind's rare Strict variant."""
    if part not in archive.namelist():
        raise UnreadableDocument(f"The file is not {kind}.")
    with archive.open(part) as stream:
        if _STRICT_NAMESPACE in stream.read(4096):
            raise UnreadableDocument("The file is a Strict Open XML document; save it as an ordinary one.")


def read_tree(archive: zipfile.ZipFile, part: str) -> Element:
    """A part of moderate size as a tree; empty if there is no such part."""
    try:
        size = archive.getinfo(part).file_size
    except KeyError:
        return etree.Element("none")
    if size > _MAX_TREE_BYTES:
        raise DocumentTooExpensive("A part of the file is larger than is allowed.")
    return etree.fromstring(archive.read(part), etree.XMLParser(**_XML_OPTIONS))


@contextmanager
def stream_xml(
    archive: zipfile.ZipFile, part: str, tags: Sequence[str], events: Sequence[str] = ("start", "end")
) -> Iterator[Iterator[tuple[str, Element]]]:
    """The events of a part of any size. Whoever reads them calls `forget`, so that memory stays flat."""
    with archive.open(part) as stream:
        yield etree.iterparse(stream, events=events, tag=tags, **_XML_OPTIONS)


def forget(element: Element) -> None:
    """Free what was read, the element's elder siblings included."""
    element.clear()
    parent = element.getparent()
    while parent is not None and element.getprevious() is not None:
        del parent[0]


def related(archive: zipfile.ZipFile, part: str) -> dict[str, tuple[str, str]]:
    """What a part of an Office file refers to within the file: id → (the last word of its kind, name of the part)."""
    folder, name = posixpath.split(part)
    found = {}
    for element in read_tree(archive, f"{folder}/_rels/{name}.rels").iter(_RELATIONSHIP):
        if element.get("TargetMode") != "External":
            target = resolve(folder, element.get("Target", ""))
            found[element.get("Id", "")] = element.get("Type", "").rpartition("/")[2], target
    return found


def resolve(folder: str, reference: str) -> str:
    """The name of the member that a reference from a part in `folder` means."""
    path = unquote(reference.partition("#")[0])
    return posixpath.normpath(posixpath.join("/", folder, path)).lstrip("/")


def core_title(archive: zipfile.ZipFile) -> str | None:
    """The title among an Office file's properties."""
    return " ".join((read_tree(archive, "docProps/core.xml").findtext(_TITLE) or "").split()) or None

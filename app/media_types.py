"""What a file is, decided by its content; its name is only a hint where several kinds of text look alike."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from enum import StrEnum
from pathlib import PurePath

from app.errors import UnsupportedMediaType

HEAD_BYTES = 64 * 1024  # how much of a file `detect` wants to see


class MediaType(StrEnum):
    """The kinds of file that can be read."""

    PDF = "application/pdf"
    DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
    PPTX = "application/vnd.openxmlformats-officedocument.presentationml.presentation"
    XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
    ODT = "application/vnd.oasis.opendocument.text"
    EPUB = "application/epub+zip"
    EML = "message/rfc822"
    HTML = "text/html"
    MARKDOWN = "text/markdown"
    CSV = "text/csv"
    TSV = "text/tab-separated-values"
    JSON = "application/json"
    JSON_LINES = "application/jsonl"
    TEXT = "text/plain"
    PNG = "image/png"
    JPEG = "image/jpeg"
    TIFF = "image/tiff"
    WEBP = "image/webp"


READABLE = (
    "PDF, DOCX, PPTX, XLSX, ODT, EPUB, EML, CSV, JSON, HTML, Markdown, plain text and images (PNG, JPEG, TIFF, WebP) "
    "can be read"
)

_MARKUP_KINDS = {
    ".htm": MediaType.HTML,
    ".html": MediaType.HTML,
    ".xhtml": MediaType.HTML,
    ".md": MediaType.MARKDOWN,
    ".markdown": MediaType.MARKDOWN,
}
_DATA_KINDS = {
    ".csv": MediaType.CSV,
    ".tsv": MediaType.TSV,
    ".tab": MediaType.TSV,
    ".json": MediaType.JSON,
    ".geojson": MediaType.JSON,
    ".jsonl": MediaType.JSON_LINES,
    ".ndjson": MediaType.JSON_LINES,
}
_OFFICE_KINDS = {
    ".docx": MediaType.DOCX,
    ".docm": MediaType.DOCX,
    ".pptx": MediaType.PPTX,
    ".pptm": MediaType.PPTX,
    ".xlsx": MediaType.XLSX,
    ".xlsm": MediaType.XLSX,
    ".odt": MediaType.ODT,
    ".epub": MediaType.EPUB,
}
# Names that promise something other than text; text inside them is a mistake that a person wants to hear of.
_BINARY_KINDS = {
    ".pdf": "a PDF",
    ".docx": "a Word document",
    ".docm": "a Word document",
    ".doc": "a Word document",
    ".pptx": "a PowerPoint presentation",
    ".pptm": "a PowerPoint presentation",
    ".ppt": "a PowerPoint presentation",
    ".xlsx": "an Excel workbook",
    ".xlsm": "an Excel workbook",
    ".xlsb": "an Excel workbook",
    ".xls": "an Excel workbook",
    ".odt": "an OpenDocument text",
    ".ods": "an OpenDocument spreadsheet",
    ".odp": "an OpenDocument presentation",
    ".epub": "an EPUB book",
    ".png": "a PNG image",
    ".jpg": "a JPEG image",
    ".jpeg": "a JPEG image",
    ".tif": "a TIFF image",
    ".tiff": "a TIFF image",
    ".webp": "a WebP image",
}
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_SIGNATURES = (
    (b"MZ", "a Windows program"),
    (b"\x7fELF", "a Linux program"),
    (b"\xcf\xfa\xed\xfe", "a macOS program"),
    (b"\xca\xfe\xba\xbe", "a compiled program"),
    (b"\x89PNG\r\n\x1a\n", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"II*\x00", "a TIFF image"),
    (b"MM\x00*", "a TIFF image"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"BZh", "a bzip2 archive"),
    (b"\xfd7zXZ\x00", "an xz archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"ID3", "an MP3 recording"),
    (b"OggS", "an Ogg recording"),
    (b"SQLite format 3\x00", "an SQLite database"),
    (b"{\\rtf", "an RTF document"),
    (b"%!PS", "a PostScript document"),
)
_IMAGE_KINDS = {
    "a PNG image": MediaType.PNG,
    "a JPEG image": MediaType.JPEG,
    "a TIFF image": MediaType.TIFF,
    "a WebP image": MediaType.WEBP,
}
_MEMBER = b"PK\x03\x04"
_MEMBER_HEADER_BYTES = 30
_FOLDER_KINDS = {b"word": MediaType.DOCX, b"ppt": MediaType.PPTX, b"xl": MediaType.XLSX}
_OPEN_DOCUMENT = b"application/vnd.oasis.opendocument."
_OPEN_DOCUMENT_KINDS = {
    b"spreadsheet": "an OpenDocument spreadsheet",
    b"presentation": "an OpenDocument presentation",
}
# A document that says it is HTML, behind white space, an XML declaration and comments.
_HTML_START = re.compile(
    rb"\s*(?:<\?xml[^>]{0,200}\?>\s*)?(?:<!--.{0,2000}?-->\s*){0,3}<(?:!doctype\s+html|html|head|body)[\s>]",
    re.I | re.S,
)
_JSON_START = re.compile(rb'\s*\[?\s*\{\s*"[^"\r\n]{0,200}"\s*:')
_XML_START = re.compile(rb"\s*<\?xml\s")
_MAIL_HEADER = re.compile(rb"([A-Za-z][A-Za-z0-9-]{0,60}):")
_MAIL_HEADERS = {b"from", b"to", b"subject", b"date", b"message-id", b"mime-version", b"received"}
_MAIL_MARKS = {b"message-id", b"mime-version", b"received"}  # what only programs write
_CONTROLS = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")
_BYTE_ORDER_MARKS = (
    codecs.BOM_UTF8,
    codecs.BOM_UTF32_LE,
    codecs.BOM_UTF32_BE,
    codecs.BOM_UTF16_LE,
    codecs.BOM_UTF16_BE,
)
# Compressed or random bytes hold 11 % control characters, texts in any legacy encoding almost none.
_MAX_CONTROL_SHARE = 0.02
_MAX_CONTROL_SHARE_IN_UTF8 = 0.3


def detect(filename: str, head: bytes) -> MediaType:
    """The media type of a file by its name and its first `HEAD_BYTES` bytes.

    Raises `UnsupportedMediaType`, with a message for a person, for what cannot be read or is not what its name says.
    """
    extension = PurePath(filename).suffix.lower()
    text = is_text(head)
    at = head[:1024].find(b"%PDF-")
    if at >= 0 and (extension == ".pdf" or not text or not head[:at].strip(b"\xef\xbb\xbf \t\r\n")):
        return MediaType.PDF
    if head.startswith(_MEMBER):
        return _zip_kind(filename, extension, head)
    if head.startswith(_OLE):
        return _ole_kind(filename, extension, head)
    if not text:
        image = _IMAGE_KINDS.get(_describe(head) or "")
        if image and _BINARY_KINDS.get(extension, "a PNG image") in _IMAGE_KINDS:  # its name says nothing else
            return image
        raise _refusal(filename, extension, _describe(head) or "a binary file of an unknown kind")
    return _text_kind(filename, extension, head)


def is_text(head: bytes) -> bool:
    """Whether these first bytes of a file are text, in whatever encoding."""
    if head.startswith(_BYTE_ORDER_MARKS):
        return True
    if _describe(head):
        return False
    controls = len(_CONTROLS.findall(head))
    if controls <= len(head) * _MAX_CONTROL_SHARE:
        return True
    if is_utf16_without_mark(head):
        return True
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)  # the head may end inside a character
    except UnicodeDecodeError:
        return False
    return controls <= len(head) * _MAX_CONTROL_SHARE_IN_UTF8


def is_utf16_without_mark(head: bytes) -> str | None:
    """The byte order of UTF-16 text that carries no byte order mark, told by where its NULs are."""
    even, odd = head[:4096:2].count(0), head[1:4096:2].count(0)
    if min(even, odd) > len(head[:4096]) * 0.01 or max(even, odd) < len(head[:4096]) * 0.2:
        return None
    return "utf-16-le" if odd > even else "utf-16-be"


def _text_kind(filename: str, extension: str, head: bytes) -> MediaType:
    if extension in _BINARY_KINDS:
        raise _refusal(filename, extension, "plain text")
    head = head.removeprefix(codecs.BOM_UTF8)
    if _HTML_START.match(head):
        return MediaType.HTML
    if extension in _MARKUP_KINDS:
        return _MARKUP_KINDS[extension]
    if extension == ".xml" or _XML_START.match(head):
        raise _refusal(filename, extension, "an XML file")
    headers = _mail_headers(head)
    if extension == ".eml":
        if not headers & _MAIL_HEADERS:
            raise _refusal(filename, extension, "plain text")
        return MediaType.EML
    if b"from" in headers and headers & _MAIL_MARKS:
        if head.startswith(b"From "):
            raise _refusal(filename, extension, "a mailbox of messages (save each as EML)")
        return MediaType.EML
    kind = _DATA_KINDS.get(extension, MediaType.TEXT)
    if kind in (MediaType.CSV, MediaType.TSV) and _JSON_START.match(head):
        return MediaType.JSON
    return kind


def _mail_headers(head: bytes) -> set[bytes]:
    """The names of the headers with which a message begins; none if the text begins otherwise."""
    headers: set[bytes] = set()
    for number, line in enumerate(head.splitlines()):
        header = _MAIL_HEADER.match(line)
        if header:
            headers.add(header[1].lower())
        elif not line:
            break
        elif line[:1] not in b" \t" and not (number == 0 and line.startswith((b"From ", b">From "))):
            return set()
    return headers


def _zip_kind(filename: str, extension: str, head: bytes) -> MediaType:
    """Tell zip-based formats apart by their first members; the parser verifies the rest."""
    for name, content in _members(head):
        if name == b"mimetype":
            if content.startswith(MediaType.EPUB.encode()):
                return MediaType.EPUB
            if content.startswith(_OPEN_DOCUMENT):
                return _open_document_kind(filename, extension, content.removeprefix(_OPEN_DOCUMENT))
        folder = name.partition(b"/")[0]
        if folder in _FOLDER_KINDS:
            return _FOLDER_KINDS[folder]
        if name == b"META-INF/container.xml":
            return MediaType.EPUB
    # The members of a document may come in any order, so that the telling one is not always within the head.
    if extension in _OFFICE_KINDS:
        return _OFFICE_KINDS[extension]
    raise _refusal(filename, extension, _BINARY_KINDS.get(extension, "a ZIP archive"))


def _members(head: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The names of a zip file's members within its head, and the bytes that follow each."""
    at = head.find(_MEMBER)
    while at >= 0:
        name_at = at + _MEMBER_HEADER_BYTES
        name_end = name_at + int.from_bytes(head[at + 26 : at + 28], "little")
        content_at = name_end + int.from_bytes(head[at + 28 : at + 30], "little")
        yield head[name_at:name_end], head[content_at : content_at + 100]
        at = head.find(_MEMBER, at + 1)


def _open_document_kind(filename: str, extension: str, kind: bytes) -> MediaType:
    if kind.startswith(b"text"):
        return MediaType.ODT
    found = next((words for start, words in _OPEN_DOCUMENT_KINDS.items() if kind.startswith(start)), None)
    raise _refusal(filename, extension, found or "an OpenDocument file")


def _ole_kind(filename: str, extension: str, head: bytes) -> MediaType:
    """The container of the old Office formats, which also wraps password-protected new ones."""
    if extension in _OFFICE_KINDS:
        return _OFFICE_KINDS[extension]  # its parser sees the whole file, and says what it is
    if "EncryptedPackage".encode("utf-16-le") in head:
        raise _refusal(filename, extension, "a password-protected Office file")
    if extension == ".msg":
        raise _refusal(filename, extension, "an Outlook message (save it as EML)")
    raise _refusal(filename, extension, "a file of an old Office format (save it as DOCX, PPTX, XLSX or PDF)")


def _describe(head: bytes) -> str | None:
    for signature, kind in _SIGNATURES:
        if head.startswith(signature):
            # Two letters are not enough: a text may begin with "MZ".
            return None if signature == b"MZ" and not _CONTROLS.search(head[:256]) else kind
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "a WebP image"
    if head[4:8] == b"ftyp":
        return "a video or an HEIC image"
    return None


def _refusal(filename: str, extension: str, kind: str) -> UnsupportedMediaType:
    promised = "an e-mail message" if extension == ".eml" else _BINARY_KINDS.get(extension)
    name = filename if len(filename) <= 80 else f"{filename[:60]}…{extension[:19]}"
    if promised and promised != kind and not kind.startswith(("a password", "a file of an old")):
        return UnsupportedMediaType(f"{name} is not {promised} but {kind}; {READABLE}.", param="file")
    return UnsupportedMediaType(f"{name} is {kind}, which cannot be read; {READABLE}.", param="file")

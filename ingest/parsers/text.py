"""Plain text in any encoding."""

from __future__ import annotations

import codecs
import io
import re

import charset_normalizer

from app.errors import DocumentTooExpensive, UnreadableDocument
from app.media_types import HEAD_BYTES, is_text, is_utf16_without_mark
from ingest.sections import Limits, Parsed, Section, Source

# UTF-32 before UTF-16: its little-endian mark begins with the other's.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_LEGACY = ["gb18030", "big5", "cp932", "euc_jp", "euc_kr", "cp1252", "cp1251"]
# They look like ASCII, so only what the file says of itself can tell.
_SEVEN_BIT = ("iso2022_jp", "iso2022_jp_1", "iso2022_jp_2", "iso2022_jp_2004", "iso2022_jp_3", "iso2022_kr", "hz")
# Browsers read these labels as their supersets.
_SUPERSETS = {"gb2312": "gb18030", "gbk": "gb18030", "iso8859-1": "cp1252", "ascii": "cp1252", "shift_jis": "cp932"}
_NON_ASCII = re.compile(rb"[^\x00-\x7f]+")
_SAMPLE_BYTES = 64 * 1024


def parse_text(source: Source, limits: Limits) -> Parsed:
    """The whole file is one section: a plain text has neither pages nor marked headings."""
    text, warnings = read_text(source, limits)
    return Parsed((Section(text),), warnings=warnings)


def read_text(source: Source, limits: Limits) -> tuple[str, tuple[str, ...]]:
    """The file's text, in whatever encoding it is, and warnings."""
    data = read_bytes(source, limits)
    if not is_text(data[:HEAD_BYTES]):
        raise UnreadableDocument("The file is not text.")
    return decode(data)


def read_bytes(source: Source, limits: Limits) -> bytes:
    """The file's bytes, if they can hold no more text than is allowed."""
    with source.open("rb") as file:
        if file.seekable():  # all but a pipe
            if file.seek(0, io.SEEK_END) > limits.max_characters * 4:
                raise DocumentTooExpensive("The file holds more text than is allowed.")
            file.seek(0)
        return file.read()


def decode(data: bytes, declared: str | None = None) -> tuple[str, tuple[str, ...]]:
    """Text in whatever encoding it is written, and warnings. `declared` is what the file itself says, if it does."""
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return _decode_leniently(data[len(mark) :], encoding)
    if declared in _SEVEN_BIT:
        return _decode_leniently(data, declared)
    unmarked = is_utf16_without_mark(data)
    if unmarked:
        return _decode_leniently(data, unmarked)
    try:
        return data.decode("utf-8"), ()
    except UnicodeDecodeError:
        if _is_mostly_utf8(data):
            return _decode_leniently(data, "utf-8")
    return _decode_leniently(data, declared or _guess(data))


def known_encoding(label: str) -> str | None:
    """The codec that a file's own label means, if there is one."""
    try:
        name = codecs.lookup(label).name
        b"".decode(name)  # some codecs are not text encodings
    except (LookupError, UnicodeError, ValueError):
        return None
    return _SUPERSETS.get(name, name)


def _is_mostly_utf8(data: bytes) -> bool:
    """Whether the text is UTF-8 with a few bad bytes: in other encodings most characters beyond ASCII would be bad."""
    beyond_ascii = b" ".join(_NON_ASCII.findall(data)).decode("utf-8", "replace")
    bad = beyond_ascii.count("\ufffd")
    good = len(beyond_ascii) - bad - beyond_ascii.count(" ")
    return bad * 10 <= good


def _guess(data: bytes) -> str:
    """The likeliest encoding of text that is not Unicode, by the part of it that is not ASCII."""
    first = next(_NON_ASCII.finditer(data)).start()
    start = data.rfind(b"\n", max(0, first - 1000), first) + 1  # never within a character of two bytes
    sample = data[start : start + _SAMPLE_BYTES]
    best = charset_normalizer.from_bytes(sample[: sample.rfind(b"\n") + 1] or sample, cp_isolation=_LEGACY).best()
    # Latin-1 is what remains: it has a character for every byte.
    return best.encoding if best else "latin-1"


def _decode_leniently(data: bytes, encoding: str) -> tuple[str, tuple[str, ...]]:
    text = data.decode(encoding, "replace")
    if "\ufffd" in text:
        return text, (f"Some bytes are not {encoding.upper()}; they are shown as \ufffd.",)
    return text, ()

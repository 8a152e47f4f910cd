"""E-mail: who wrote to whom, when and about what, the text, and the attachments, each read by its own parser."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from email.errors import HeaderParseError
from email.header import decode_header
from email.message import Message
from email.parser import BytesParser
from email.policy import Compat32
from typing import IO, Literal, TypeAlias

from app.errors import EncryptedDocument, IngestionError, UnreadableDocument, UnsupportedMediaType
from app.media_types import HEAD_BYTES, detect
from ingest.parsers.html import read_html
from ingest.parsers.text import decode, known_encoding
from ingest.sections import Limits, Parsed, Section, SectionBuilder, Source, normalise

Read = Callable[[Source, str, Limits], Parsed]
_Part: TypeAlias = "Message[str, str]"

_SHOWN = ("From", "To", "Cc", "Date", "Subject")
_MAX_HEADER_CHARACTERS = 10_000  # a mail may go to hundreds
_MAX_ATTACHMENTS = 50
_MAX_ATTACHED_BYTES = 64 * 1024 * 1024
_MAX_WARNINGS = 20
_SIGNATURES = ("application/pgp-signature", "application/pkcs7-signature", "application/x-pkcs7-signature")
_ENCRYPTED = ("multipart/encrypted", "application/pkcs7-mime", "application/x-pkcs7-mime")
# For attachments without a name, where the kind cannot be told by the content.
_EXTENSIONS = {
    "text/csv": ".csv",
    "text/tab-separated-values": ".tsv",
    "text/html": ".html",
    "text/markdown": ".md",
    "application/json": ".json",
}
# In flowed text a space at a line's end means that the paragraph goes on; `-- ` is a signature's mark.
_FLOWED = re.compile(r"(?<!\n--)[ ]\r?\n(?=[^>\s])")


class _Policy(Compat32):
    """Cuts endless headers, over which the standard library takes quadratic time."""

    def header_source_parse(self, sourcelines: list[str]) -> tuple[str, str]:
        name, value = super().header_source_parse(sourcelines)
        return name, value[:_MAX_HEADER_CHARACTERS]


@dataclass(frozen=True, slots=True)
class _Held:
    """An attachment's bytes, for a parser to read as a file. Nothing is written to a disk."""

    data: bytes

    def open(self, mode: Literal["rb"], /) -> IO[bytes]:
        return io.BytesIO(self.data)


@dataclass(slots=True)
class _Mail:
    """A message as it was taken apart."""

    bodies: list[_Part] = field(default_factory=list)
    attachments: list[_Part] = field(default_factory=list)


def parse_eml(source: Source, limits: Limits, read: Read) -> Parsed:
    """The headers that a reader sees, the text, then each attachment under its name, read by `read`.

    Attachments that cannot be read are told of in warnings. Messages within messages are read to a small depth.
    """
    with source.open("rb") as file:
        message = BytesParser(policy=_Policy()).parse(file)
    return _read_message(message, limits, read)


def _read_message(message: _Part, limits: Limits, read: Read) -> Parsed:
    shown = [(name, text) for name in _SHOWN if (text := _header(message, name))]
    if not shown:
        raise UnreadableDocument("The file is not an e-mail message.")
    subject = normalise(dict(shown).get("Subject", ""))
    mail = _Mail()
    _take_apart(message, mail)
    builder = SectionBuilder(limits)
    builder.block("\n".join(f"{name}: {text}" for name, text in shown))
    warnings: list[str] = []
    for body in mail.bodies:
        warnings.extend(_read_body(body, builder))
    sections = list(builder.sections())
    left = limits.max_characters - sum(len(section.text) for section in sections)
    attached, troubles = _read_attachments(mail.attachments, replace(limits, max_characters=left), read)
    path = (subject,) if subject else ()
    sections = [replace(section, headings=path + section.headings) for section in (*sections, *attached)]
    return Parsed(tuple(sections), title=subject or None, warnings=tuple((warnings + troubles)[:_MAX_WARNINGS]))


def _take_apart(part: _Part, mail: _Mail) -> None:
    """Sort the parts of a message into what is its text and what is attached."""
    kind = part.get_content_type()
    if kind in _ENCRYPTED and "signed" not in str(part.get_param("smime-type", "")):
        raise EncryptedDocument("The message is encrypted; save it decrypted and upload it again.")
    if kind == "multipart/alternative":
        _take_preferred(part, mail)
    elif kind == "multipart/related":
        parts = _parts(part)
        for first in parts[:1]:
            _take_apart(first, mail)
        mail.attachments += [each for each in parts[1:] if each.get_content_disposition() == "attachment"]
    elif part.get_content_maintype() == "multipart":
        for each in _parts(part):
            _take_apart(each, mail)
    elif kind in ("text/plain", "text/html") and not part.get_filename() and not _is_attachment(part):
        mail.bodies.append(part)
    elif kind not in _SIGNATURES and kind != "message/delivery-status":
        mail.attachments.append(part)


def _take_preferred(part: _Part, mail: _Mail) -> None:
    """Of several versions of one text the plain one, unless it is empty, and what any of them has attached."""
    versions = []
    for each in _parts(part):
        version = _Mail()
        _take_apart(each, version)
        versions.append(version)
        mail.attachments += version.attachments
    plain = [each for each in versions if each.bodies and each.bodies[0].get_content_type() == "text/plain"]
    rich = [each for each in versions if each.bodies and each not in plain]
    filled = [each for each in plain if any(_payload(body).strip() for body in each.bodies)]
    for version in (filled or rich or plain)[:1]:
        mail.bodies += version.bodies


def _parts(part: _Part) -> list[_Part]:
    payload = part.get_payload()
    return [each for each in payload if isinstance(each, Message)] if isinstance(payload, list) else []


def _is_attachment(part: _Part) -> bool:
    return part.get_content_disposition() == "attachment"


def _payload(part: _Part) -> bytes:
    payload = part.get_payload(decode=True)
    return payload if isinstance(payload, bytes) else b""


def _read_body(body: _Part, builder: SectionBuilder) -> tuple[str, ...]:
    encoding = known_encoding(body.get_content_charset() or "")
    if body.get_content_type() == "text/html":
        return read_html(_payload(body), builder, encoding)[1]
    text, warnings = decode(_payload(body), encoding)
    if str(body.get_param("format", "")).lower() == "flowed":
        text = _FLOWED.sub("" if str(body.get_param("delsp", "")).lower() == "yes" else " ", text)
    builder.block(text.strip())
    return warnings


def _read_attachments(parts: list[_Part], limits: Limits, read: Read) -> tuple[list[Section], list[str]]:
    sections: list[Section] = []
    warnings: list[str] = []
    if parts and limits.max_nesting < 1:
        return [], [f"{len(parts)} attachments were left out: they are nested too deeply."]
    bytes_left = _MAX_ATTACHED_BYTES
    limits = replace(limits, max_nesting=limits.max_nesting - 1)
    if len(parts) > _MAX_ATTACHMENTS:
        warnings.append(f"{len(parts) - _MAX_ATTACHMENTS} of {len(parts)} attachments were left out.")
    for number, part in enumerate(parts[:_MAX_ATTACHMENTS], start=1):
        name = _name(part, number)
        try:
            parsed, size = _read_attachment(part, name, limits, bytes_left, read)
        except (IngestionError, UnsupportedMediaType) as error:
            warnings.append(f"The attachment {name} was left out: {error.message}")
            continue
        bytes_left -= size
        found = [Section(name, headings=(name,))]
        found += [replace(section, headings=(name, *section.headings)) for section in parsed.sections]
        limits = replace(limits, max_characters=limits.max_characters - sum(len(each.text) for each in found))
        sections += found
        warnings += [f"{name}: {warning}" for warning in parsed.warnings]
    return sections, warnings


def _read_attachment(part: _Part, name: str, limits: Limits, bytes_left: int, read: Read) -> tuple[Parsed, int]:
    """What an attachment holds, and how many bytes it has."""
    if part.get_content_type() == "message/rfc822" and (messages := _parts(part)):
        return _read_message(messages[0], limits, read), 0
    data = _payload(part)
    if len(data) > bytes_left:
        raise UnreadableDocument("The message's attachments are larger than is allowed.")
    return read(_Held(data), detect(name, data[:HEAD_BYTES]), limits), len(data)


def _name(part: _Part, number: int) -> str:
    name = " ".join(normalise(_decoded(part.get_filename() or "")).replace("/", " ").replace("\\", " ").split())
    if not name and (messages := _parts(part)):
        name = normalise(_header(messages[0], "Subject"))
    return name[:200] or f"attachment {number}{_EXTENSIONS.get(part.get_content_type(), '')}"


def _header(message: _Part, name: str) -> str:
    """A header's text; the first one counts, as in most programs."""
    # As it came: the usual way of access loses what is not ASCII.
    raw = next((value for key, value in message.raw_items() if key.lower() == name.lower()), "")
    return _decoded(str(raw), message.get_content_charset())


def _decoded(raw: str, charset: str | None = None) -> str:
    """A header as RFC 2047 encodes it, or as old programs do: in the charset of the message."""
    text, _ = decode(raw.encode("utf-8", "surrogateescape"), known_encoding(charset or ""))
    try:
        parts = list(_words(text)) if "=?" in text else [text]
    except (HeaderParseError, ValueError):
        parts = [text]
    return " ".join("".join(parts).split())


def _words(text: str) -> Iterator[str]:
    for word, charset in decode_header(text):
        if isinstance(word, str):
            yield word
        elif charset is None:
            yield word.decode("ascii" if text.isascii() else "raw-unicode-escape", "replace")
        else:
            yield decode(word, known_encoding(charset))[0]

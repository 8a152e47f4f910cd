"""Multipart uploads, written to temporary blobs while they arrive: no second copy, no file in memory."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, ExitStack
from typing import Any
from urllib.parse import unquote

from fastapi import Request
from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from starlette.concurrency import run_in_threadpool

from app.errors import InvalidRequest, UnsupportedMediaType
from app.store.blobs import BlobWriter

_MOST_FILES = 1000
_MOST_FIELDS = 100
_MOST_FIELD_BYTES = 1024 * 1024
# RFC 5987: charset'language'percent-encoded. Forms should not use it (RFC 7578, 4.2), but some clients do.
_EXTENDED_FILENAME = re.compile(r"filename\*\s*=\s*([\w-]*)'[\w-]*'([^;\s]*)", re.IGNORECASE)
# Controls, and what turns or hides the characters beside it: a name must be what it looks like.
_UNFIT_FOR_A_NAME = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\U000e0000-\U000e007f]"
)


class Upload:
    """One file of the form."""

    def __init__(self, filename: str, writer: BlobWriter) -> None:
        self.filename = filename
        self.writer = writer


async def read_one_file(
    request: Request,
    new_blob: Callable[[], AbstractContextManager[BlobWriter]],
    stack: ExitStack,
    *,
    wanted: str,
    not_one: str,
) -> tuple[Upload, dict[str, str]]:
    """The file of a form that has one, and the form's fields. `wanted` and `not_one` tell who sends something else.

    Raises `UnsupportedMediaType` where the body is no form, and what `Form.read` raises.
    """
    content_type = request.headers.get("content-type", "")
    if not content_type.lower().startswith("multipart/form-data"):
        raise UnsupportedMediaType(f"Send multipart/form-data with {wanted}.")
    form = Form(new_blob, stack)
    await form.read(content_type, request.stream())
    if len(form.files) != 1:
        raise InvalidRequest(not_one, param="file")
    return form.files[0], form.fields


class Form:
    """Collects a form's fields and files; `new_blob` opens a temporary blob, which `stack` closes."""

    def __init__(self, new_blob: Callable[[], AbstractContextManager[BlobWriter]], stack: ExitStack) -> None:
        self.fields: dict[str, str] = {}
        self.files: list[Upload] = []
        self._new_blob = new_blob
        self._stack = stack
        self._headers: dict[str, bytes] = {}
        self._header_name = b""
        self._header_value = b""
        self._field_name = ""
        self._field_value: bytearray | None = None
        self._writer: BlobWriter | None = None
        self._ended = False

    async def read(self, content_type: str, body: AsyncIterator[bytes]) -> None:
        """Raises `InvalidRequest`, `PayloadTooLarge` while the body still arrives, `StorageFull`."""
        _, options = parse_options_header(content_type)
        boundary = options.get(b"boundary")
        if not boundary:
            raise InvalidRequest("The multipart body has no boundary.")
        try:
            parser = MultipartParser(boundary, self._callbacks())
            async for data in body:
                # In a thread: it writes to disk.
                await run_in_threadpool(parser.write, data)
            parser.finalize()
        except FormParserError as error:
            raise InvalidRequest(f"The multipart body is malformed: {error}") from error
        if not self._ended:
            raise InvalidRequest("The multipart body ends too early.")

    def _callbacks(self) -> Any:
        return {
            "on_part_begin": self._headers.clear,
            "on_header_field": self._on_header_field,
            "on_header_value": self._on_header_value,
            "on_header_end": self._on_header_end,
            "on_headers_finished": self._on_headers_finished,
            "on_part_data": self._on_part_data,
            "on_part_end": self._on_part_end,
            "on_end": self._on_end,
        }

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _on_header_end(self) -> None:
        self._headers[self._header_name.decode("latin-1").lower()] = self._header_value
        self._header_name = self._header_value = b""

    def _on_headers_finished(self) -> None:
        disposition = self._headers.get("content-disposition", b"")
        _, options = parse_options_header(disposition)
        name = options.get(b"name")
        if name is None:
            raise InvalidRequest("A part of the form has no name.")
        filename = filename_of(disposition)
        if filename is None:
            self._field_name, self._field_value = name.decode("utf-8", "replace"), bytearray()
            if len(self.fields) >= _MOST_FIELDS:
                raise InvalidRequest(f"A form may have {_MOST_FIELDS} fields.")
            return
        if len(self.files) >= _MOST_FILES:
            raise InvalidRequest(f"At most {_MOST_FILES} files an upload.", param="file")
        self._writer = self._stack.enter_context(self._new_blob())
        self.files.append(Upload(filename, self._writer))

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._writer is not None:
            self._writer.write(data[start:end])
        elif self._field_value is not None:
            self._field_value += data[start:end]
            if len(self._field_value) > _MOST_FIELD_BYTES:
                raise InvalidRequest(f"The field {self._field_name!r} is too long.", param=self._field_name)

    def _on_part_end(self) -> None:
        if self._writer is not None:
            self._writer.finish()
        elif self._field_value is not None:
            self.fields[self._field_name] = self._field_value.decode("utf-8", "replace")
        self._writer = self._field_value = None

    def _on_end(self) -> None:
        self._ended = True


def filename_of(disposition: bytes) -> str | None:
    """The name in a Content-Disposition, fit to be shown."""
    extended = _EXTENDED_FILENAME.search(disposition.decode("latin-1"))
    if extended is not None:
        return display_name(unquote(extended[2], encoding=_known_charset(extended[1]), errors="replace"))
    name: bytes | None = parse_options_header(disposition)[1].get(b"filename")
    return None if name is None else display_name(name.decode("utf-8", "replace"))


def display_name(name: str) -> str:
    """For display only, never a path: without folders and hidden characters, at most 255 of them."""
    return visible(name.replace("\\", "/").rpartition("/")[2])


def visible(title: str) -> str:
    """A title of at most 255 characters, of which a reader can see each."""
    return _UNFIT_FOR_A_NAME.sub("", title).strip()[:255] or "untitled"


def _known_charset(charset: str) -> str:
    return charset if charset.lower() in ("utf-8", "iso-8859-1", "gbk", "big5") else "utf-8"

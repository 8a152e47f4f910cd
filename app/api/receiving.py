"""What a client sends, to accepted documents: files of a form, a text, or what a URL leads to."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import JsonValue, SecretStr, TypeAdapter, ValidationError
from starlette.concurrency import run_in_threadpool

from app.api.dependencies import Services
from app.api.multipart import Form, display_name, filename_of, visible
from app.api.schemas.documents import LONGEST_PASSWORD, TextIn, UrlIn
from app.api.streaming import unless_client_leaves
from app.bootstrap import Core
from app.errors import FetchingDisabled, InvalidMetadata, InvalidRequest, PayloadTooLarge, UnsupportedMediaType
from app.media_types import detect
from app.store.blobs import BlobWriter
from app.store.collections import get_collection
from app.store.documents import flatten
from app.store.uploads import Accepted, accept
from app.types import Collection

_LONGEST_EXTERNAL_ID = 255
_JSON_OBJECT = TypeAdapter(dict[str, JsonValue])
_MOST_METADATA_VALUES = 200
# Everything of a multipart body that is not the files themselves.
_FORM_OVERHEAD_BYTES = 1024 * 1024


async def receive(request: Request, services: Services, document_id: str | None = None) -> list[Accepted]:
    """Whatever the body is. It is a new version of a document where one is named, and then of one file."""
    content_type = request.headers.get("content-type", "")
    if content_type.lower().startswith("multipart/form-data"):
        with ExitStack() as stack:
            return await _receive_files(request, content_type, services.core, stack, document_id)
    if content_type.lower().startswith("application/json"):
        return [await _receive_json(request, services, document_id)]
    raise UnsupportedMediaType("Send multipart/form-data with `file`, or JSON with `text` or `url`.")


async def _receive_files(
    request: Request, content_type: str, core: Core, stack: ExitStack, document_id: str | None
) -> list[Accepted]:
    """All files of the form, or none."""
    limit = core.settings.max_upload_bytes
    form = Form(lambda: core.blobs.writer(limit), stack)
    await form.read(content_type, request.stream())
    if not form.files:
        raise InvalidRequest("The form has no file: send it in a field named `file`.", param="file")
    if document_id is not None:
        _check_replacement(form.fields)
        if len(form.files) > 1:
            raise InvalidRequest("A new version is one file.", param="file")
    external_id = form.fields.get("external_id") or None
    if external_id is not None and len(form.files) > 1:
        raise InvalidRequest("An external_id names one file; send them one at a time.", param="external_id")
    if external_id is not None and len(external_id) > _LONGEST_EXTERNAL_ID:
        raise InvalidRequest(f"An external_id has at most {_LONGEST_EXTERNAL_ID} characters.", param="external_id")
    metadata = _parse_metadata(form.fields.get("metadata"))
    password = form.fields.get("password") or None
    if password is not None and len(password) > LONGEST_PASSWORD:
        raise InvalidRequest(f"A password has at most {LONGEST_PASSWORD} characters.", param="password")
    media_types = [detect(upload.filename, upload.writer.head) for upload in form.files]
    return [
        await run_in_threadpool(
            accept,
            core.database,
            core.blobs,
            upload.writer,
            collection=form.fields.get("collection") or "default",
            filename=upload.filename,
            media_type=media_type,
            external_id=external_id,
            metadata=metadata,
            document_id=document_id,
            password=password,
        )
        for upload, media_type in zip(form.files, media_types, strict=True)
    ]


async def _receive_json(request: Request, services: Services, document_id: str | None) -> Accepted:
    """A text, or the file that a URL leads to."""
    limit = services.core.settings.max_upload_bytes
    body = bytearray()
    async for data in request.stream():
        body += data
        if len(body) > limit + _FORM_OVERHEAD_BYTES:
            raise PayloadTooLarge(f"The text is larger than the limit of {limit:,} bytes.")
    with named_fields():
        fields = _JSON_OBJECT.validate_json(bytes(body))
        upload = UrlIn.model_validate(fields) if "url" in fields else TextIn.model_validate(fields)
    if document_id is not None:
        _check_replacement(upload.model_fields_set)
    _check_metadata(upload.metadata)
    with services.core.blobs.writer(limit) as writer:
        if isinstance(upload, UrlIn):
            return await _fetch(upload, request, services, writer, document_id)
        return await run_in_threadpool(_store_text, upload, services.core, writer, document_id)


def _store_text(note: TextIn, core: Core, writer: BlobWriter, document_id: str | None) -> Accepted:
    writer.write(note.text.encode("utf-8", "replace"))
    writer.finish()
    return accept(
        core.database,
        core.blobs,
        writer,
        collection=note.collection,
        filename=visible(note.title),
        media_type=note.media_type,
        external_id=note.external_id,
        metadata=note.metadata,
        document_id=document_id,
    )


async def _fetch(
    upload: UrlIn, request: Request, services: Services, writer: BlobWriter, document_id: str | None
) -> Accepted:
    if services.fetcher is None:
        raise FetchingDisabled(param="url")
    core = services.core
    if document_id is None:  # before anything is fetched in vain
        await run_in_threadpool(read_collection, core, upload.collection)
    fetched = await unless_client_leaves(request, services.fetcher.fetch(upload.url, writer.write))
    filename = filename_of(fetched.content_disposition or b"") or display_name(fetched.name)

    def store() -> Accepted:
        writer.finish()
        return accept(
            core.database,
            core.blobs,
            writer,
            collection=upload.collection,
            filename=filename,
            media_type=detect(filename, writer.head),
            external_id=upload.external_id,
            metadata=upload.metadata,
            source_url=upload.url,
            document_id=document_id,
            password=revealed(upload.password),
        )

    return await run_in_threadpool(store)


def revealed(password: SecretStr | None) -> str | None:
    """The password itself; None for none or an empty one."""
    return password.get_secret_value() or None if password is not None else None


def read_collection(core: Core, name: str) -> Collection:
    """Raises `CollectionNotFound`."""
    with core.database.read() as connection:
        return get_collection(connection, name)


@contextmanager
def named_fields() -> Iterator[None]:
    """What a body's model finds wrong is said as the framework says it of bodies that it reads itself."""
    try:
        yield
    except ValidationError as error:
        raise RequestValidationError([{**each, "loc": ("body", *each["loc"])} for each in error.errors()]) from error


def _check_replacement(fields: Iterable[str]) -> None:
    for name in {"collection", "external_id"}.intersection(fields):
        raise InvalidRequest(f"A new version keeps the document's {name}.", param=name)


def _parse_metadata(text: str | None) -> Mapping[str, Any] | None:
    if not text:
        return None
    try:
        metadata = _JSON_OBJECT.validate_json(text)
    except ValidationError as error:
        raise InvalidMetadata(param="metadata") from error
    _check_metadata(metadata)
    return metadata


def _check_metadata(metadata: Mapping[str, Any] | None) -> None:
    """What filters can work with."""
    try:
        values = [value for _, value in flatten(metadata or {})]
        json.dumps(metadata, allow_nan=False)
        fits = all(isinstance(value, str) or abs(float(value)) < float("inf") for value in values)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InvalidMetadata(param="metadata") from error
    if not fits or len(values) > _MOST_METADATA_VALUES:
        raise InvalidMetadata(param="metadata")

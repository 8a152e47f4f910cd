"""Upload, list, read and delete documents."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from pydantic import JsonValue, TypeAdapter, ValidationError
from starlette.concurrency import run_in_threadpool

from app.api.dependencies import ServicesDep
from app.api.errors import NOT_FOUND, ErrorResponse
from app.api.multipart import Form
from app.api.schemas import (
    ChunkOut,
    ChunksOut,
    CollectionName,
    DocumentOut,
    DocumentsOut,
    DocumentText,
    TextIn,
    UploadedDocument,
    UploadedDocuments,
    context_of,
)
from app.bootstrap import Core
from app.errors import InvalidMetadata, InvalidRequest, PayloadTooLarge, UnsupportedMediaType
from app.media_types import detect
from app.store import documents
from app.store.chunks import document_chunks
from app.store.collections import get_collection
from app.store.documents import flatten
from app.store.uploads import Accepted, accept, remove_unused_blob
from app.types import DocumentStatus

router = APIRouter(tags=["documents"])

_CURSOR = re.compile(r"(\d{1,19})-(doc_[0-9a-f]{32})")
_LONGEST_EXTERNAL_ID = 255
_METADATA = TypeAdapter(dict[str, JsonValue])
_MOST_METADATA_VALUES = 200
# Everything of a multipart body that is not the files themselves.
_FORM_OVERHEAD_BYTES = 1024 * 1024

_TEXT_SCHEMA = TextIn.model_json_schema(ref_template="#/components/schemas/{model}")
_TEXT_SCHEMA.pop("$defs", None)  # they are among the components, through the responses

_UPLOAD_BODY = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["file"],
                "properties": {
                    "file": {"type": "array", "items": {"type": "string", "format": "binary"}},
                    "collection": {"type": "string", "default": "default"},
                    "external_id": {"type": "string", "description": "Your own name for it; needs a single file."},
                    "metadata": {"type": "string", "description": "A JSON object, to filter by."},
                },
            }
        },
        "application/json": {"schema": _TEXT_SCHEMA},
    },
}


@router.post(
    "/documents",
    status_code=202,
    response_model=UploadedDocuments,
    responses={
        200: {"model": UploadedDocuments, "description": "All of it was here already"},
        404: {"model": ErrorResponse, "description": "There is no such collection"},
        413: {"model": ErrorResponse, "description": "A file is larger than the limit"},
        415: {"model": ErrorResponse, "description": "This kind of file cannot be read"},
        507: {"model": ErrorResponse, "description": "The disk is full"},
    },
    openapi_extra={"requestBody": _UPLOAD_BODY},
)
async def upload(request: Request, services: ServicesDep) -> JSONResponse:
    """Accept files (multipart) or a text (JSON): all of a request, or nothing of it. Ingestion follows by itself."""
    content_type = request.headers.get("content-type", "")
    with ExitStack() as stack:
        if content_type.lower().startswith("multipart/form-data"):
            accepted = await _upload_files(request, content_type, services.core, stack)
        elif content_type.lower().startswith("application/json"):
            accepted = [await _upload_text(request, services.core, stack)]
        else:
            raise UnsupportedMediaType("Send multipart/form-data with `file`, or application/json with `text`.")
    body = UploadedDocuments(
        documents=[UploadedDocument.of_upload(each.document, duplicate=each.duplicate) for each in accepted]
    )
    is_known = all(each.duplicate for each in accepted)
    return JSONResponse(body.model_dump(mode="json"), status_code=200 if is_known else 202)


@router.get("/documents", responses=NOT_FOUND)
def list_documents(
    services: ServicesDep,
    collection: CollectionName | None = None,
    status: DocumentStatus | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: str | None = None,
) -> DocumentsOut:
    """Newest first."""
    with services.core.database.read() as connection:
        found = documents.list_documents(
            connection,
            collection_id=None if collection is None else get_collection(connection, collection).id,
            status=status,
            limit=limit + 1,
            after=_decode_cursor(cursor),
        )
    page = found[:limit]
    last = page[-1] if len(found) > limit else None
    next_cursor = f"{round(last.created_at.timestamp() * 1e6)}-{last.id}" if last else None
    return DocumentsOut(documents=[DocumentOut.of(document) for document in page], next_cursor=next_cursor)


@router.get("/documents/{document_id}", responses=NOT_FOUND)
def read_document(document_id: str, services: ServicesDep) -> DocumentOut:
    """Its status and progress, and why it failed if it did."""
    with services.core.database.read() as connection:
        return DocumentOut.of(documents.get_document(connection, document_id))


@router.get("/documents/{document_id}/content", response_class=FileResponse, responses=NOT_FOUND)
def read_content(document_id: str, services: ServicesDep) -> FileResponse:
    """The original, as it was uploaded: always a download, never shown in place."""
    with services.core.database.read() as connection:
        document = documents.get_document(connection, document_id)
    return FileResponse(
        services.core.blobs.path(document.sha256),
        media_type=document.media_type,
        filename=document.filename,
        content_disposition_type="attachment",
        headers={"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "sandbox"},
    )


@router.get("/documents/{document_id}/text", responses=NOT_FOUND)
def read_text(document_id: str, services: ServicesDep, version: int | None = None) -> DocumentText:
    """The normalised text that all offsets refer to: of the version that answers, or of one that a citation names."""
    with services.core.database.read() as connection:
        if version is None:
            version, text = documents.live_text(connection, document_id)
        else:
            documents.get_document(connection, document_id)
            text = documents.version_text(connection, document_id, version)
    return DocumentText(document_id=document_id, version=version, text=text)


@router.get("/documents/{document_id}/chunks", responses=NOT_FOUND)
def read_chunks(
    document_id: str,
    services: ServicesDep,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: Annotated[int, Query(ge=-1)] = -1,
) -> ChunksOut:
    """The live version's chunks, in their order."""
    with services.core.database.read() as connection:
        documents.get_document(connection, document_id)
        found = document_chunks(connection, document_id, limit=limit + 1, after_ordinal=cursor)
    chunks = [
        ChunkOut(
            chunk_id=stored.chunk_id,
            ordinal=stored.chunk.ordinal,
            page=stored.chunk.page,
            headings=context_of(stored.chunk),
            start=stored.chunk.start,
            end=stored.chunk.end,
            tokens=stored.chunk.tokens,
            text=stored.chunk.text,
        )
        for stored in found[:limit]
    ]
    next_cursor = str(chunks[-1].ordinal) if len(found) > limit else None
    return ChunksOut(document_id=document_id, chunks=chunks, next_cursor=next_cursor)


@router.delete("/documents/{document_id}", status_code=204, response_class=Response, responses=NOT_FOUND)
def delete_document(document_id: str, services: ServicesDep) -> Response:
    """From now on no query returns any of it."""
    core = services.core
    with core.database.write() as connection:
        originals = documents.delete_document(connection, document_id)
    for sha256 in originals:
        remove_unused_blob(core.database, core.blobs, sha256)
    return Response(status_code=204)


async def _upload_files(request: Request, content_type: str, core: Core, stack: ExitStack) -> list[Accepted]:
    limit = core.settings.max_upload_bytes
    form = Form(lambda: core.blobs.writer(limit), stack)
    await form.read(content_type, request.stream())
    if not form.files:
        raise InvalidRequest("The form has no file: send it in a field named `file`.", param="file")
    external_id = form.fields.get("external_id") or None
    if external_id is not None and len(form.files) > 1:
        raise InvalidRequest("An external_id names one file; send them one at a time.", param="external_id")
    if external_id is not None and len(external_id) > _LONGEST_EXTERNAL_ID:
        raise InvalidRequest(f"An external_id has at most {_LONGEST_EXTERNAL_ID} characters.", param="external_id")
    metadata = _parse_metadata(form.fields.get("metadata"))
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
        )
        for upload, media_type in zip(form.files, media_types, strict=True)
    ]


async def _upload_text(request: Request, core: Core, stack: ExitStack) -> Accepted:
    limit = core.settings.max_upload_bytes
    body = bytearray()
    async for data in request.stream():
        body += data
        if len(body) > limit + _FORM_OVERHEAD_BYTES:
            raise PayloadTooLarge(f"The text is larger than the limit of {limit:,} bytes.")
    try:
        note = TextIn.model_validate_json(bytes(body))
    except ValidationError as error:
        raise RequestValidationError([{**each, "loc": ("body", *each["loc"])} for each in error.errors()]) from error
    _check_metadata(note.metadata)
    writer = stack.enter_context(core.blobs.writer(limit))

    def store() -> Accepted:
        writer.write(note.text.encode("utf-8", "replace"))
        writer.finish()
        return accept(
            core.database,
            core.blobs,
            writer,
            collection=note.collection,
            filename=note.title or "untitled",
            media_type=note.media_type,
            external_id=note.external_id,
            metadata=note.metadata,
        )

    return await run_in_threadpool(store)


def _parse_metadata(text: str | None) -> Mapping[str, Any] | None:
    if not text:
        return None
    try:
        metadata = _METADATA.validate_json(text)
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


def _decode_cursor(cursor: str | None) -> tuple[float, str] | None:
    if cursor is None:
        return None
    match = _CURSOR.fullmatch(cursor)
    if match is None:
        raise InvalidRequest("The cursor is not one of ours.", param="cursor")
    return int(match[1]) / 1e6, match[2]

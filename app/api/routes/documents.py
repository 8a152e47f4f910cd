"""Upload, list, read and delete documents."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import FileResponse, JSONResponse

from app.api.dependencies import ServicesDep
from app.api.errors import NOT_FOUND, ErrorResponse
from app.api.receiving import receive
from app.api.schemas.documents import (
    ChunkOut,
    ChunksOut,
    DocumentOut,
    DocumentsOut,
    DocumentText,
    TextIn,
    UploadedDocument,
    UploadedDocuments,
    UrlIn,
)
from app.api.schemas.search import context_of
from app.api.schemas.wire import CollectionName, Wire
from app.errors import InvalidRequest
from app.store import documents
from app.store.chunks import document_chunks
from app.store.collections import get_collection
from app.store.uploads import remove_unused_blob
from app.types import DocumentStatus

router = APIRouter(tags=["documents"])

_CURSOR = re.compile(r"(\d{1,19})-(doc_[0-9a-f]{32})")


def _schema(model: type[Wire]) -> dict[str, Any]:
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    schema.pop("$defs", None)  # they are among the components, through the responses
    return schema


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
                    "password": {
                        "type": "string",
                        "format": "password",
                        "description": "Opens encrypted PDFs; kept until they were read, and never told again.",
                    },
                },
            }
        },
        "application/json": {"schema": {"oneOf": [_schema(TextIn), _schema(UrlIn)]}},
    },
}

_UPLOAD_ERRORS: dict[int | str, dict[str, Any]] = {
    403: {"model": ErrorResponse, "description": "URLs are not fetched here"},
    404: {"model": ErrorResponse, "description": "There is no such collection, or document"},
    413: {"model": ErrorResponse, "description": "A file is larger than the limit"},
    415: {"model": ErrorResponse, "description": "This kind of file cannot be read"},
    507: {"model": ErrorResponse, "description": "The disk is full"},
}


@router.post(
    "/documents",
    status_code=202,
    response_model=UploadedDocuments,
    responses={
        200: {"model": UploadedDocuments, "description": "All of it was here already"},
        **_UPLOAD_ERRORS,
    },
    openapi_extra={"requestBody": _UPLOAD_BODY},
)
async def upload(request: Request, services: ServicesDep) -> JSONResponse:
    """Accept files (multipart), a text or a URL (JSON): all of a request, or nothing. Ingestion follows by itself."""
    accepted = await receive(request, services)
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
    return download(services.core.blobs.path(document.sha256), document.filename, document.media_type)


def download(path: Path, filename: str, media_type: str) -> FileResponse:
    """A file of somebody's, which no browser may show in place."""
    return FileResponse(
        path,
        media_type=media_type,
        filename=filename,
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
            page_label=stored.chunk.page_label,
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


@router.put(
    "/documents/{document_id}",
    status_code=202,
    response_model=UploadedDocument,
    responses={
        200: {"model": UploadedDocument, "description": "Its newest version is these bytes already"},
        **_UPLOAD_ERRORS,
    },
    openapi_extra={"requestBody": _UPLOAD_BODY},
)
async def replace(document_id: str, request: Request, services: ServicesDep) -> JSONResponse:
    """A new version: a file, a text or a URL. The old one answers until the new one is ready."""
    (accepted,) = await receive(request, services, document_id)
    body = UploadedDocument.of_upload(accepted.document, duplicate=accepted.duplicate)
    return JSONResponse(body.model_dump(mode="json"), status_code=200 if accepted.duplicate else 202)


@router.delete("/documents/{document_id}", status_code=204, response_class=Response, responses=NOT_FOUND)
def delete_document(document_id: str, services: ServicesDep) -> Response:
    """From now on no query returns any of it."""
    core = services.core
    with core.database.write() as connection:
        originals = documents.delete_document(connection, document_id)
    for sha256 in originals:
        remove_unused_blob(core.database, core.blobs, sha256)
    return Response(status_code=204)


def _decode_cursor(cursor: str | None) -> tuple[float, str] | None:
    if cursor is None:
        return None
    match = _CURSOR.fullmatch(cursor)
    if match is None:
        raise InvalidRequest("The cursor is not one of ours.", param="cursor")
    return int(match[1]) / 1e6, match[2]

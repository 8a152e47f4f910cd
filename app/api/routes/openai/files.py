"""Files: uploaded for themselves, then put into vector stores."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import FileResponse
from starlette.concurrency import run_in_threadpool

from app.api.dependencies import ServicesDep
from app.api.errors import NOT_FOUND, ErrorResponse
from app.api.multipart import read_one_file
from app.api.routes.documents import download
from app.api.schemas.openai_files import Deleted, FileOut, ListOut
from app.bootstrap import Core
from app.errors import DocumentNotFound, FileNotFound, UnsupportedMediaType, UnsupportedParameter
from app.media_types import detect
from app.store import files
from app.store.documents import delete_document, get_document
from app.store.paging import PageQuery
from app.store.uploads import remove_unused_blob
from app.types import Document

router = APIRouter()

_PURPOSES = ("assistants", "user_data")  # the others are for what nobody does here: training, batches of requests
_DOCUMENT = "doc_"

_BODY = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["file", "purpose"],
                "properties": {
                    "file": {"type": "string", "format": "binary"},
                    "purpose": {"type": "string", "enum": list(_PURPOSES)},
                },
            }
        }
    },
}
_UPLOAD_ERRORS: dict[int | str, dict[str, Any]] = {
    413: {"model": ErrorResponse, "description": "The file is larger than the limit"},
    415: {"model": ErrorResponse, "description": "The body is not multipart/form-data"},
    507: {"model": ErrorResponse, "description": "The disk is full"},
}


@router.post("/files", responses=_UPLOAD_ERRORS, openapi_extra={"requestBody": _BODY})
async def upload_file(request: Request, services: ServicesDep) -> FileOut:
    """Keep a file. It answers nothing before it is put into a vector store."""
    core = services.core
    with ExitStack() as stack:
        upload, fields = await read_one_file(
            request,
            lambda: core.blobs.writer(core.settings.max_upload_bytes),
            stack,
            wanted="`file` and `purpose`",
            not_one="Send one file, in a field named `file`.",
        )
        purpose = fields.get("purpose")
        if purpose not in _PURPOSES:
            raise UnsupportedParameter(f"`purpose` must be one of {', '.join(_PURPOSES)}.", param="purpose")
        if any(name.startswith("expires_after") for name in fields):
            raise UnsupportedParameter("No file expires by itself here; delete it instead.", param="expires_after")
        try:
            media_type = detect(upload.filename, upload.writer.head)
        except UnsupportedMediaType:  # said where it matters: of the file in a vector store
            media_type = None
        kept = await run_in_threadpool(
            files.keep_file,
            core.database,
            core.blobs,
            upload.writer,
            filename=upload.filename,
            purpose=purpose,
            media_type=media_type,
        )
    return FileOut.of(kept)


@router.get("/files")
def list_files(
    services: ServicesDep,
    purpose: str | None = None,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 10_000,
    order: Literal["asc", "desc"] = "desc",
    after: str | None = None,
) -> ListOut[FileOut]:
    """Those that were uploaded as files, newest first."""
    with services.core.database.read() as connection:
        found, has_more = files.list_files(connection, purpose, PageQuery(limit, order == "desc", after))
    return ListOut[FileOut].of([FileOut.of(file) for file in found], has_more)


@router.get("/files/{file_id}", responses=NOT_FOUND)
def read_file(file_id: str, services: ServicesDep) -> FileOut:
    """A file, or a document that was uploaded without one: a citation may name either."""
    found = _find(services.core, file_id)
    return FileOut.of_document(found) if isinstance(found, Document) else FileOut.of(found)


@router.get("/files/{file_id}/content", response_class=FileResponse, responses=NOT_FOUND)
def read_file_content(file_id: str, services: ServicesDep) -> FileResponse:
    """Its bytes, as they were uploaded."""
    found = _find(services.core, file_id)
    path = services.core.blobs.path(found.sha256)
    return download(path, found.filename, found.media_type or "application/octet-stream")


@router.delete("/files/{file_id}", responses=NOT_FOUND)
def delete_file(file_id: str, services: ServicesDep) -> Deleted:
    """Out of every vector store too: from now on nothing answers from it."""
    core = services.core
    with core.database.write() as connection:
        if file_id.startswith(_DOCUMENT):
            _require_document(connection, file_id)
            digests = delete_document(connection, file_id)
        else:
            digests = files.delete_file(connection, file_id)
    for sha256 in set(digests):
        remove_unused_blob(core.database, core.blobs, sha256)
    return Deleted(id=file_id, object="file")


def _find(core: Core, file_id: str) -> files.File | Document:
    with core.database.read() as connection:
        if file_id.startswith(_DOCUMENT):
            return _require_document(connection, file_id)
        return files.get_file(connection, file_id)


def _require_document(connection: Any, document_id: str) -> Document:
    try:
        return get_document(connection, document_id)
    except DocumentNotFound as error:
        raise FileNotFound(f"There is no file {document_id!r}.") from error

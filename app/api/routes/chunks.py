"""Show how a file would be cut."""

from __future__ import annotations

from contextlib import ExitStack

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool

from app.api.dependencies import ServicesDep
from app.api.errors import ErrorResponse
from app.api.multipart import read_one_file
from app.api.receiving import named_fields, read_collection, revealed
from app.api.schemas.documents import ChunkPreview, PreviewIn
from app.api.streaming import unless_client_leaves
from app.media_types import detect

router = APIRouter(tags=["documents"])

_BODY = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["file"],
                "properties": {"file": {"type": "string", "format": "binary"}}
                | PreviewIn.model_json_schema()["properties"],
            }
        }
    },
}


@router.post(
    "/chunks/preview",
    response_model=ChunkPreview,
    responses={
        404: {"model": ErrorResponse, "description": "There is no such collection"},
        413: {"model": ErrorResponse, "description": "The file is larger than the limit"},
        415: {"model": ErrorResponse, "description": "This kind of file cannot be read"},
    },
    openapi_extra={"requestBody": _BODY},
)
async def preview_chunks(request: Request, services: ServicesDep) -> ChunkPreview:
    """The chunks that a file would become in a collection; nothing is stored. It takes a second or more."""
    core = services.core
    with ExitStack() as stack:
        upload, fields = await read_one_file(
            request,
            lambda: core.blobs.writer(core.settings.max_upload_bytes),
            stack,
            wanted="`file`",
            not_one="A preview is of one file: send it in a field named `file`.",
        )
        with named_fields():
            wanted = PreviewIn.model_validate(fields)
        media_type = detect(upload.filename, upload.writer.head)
        collection = await run_in_threadpool(read_collection, core, wanted.collection)
        embedder = core.embedders.of(collection).wait(0)
        tokens = wanted.chunk_tokens or collection.setting("chunk_tokens", core.settings.chunk_tokens)
        overlap = wanted.chunk_overlap_tokens
        if overlap is None:
            overlap = collection.setting("chunk_overlap_tokens", core.settings.chunk_overlap_tokens)
        found = await unless_client_leaves(
            request,
            services.previewer.preview(
                upload.writer.path,
                filename=upload.filename,
                media_type=media_type,
                count_tokens=embedder.count_tokens,
                chunk_tokens=min(tokens, embedder.max_tokens),
                chunk_overlap_tokens=overlap,
                password=revealed(wanted.password),
            ),
        )
    return ChunkPreview(filename=upload.filename, media_type=media_type, **found)

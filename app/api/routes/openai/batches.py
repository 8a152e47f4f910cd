"""Files that are put into a vector store together."""

from __future__ import annotations

import time
from typing import Annotated

from fastapi import APIRouter, Depends, Response

from app.api.dependencies import ServicesDep
from app.api.errors import NOT_FOUND
from app.api.routes.openai.store_files import shown
from app.api.schemas.openai_files import ListOut, page_query
from app.api.schemas.openai_vector_stores import FileBatchIn, FileBatchOut, StoreFileOut
from app.store import attachments, vector_stores
from app.store.attachments import AttachmentStatus
from app.store.paging import PageQuery
from app.store.uploads import remove_unused_blob
from app.store.vector_stores import collection_of

router = APIRouter(prefix="/vector_stores/{store_id}/file_batches")

_POLL_AFTER_MS = "500"


@router.post("", responses=NOT_FOUND)
def create_batch(store_id: str, body: FileBatchIn, services: ServicesDep) -> FileBatchOut:
    """Put files into a vector store: all of them, or none."""
    now = time.time()
    with services.core.database.write() as connection:
        collection = collection_of(connection, store_id)
        batch_id = vector_stores.create_batch(connection, collection.id, now)
        # In one order, so that two batches with the same files do not wait for each other.
        for each in sorted(body.each(), key=lambda file: file.file_id):
            attachments.attach(
                connection,
                collection.id,
                each.file_id,
                attributes=each.attributes,
                chunking=each.chunking(),
                batch_id=batch_id,
                now=now,
            )
        batch = vector_stores.get_batch(connection, collection.id, batch_id)
    return FileBatchOut.of(batch, store_id)


@router.get("/{batch_id}", responses=NOT_FOUND)
def read_batch(store_id: str, batch_id: str, services: ServicesDep, response: Response) -> FileBatchOut:
    """How far its files have come."""
    with services.core.database.read() as connection:
        collection = collection_of(connection, store_id)
        batch = vector_stores.get_batch(connection, collection.id, batch_id)
    response.headers["openai-poll-after-ms"] = _POLL_AFTER_MS
    return FileBatchOut.of(batch, store_id)


@router.post("/{batch_id}/cancel", responses=NOT_FOUND)
def cancel_batch(store_id: str, batch_id: str, services: ServicesDep) -> FileBatchOut:
    """Take out of the vector store what is not ready yet."""
    core = services.core
    with core.database.write() as connection:
        collection = collection_of(connection, store_id)
        digests = vector_stores.cancel_batch(connection, collection.id, batch_id)
        batch = vector_stores.get_batch(connection, collection.id, batch_id)
    for sha256 in set(digests):
        remove_unused_blob(core.database, core.blobs, sha256)
    return FileBatchOut.of(batch, store_id)


@router.get("/{batch_id}/files", responses=NOT_FOUND)
def list_batch_files(
    store_id: str,
    batch_id: str,
    services: ServicesDep,
    page: Annotated[PageQuery, Depends(page_query)],
    filter: AttachmentStatus | None = None,
) -> ListOut[StoreFileOut]:
    """Its files."""
    with services.core.database.read() as connection:
        collection = collection_of(connection, store_id)
        vector_stores.get_batch(connection, collection.id, batch_id)
        found, has_more = attachments.list_attachments(
            connection, collection.id, batch_id=batch_id, status=filter, page=page
        )
    return ListOut[StoreFileOut].of([shown(each, collection, services) for each in found], has_more)

"""The files of a vector store."""

from __future__ import annotations

import time
from typing import Annotated

from fastapi import APIRouter, Depends, Response

from app.api.dependencies import Services, ServicesDep
from app.api.errors import NOT_FOUND
from app.api.schemas.openai_files import Deleted, ListOut, page_query
from app.api.schemas.openai_vector_stores import (
    AttributesIn,
    ContentPart,
    FileContentOut,
    StoreFileIn,
    StoreFileOut,
    default_chunking,
)
from app.errors import FileNotFound, VersionNotReady
from app.store import attachments, vector_stores
from app.store.attachments import Attachment, AttachmentStatus
from app.store.documents import live_text
from app.store.paging import PageQuery
from app.store.uploads import remove_unused_blob
from app.store.vector_stores import collection_of
from app.types import Collection

router = APIRouter(prefix="/vector_stores/{store_id}/files")

_POLL_AFTER_MS = "250"  # OpenAI's clients ask again after this long


@router.post("", responses=NOT_FOUND)
def attach_file(store_id: str, body: StoreFileIn, services: ServicesDep, response: Response) -> StoreFileOut:
    """Put a file into a vector store; it answers from it once its status is `completed`."""
    chunking = body.chunking()
    with services.core.database.write() as connection:
        collection = collection_of(connection, store_id)
        attachments.attach(
            connection,
            collection.id,
            body.file_id,
            attributes=body.attributes,
            chunking=chunking,
            now=time.time(),
        )
        found = attachments.get_attachment(connection, collection.id, body.file_id)
    return shown(found, collection, services, response)


@router.get("", responses=NOT_FOUND)
def list_store_files(
    store_id: str,
    services: ServicesDep,
    page: Annotated[PageQuery, Depends(page_query)],
    filter: AttachmentStatus | None = None,
) -> ListOut[StoreFileOut]:
    """What is in a vector store, documents that were uploaded without a file too."""
    with services.core.database.read() as connection:
        collection = collection_of(connection, store_id)
        found, has_more = attachments.list_attachments(connection, collection.id, status=filter, page=page)
    return ListOut[StoreFileOut].of([shown(each, collection, services) for each in found], has_more)


@router.get("/{file_id}", responses=NOT_FOUND)
def read_store_file(store_id: str, file_id: str, services: ServicesDep, response: Response) -> StoreFileOut:
    """How far it has come, and why it failed if it did."""
    with services.core.database.read() as connection:
        collection = collection_of(connection, store_id)
        found = attachments.get_attachment(connection, collection.id, file_id)
    return shown(found, collection, services, response)


@router.post("/{file_id}", responses=NOT_FOUND)
def change_store_file(store_id: str, file_id: str, body: AttributesIn, services: ServicesDep) -> StoreFileOut:
    """Replace its attributes."""
    with services.core.database.write() as connection:
        collection = collection_of(connection, store_id)
        attachments.set_attributes(connection, collection.id, file_id, body.attributes or {}, time.time())
        found = attachments.get_attachment(connection, collection.id, file_id)
    return shown(found, collection, services)


@router.delete("/{file_id}", responses=NOT_FOUND)
def detach_file(store_id: str, file_id: str, services: ServicesDep) -> Deleted:
    """Out of the vector store: from now on it answers nothing there. The file itself stays."""
    core = services.core
    with core.database.write() as connection:
        collection = collection_of(connection, store_id)
        digests = attachments.detach(connection, collection.id, file_id)
    for sha256 in set(digests):
        remove_unused_blob(core.database, core.blobs, sha256)
    return Deleted(id=file_id, object="vector_store.file.deleted")


@router.get("/{file_id}/content", responses=NOT_FOUND)
def read_store_file_content(store_id: str, file_id: str, services: ServicesDep) -> FileContentOut:
    """The text that was read from it."""
    with services.core.database.read() as connection:
        collection = collection_of(connection, store_id)
        found = attachments.get_attachment(connection, collection.id, file_id)
        if found.document is None:
            raise FileNotFound(f"The batch of {file_id!r} was cancelled: there is no text of it.")
        try:
            _, text = live_text(connection, found.document.id)
        except VersionNotReady as error:
            raise VersionNotReady(f"The file {file_id!r} has not been read yet.") from error
    return FileContentOut(data=[ContentPart(text=text)])


def shown(
    attachment: Attachment, collection: Collection, services: Services, response: Response | None = None
) -> StoreFileOut:
    """A file of a vector store; to who waits for it, with when to ask again."""
    settings = services.core.settings
    default = default_chunking(collection, settings.chunk_tokens, settings.chunk_overlap_tokens)
    if response is not None and attachment.status is AttachmentStatus.IN_PROGRESS:
        response.headers["openai-poll-after-ms"] = _POLL_AFTER_MS
    return StoreFileOut.of(attachment, vector_stores.store_id(collection), default)

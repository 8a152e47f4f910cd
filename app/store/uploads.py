"""From a finished temporary blob to an accepted document, and the way back: blobs that nothing names are removed."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.failpoints import failpoint
from app.store import documents, jobs
from app.store.blobs import BlobStore, BlobWriter
from app.store.collections import get_collection
from app.store.database import Database
from app.types import Document, DocumentStatus

logger = logging.getLogger(__name__)

_ABANDONED_AFTER_SECONDS = 24 * 3600.0  # no upload takes longer


@dataclass(frozen=True, slots=True)
class Accepted:
    """What became of an upload. `duplicate`: the collection has these bytes already, under this document."""

    document: Document
    duplicate: bool


def accept(
    database: Database,
    blobs: BlobStore,
    writer: BlobWriter,
    *,
    collection: str,
    filename: str,
    media_type: str,
    external_id: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    source_url: str | None = None,
    document_id: str | None = None,
    password: str | None = None,
) -> Accepted:
    """One transaction for blob, document and job: when this returns, the upload is never lost.

    The same bytes in the same collection are one document; if that failed, it is tried again. An `external_id` that is
    known gets a new version, and so does the document of a `document_id`, in whichever collection it is. A `source_url`
    is kept in the metadata, unless they have one; a `password` that opens the file, until it was read. Raises
    `CollectionNotFound`, `DocumentNotFound`, `StorageFull`.
    """
    now = time.time()
    external_id = external_id or None  # an empty one names nothing, however often it is sent
    content = documents.NewVersion(filename, media_type, writer.bytes, writer.sha256)
    with database.write() as connection:
        database.lock_blobs(connection)
        known: Document | None = None
        if document_id is not None:
            known = documents.get_document(connection, document_id)
            collection_id = known.collection_id
        else:
            collection_id = get_collection(connection, collection).id
            if external_id:
                known = documents.find_by_external_id(connection, collection_id, external_id)
        same = known or documents.find_by_content(connection, collection_id, writer.sha256)
        if same and same.sha256 == writer.sha256:
            blobs.keep(writer)  # in case that the one in place was lost or damaged: these bytes are the right ones
            if same.status is DocumentStatus.FAILED:
                jobs.revive(connection, same.id, same.version, now, password=password)
            elif password is not None:
                jobs.set_password(connection, same.id, same.version, password)
            return Accepted(documents.get_document(connection, same.id), duplicate=True)
        if source_url is not None and (metadata is not None or not known):
            metadata = {"source_url": source_url} | dict(metadata or {})
        if known:
            document_id, version = known.id, documents.insert_version(connection, known.id, content, now)
            if metadata is not None:
                documents.set_metadata(connection, collection_id, document_id, metadata, now)
        else:
            document_id, version = (
                documents.insert_document(
                    connection, collection_id, content, external_id=external_id, metadata=metadata or {}, now=now
                ),
                1,
            )
        blobs.keep(writer)
        jobs.enqueue(connection, document_id, version, now, password=password)
        accepted = Accepted(documents.get_document(connection, document_id), duplicate=False)
        failpoint("upload.before_commit")
    failpoint("upload.committed")
    return accepted


def remove_unused_blob(database: Database, blobs: BlobStore, sha256: str) -> bool:
    """Remove the original of a deleted document, unless another one has the same bytes; whether it was removed.

    In a transaction of its own that shuts out uploads: one that has just found the blob in place must keep it.
    """
    failpoint("blob.unused")
    with database.write() as connection:
        database.lock_blobs(connection)
        removed = not documents.is_blob_used(connection, sha256) and blobs.remove(sha256)
        if removed:
            failpoint("blob.removed")
    return removed


def sweep_blobs(database: Database, blobs: BlobStore) -> None:
    """Remove what a crash left behind: blobs without a document, uploads that never ended."""
    for sha256 in blobs.stored():
        with database.read() as connection:
            used = documents.is_blob_used(connection, sha256)
        if not used and remove_unused_blob(database, blobs, sha256):
            logger.info("removed the unused blob %s", sha256[:12])
    abandoned = blobs.remove_abandoned(time.time() - _ABANDONED_AFTER_SECONDS)
    if abandoned:
        logger.info("removed %d abandoned uploads", abandoned)

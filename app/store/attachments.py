"""Files in collections: each is a document there, with the file's bytes, and attributes and chunks of its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    case,
    delete,
    func,
    insert,
    literal,
    select,
    union_all,
    update,
)

from app.errors import FileNotFound, UnsupportedMediaType
from app.failpoints import failpoint
from app.store import jobs
from app.store.documents import (
    NewVersion,
    delete_document,
    fail_document,
    get_document,
    get_documents,
    insert_document,
    set_metadata,
)
from app.store.files import lock_file
from app.store.paging import PageQuery, read_page
from app.store.tables import attachments, documents, metadata_values, versions
from app.types import Document, DocumentStatus

_ANY_BYTES = "application/octet-stream"


class AttachmentStatus(StrEnum):
    """How far a file has come in a collection, in OpenAI's words."""

    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Chunking:
    """The size of a file's chunks, in tokens of the embedder."""

    tokens: int
    overlap_tokens: int


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file in a collection. A document that was uploaded without one is its own file: its id is the document's."""

    id: str
    status: AttachmentStatus
    document: Document | None  # None: its batch was cancelled
    chunking: Chunking | None  # None: as the collection does it
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Totals:
    """What a collection or a batch holds."""

    counts: Mapping[AttachmentStatus, int]
    bytes: int


def attach(
    connection: Connection,
    collection_id: str,
    file_id: str,
    *,
    attributes: Mapping[str, Any] | None,
    chunking: Chunking | None,
    batch_id: str | None = None,
    now: float,
) -> None:
    """Make a document of a file, and a job for it. Raises `FileNotFound`.

    A file that is there already is tried again if it failed; it takes attributes that are given, and with other chunks
    it is read anew. One of a kind that cannot be read fails at once, in its place among the others.
    """
    file = lock_file(connection, file_id)
    place = _place(collection_id, file_id)
    known = connection.execute(select(attachments).where(place)).one_or_none()
    if known is not None:
        is_same = chunking is None or chunking == _chunking(known)
        if known.document_id is not None and is_same:
            _attach_again(connection, collection_id, known.document_id, attributes, now)
            if batch_id is not None:
                connection.execute(update(attachments).where(place).values(batch_id=batch_id))
            return
        detach(connection, collection_id, file_id)
    document_id = insert_document(
        connection,
        collection_id,
        NewVersion(file.filename, file.media_type or _ANY_BYTES, file.bytes, file.sha256),
        external_id=None,
        metadata=attributes or {},
        now=now,
    )
    failpoint("attachment.document_made")
    connection.execute(
        insert(attachments).values(
            collection_id=collection_id,
            file_id=file_id,
            document_id=document_id,
            batch_id=batch_id,
            chunk_tokens=chunking and chunking.tokens,
            chunk_overlap_tokens=chunking and chunking.overlap_tokens,
            created_at=round(now, 6),
        )
    )
    if file.media_type is None:
        refusal = UnsupportedMediaType()
        fail_document(connection, document_id, refusal.code, refusal.message, now)
    else:
        jobs.enqueue(connection, document_id, 1, now)
    failpoint("attachment.made")


def detach(connection: Connection, collection_id: str, file_id: str) -> list[str]:
    """Out of the collection; returns the digests that may be unused now. Raises `FileNotFound`.

    The file itself stays. A document without one goes for good.
    """
    found = get_attachment(connection, collection_id, file_id)
    digests = delete_document(connection, found.document.id) if found.document is not None else []
    connection.execute(delete(attachments).where(_place(collection_id, file_id)))
    failpoint("attachment.removed")
    return digests


def set_attributes(
    connection: Connection, collection_id: str, file_id: str, attributes: Mapping[str, Any], now: float
) -> None:
    """Replace a file's attributes in a collection. Raises `FileNotFound`."""
    found = get_attachment(connection, collection_id, file_id)
    if found.document is not None:
        set_metadata(connection, collection_id, found.document.id, attributes, now)


def get_attachment(connection: Connection, collection_id: str, file_id: str) -> Attachment:
    """Raises `FileNotFound`."""
    place = _place(collection_id, file_id)
    document_id = connection.scalar(select(attachments.c.document_id).where(place)) or file_id
    entries = _entries((documents.c.id == document_id) & (documents.c.collection_id == collection_id), place).subquery()
    row = connection.execute(select(entries).where(entries.c.id == file_id)).one_or_none()
    if row is None:
        raise FileNotFound(f"There is no file {file_id!r} in this vector store.")
    return _attachments(connection, [row])[0]


def list_attachments(
    connection: Connection,
    collection_id: str,
    *,
    batch_id: str | None = None,
    status: AttachmentStatus | None = None,
    page: PageQuery,
) -> tuple[list[Attachment], bool]:
    """A page of a collection's files, or of a batch's, and whether more follow."""
    entries = (_of_collections([collection_id]) if batch_id is None else _of_batch(collection_id, batch_id)).subquery()
    query = select(entries)
    if status is not None:
        query = query.where(entries.c.status == status)
    rows, has_more = read_page(connection, query, page)
    return _attachments(connection, rows), has_more


def totals_of_collections(connection: Connection, collection_ids: Sequence[str]) -> dict[str, Totals]:
    """What each of them holds."""
    return _totals(connection, _of_collections(collection_ids), "collection_id", collection_ids)


def totals_of_batch(connection: Connection, collection_id: str, batch_id: str) -> Totals:
    """What a batch of a collection holds."""
    return _totals(connection, _of_batch(collection_id, batch_id), "batch_id", [batch_id])[batch_id]


def file_ids(connection: Connection, document_ids: Iterable[str]) -> dict[str, str]:
    """The file of each document that has one."""
    query = select(attachments.c.document_id, attachments.c.file_id).where(
        attachments.c.document_id.in_(set(document_ids))
    )
    return {row.document_id: row.file_id for row in connection.execute(query)}


def chunking_of(connection: Connection, document_ids: Iterable[str]) -> dict[str, Chunking]:
    """Of the documents whose file was attached with one of its own."""
    query = select(attachments).where(
        attachments.c.document_id.in_(set(document_ids)), attachments.c.chunk_tokens.is_not(None)
    )
    found = {row.document_id: _chunking(row) for row in connection.execute(query)}
    return {document_id: chunking for document_id, chunking in found.items() if chunking is not None}


def attribute_keys(connection: Connection, collection_id: str) -> set[str]:
    """The attributes that any file of the collection has."""
    query = select(metadata_values.c.key).where(metadata_values.c.collection_id == collection_id).distinct()
    return set(connection.scalars(query))


def cancel_unfinished(connection: Connection, collection_id: str, batch_id: str) -> list[str]:
    """Take what is not ready yet out of the collection; returns the digests that may be unused now."""
    finished = (DocumentStatus.READY, DocumentStatus.FAILED)
    query = (
        select(documents.c.id)
        .join(attachments, attachments.c.document_id == documents.c.id)
        .where(attachments.c.collection_id == collection_id, attachments.c.batch_id == batch_id)
        .where(documents.c.status.not_in(finished))
        .order_by(documents.c.id)
        .with_for_update(of=documents)
    )
    unfinished = connection.scalars(query).all()
    connection.execute(update(attachments).where(attachments.c.document_id.in_(unfinished)).values(document_id=None))
    return [digest for document_id in unfinished for digest in delete_document(connection, document_id)]


def _attach_again(
    connection: Connection, collection_id: str, document_id: str, attributes: Mapping[str, Any] | None, now: float
) -> None:
    if attributes is not None:
        set_metadata(connection, collection_id, document_id, attributes, now)
    document = get_document(connection, document_id)
    if document.status is DocumentStatus.FAILED:
        jobs.revive(connection, document_id, document.version, now)


def _place(collection_id: str, file_id: str) -> ColumnElement[bool]:
    return (attachments.c.collection_id == collection_id) & (attachments.c.file_id == file_id)


def _of_collections(collection_ids: Sequence[str]) -> Select[Any]:
    return _entries(documents.c.collection_id.in_(collection_ids), attachments.c.collection_id.in_(collection_ids))


def _of_batch(collection_id: str, batch_id: str) -> Select[Any]:
    of_batch = (attachments.c.collection_id == collection_id) & (attachments.c.batch_id == batch_id)
    return _entries(of_batch, of_batch)


def _entries(of_documents: ColumnElement[bool], of_cancelled: ColumnElement[bool]) -> Select[Any]:
    """One row a file: those that are documents, documents without a file, and those that were cancelled."""
    status = case(
        (documents.c.status == DocumentStatus.READY, AttachmentStatus.COMPLETED.value),
        (documents.c.status == DocumentStatus.FAILED, AttachmentStatus.FAILED.value),
        else_=AttachmentStatus.IN_PROGRESS.value,
    )
    present = (
        select(
            func.coalesce(attachments.c.file_id, documents.c.id).label("id"),
            documents.c.collection_id.label("collection_id"),
            documents.c.id.label("document_id"),
            attachments.c.batch_id,
            attachments.c.chunk_tokens,
            attachments.c.chunk_overlap_tokens,
            func.coalesce(attachments.c.created_at, documents.c.created_at).label("created_at"),
            status.label("status"),
            versions.c.bytes.label("bytes"),
        )
        .select_from(documents)
        .join(versions, (versions.c.document_id == documents.c.id) & (versions.c.version == documents.c.version))
        .outerjoin(attachments, attachments.c.document_id == documents.c.id)
        .where(of_documents)
    )
    cancelled = select(
        attachments.c.file_id,
        attachments.c.collection_id,
        attachments.c.document_id,
        attachments.c.batch_id,
        attachments.c.chunk_tokens,
        attachments.c.chunk_overlap_tokens,
        attachments.c.created_at,
        literal(AttachmentStatus.CANCELLED.value),
        literal(0),
    ).where(of_cancelled, attachments.c.document_id.is_(None))
    return select(union_all(present, cancelled).subquery())


def _totals(connection: Connection, query: Select[Any], column: str, keys: Sequence[str]) -> dict[str, Totals]:
    entries = query.subquery()
    key = entries.c[column]
    summed = select(key.label("key"), entries.c.status, func.count().label("files"), func.sum(entries.c.bytes))
    rows = connection.execute(summed.where(key.in_(keys)).group_by(key, entries.c.status)).all()
    return {
        each: Totals(
            {AttachmentStatus(row.status): row.files for row in rows if row.key == each},
            sum(int(row[3] or 0) for row in rows if row.key == each),
        )
        for each in keys
    }


def _attachments(connection: Connection, rows: Sequence[Row[Any]]) -> list[Attachment]:
    found = get_documents(connection, [row.document_id for row in rows if row.document_id is not None])
    return [
        Attachment(
            id=row.id,
            status=AttachmentStatus(row.status),
            document=found.get(row.document_id),
            chunking=_chunking(row),
            created_at=datetime.fromtimestamp(row.created_at, UTC),
        )
        for row in rows
    ]


def _chunking(row: Row[Any]) -> Chunking | None:
    return None if row.chunk_tokens is None else Chunking(row.chunk_tokens, row.chunk_overlap_tokens)

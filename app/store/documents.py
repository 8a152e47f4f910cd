"""Documents and their versions."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    bindparam,
    delete,
    func,
    insert,
    select,
    true,
    tuple_,
    update,
)

from app.errors import DocumentNotFound, VersionNotFound, VersionNotReady
from app.failpoints import failpoint
from app.store import deletions
from app.store.collections import advance_sequence, get_collection_by_id
from app.store.tables import collections, documents, files, jobs, metadata_values, removals, versions
from app.types import Document, DocumentStatus

KEEP_VERSIONS = 3  # earlier ones of a document, unless its collection says otherwise


@dataclass(frozen=True, slots=True)
class NewVersion:
    """What an upload brings: the blob is named by its SHA-256."""

    filename: str
    media_type: str
    bytes: int
    sha256: str


def insert_document(
    connection: Connection,
    collection_id: str,
    content: NewVersion,
    *,
    external_id: str | None,
    metadata: Mapping[str, Any],
    now: float,
) -> str:
    """A new document with its first version; returns its id."""
    now = round(now, 6)  # a page's cursor carries it in microseconds
    document_id = f"doc_{uuid.uuid4().hex}"
    connection.execute(
        insert(documents).values(
            id=document_id,
            collection_id=collection_id,
            external_id=external_id,
            version=1,
            status=DocumentStatus.QUEUED,
            metadata=dict(metadata),
            created_at=now,
            updated_at=now,
        )
    )
    _insert_version(connection, document_id, 1, content, now)
    _insert_metadata_values(connection, collection_id, document_id, metadata)
    return document_id


def insert_version(connection: Connection, document_id: str, content: NewVersion, now: float) -> int:
    """The next version of a document; the live one goes on serving until this one is made live."""
    statement = (
        update(documents)
        .where(documents.c.id == document_id)
        .values(
            version=documents.c.version + 1,
            status=DocumentStatus.QUEUED,
            stage_done=0,
            stage_total=0,
            error_code=None,
            error_message=None,
            updated_at=now,
        )
        .returning(documents.c.version)
    )
    version = connection.scalar(statement)
    if version is None:
        raise DocumentNotFound
    _drop_superseded(connection, document_id)
    _insert_version(connection, document_id, version, content, now)
    return int(version)


def set_metadata(
    connection: Connection, collection_id: str, document_id: str, metadata: Mapping[str, Any], now: float
) -> None:
    """Replace a document's metadata and what filters look at. What a filter finds changes, so the sequence grows."""
    sequence = advance_sequence(connection, collection_id)
    statement = update(documents).where(documents.c.id == document_id)
    connection.execute(statement.values(metadata=dict(metadata), sequence=sequence, updated_at=now))
    connection.execute(delete(metadata_values).where(metadata_values.c.document_id == document_id))
    _insert_metadata_values(connection, collection_id, document_id, metadata)


def flatten(metadata: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str | float | bool]]:
    """Objects become dotted keys, lists one entry an element; nulls are left out."""
    pairs: list[tuple[str, str | float | bool]] = []
    for key, value in metadata.items():
        if isinstance(value, Mapping):
            pairs += flatten(value, f"{prefix}{key}.")
        else:
            values = value if isinstance(value, list) else [value]
            pairs += [(prefix + key, each) for each in values if each is not None]
    return pairs


def typed_value(value: str | float | bool) -> dict[str, str | float | bool | None]:
    """The value in the column of its type, the others null."""
    columns: dict[str, str | float | bool | None] = {"text": None, "number": None, "boolean": None}
    if isinstance(value, bool):
        columns["boolean"] = value
    elif isinstance(value, str):
        columns["text"] = value
    else:
        columns["number"] = float(value)
    return columns


def get_document(connection: Connection, document_id: str) -> Document:
    """Raises `DocumentNotFound`."""
    row = connection.execute(_select_documents().where(documents.c.id == document_id)).one_or_none()
    if row is None:
        raise DocumentNotFound(f"There is no document {document_id!r}.")
    return _document(row)


def get_documents(connection: Connection, document_ids: Sequence[str]) -> dict[str, Document]:
    """Those of the documents that are still there, by id."""
    query = _select_documents().where(documents.c.id.in_(document_ids))
    return {row.id: _document(row) for row in connection.execute(query)}


def find_by_content(connection: Connection, collection_id: str, sha256: str) -> Document | None:
    """The document of the collection whose newest version has these bytes."""
    query = _select_documents().where(documents.c.collection_id == collection_id, versions.c.sha256 == sha256)
    # Not in the order of SQL: for that, SQLite would go through the whole collection instead of the index by digest.
    rows = connection.execute(query).all()
    return _document(min(rows, key=lambda row: row.created_at)) if rows else None


def find_by_external_id(connection: Connection, collection_id: str, external_id: str) -> Document | None:
    """The document that the client knows under a name of its own."""
    query = _select_documents().where(
        documents.c.collection_id == collection_id, documents.c.external_id == external_id
    )
    row = connection.execute(query).one_or_none()
    return None if row is None else _document(row)


def list_documents(
    connection: Connection,
    *,
    collection_id: str | None,
    status: DocumentStatus | None,
    limit: int,
    after: tuple[float, str] | None,
) -> list[Document]:
    """Newest first. `after`: creation time and id of the last document of the page before."""
    query = _select_documents().order_by(documents.c.created_at.desc(), documents.c.id.desc()).limit(limit)
    if collection_id is not None:
        query = query.where(documents.c.collection_id == collection_id)
    if status is not None:
        query = query.where(documents.c.status == status)
    if after is not None:
        query = query.where(tuple_(documents.c.created_at, documents.c.id) < tuple_(*after))
    return [_document(row) for row in connection.execute(query)]


def changed_since(connection: Connection, collection_id: str, since: float) -> list[Document]:
    """What has come or gone on after a time, the earliest first."""
    query = _select_documents().where(documents.c.collection_id == collection_id, documents.c.updated_at > since)
    return [_document(row) for row in connection.execute(query.order_by(documents.c.updated_at, documents.c.id))]


def count_by_status(connection: Connection) -> dict[DocumentStatus, int]:
    """For the metrics."""
    query = select(documents.c.status, func.count()).group_by(documents.c.status)
    return {DocumentStatus(row[0]): row[1] for row in connection.execute(query)}


def set_stage(
    connection: Connection, status: DocumentStatus, progress: Sequence[tuple[str, int, int]], now: float
) -> None:
    """Tell how far newest versions have come: document id, done, total of each."""
    statement = update(documents).where(documents.c.id == bindparam("document"))
    connection.execute(
        statement.values(status=status, stage_done=bindparam("done"), stage_total=bindparam("total"), updated_at=now),
        [{"document": document_id, "done": done, "total": total} for document_id, done, total in progress],
    )


def begin_parsing(connection: Connection, document_ids: Sequence[str], now: float) -> None:
    """A worker has taken them up."""
    statement = update(documents).where(documents.c.id.in_(document_ids))
    connection.execute(statement.values(status=DocumentStatus.PARSING, stage_done=0, stage_total=1, updated_at=now))


def fail_document(connection: Connection, document_id: str, code: str, message: str, now: float) -> None:
    """The newest version will not become ready; an older live one goes on answering."""
    statement = update(documents).where(documents.c.id == document_id)
    connection.execute(
        statement.values(status=DocumentStatus.FAILED, error_code=code, error_message=message, updated_at=now)
    )


def requeue_document(connection: Connection, document_id: str, now: float) -> None:
    """Back to the start, without the error of the last time."""
    statement = update(documents).where(documents.c.id == document_id)
    connection.execute(
        statement.values(
            status=DocumentStatus.QUEUED,
            stage_done=0,
            stage_total=0,
            error_code=None,
            error_message=None,
            updated_at=now,
        )
    )


def make_live(connection: Connection, ready: Sequence[Document], now: float) -> None:
    """From the commit on, their newest versions answer, and the ones before do not: in one transaction."""
    for collection_id in {document.collection_id for document in ready}:
        statement = update(documents).where(
            documents.c.id.in_([document.id for document in ready if document.collection_id == collection_id])
        )
        connection.execute(
            statement.values(
                live_version=documents.c.version,
                sequence=advance_sequence(connection, collection_id),
                status=DocumentStatus.READY,
                stage_done=documents.c.stage_total,
                error_code=None,
                error_message=None,
                updated_at=now,
            )
        )
    for document in ready:
        if document.live_version not in (None, document.version):
            _retire(connection, document)


def delete_document(connection: Connection, document_id: str) -> list[str]:
    """With all versions, chunks and jobs; returns the digests of its originals. Raises `DocumentNotFound`."""
    row = connection.execute(
        select(documents.c.collection_id).where(documents.c.id == document_id).with_for_update()
    ).one_or_none()
    if row is None:
        raise DocumentNotFound(f"There is no document {document_id!r}.")
    originals = connection.scalars(select(versions.c.sha256).where(versions.c.document_id == document_id)).all()
    _delete_versions(connection, row.collection_id, document_id, true())
    connection.execute(delete(documents).where(documents.c.id == document_id))
    deletions.remember(connection, row.collection_id, document_id)
    failpoint("delete.before_commit")
    return list(originals)


def live_ranges(
    connection: Connection, collection_id: str, conditions: Sequence[ColumnElement[bool]] = (), *, after: int = -1
) -> list[tuple[int, int]]:
    """`(first chunk, count)` of every live version, of the documents that meet `conditions`.

    Only of those that changed after a sequence number, in themselves or in their metadata, where one is given.
    """
    if after >= 0:
        conditions = [*conditions, documents.c.sequence > after]
    query = (
        select(versions.c.first_chunk, versions.c.chunk_count)
        .join(
            documents,
            (documents.c.id == versions.c.document_id) & (documents.c.live_version == versions.c.version),
        )
        .where(documents.c.collection_id == collection_id, versions.c.chunk_count > 0, *conditions)
    )
    return [(row[0], row[1]) for row in connection.execute(query)]


def version_text(connection: Connection, document_id: str, version: int) -> str:
    """The text of a version that answers, or that is kept. Raises `VersionNotFound`."""
    query = select(versions.c.text).where(versions.c.document_id == document_id, versions.c.version == version)
    found = connection.scalar(query)
    if found is None:
        raise VersionNotFound(f"Document {document_id!r} has no version {version} with a text.")
    return str(found)


def live_text(connection: Connection, document_id: str) -> tuple[int, str]:
    """The live version and its text. Raises `DocumentNotFound`, `VersionNotReady`."""
    row = connection.execute(
        select(documents.c.live_version, versions.c.text)
        .outerjoin(
            versions,
            (documents.c.id == versions.c.document_id) & (documents.c.live_version == versions.c.version),
        )
        .where(documents.c.id == document_id)
    ).one_or_none()
    if row is None:
        raise DocumentNotFound(f"There is no document {document_id!r}.")
    if row.live_version is None:
        raise VersionNotReady
    return row.live_version, row.text


def is_blob_used(connection: Connection, sha256: str) -> bool:
    """Whether any version, of any collection, or any file has these bytes."""
    uses = (select(table.c.sha256).where(table.c.sha256 == sha256).limit(1) for table in (versions, files))
    return any(connection.scalar(use) is not None for use in uses)


def _insert_metadata_values(
    connection: Connection, collection_id: str, document_id: str, metadata: Mapping[str, Any]
) -> None:
    rows = [
        {"collection_id": collection_id, "document_id": document_id, "key": key, **typed_value(value)}
        for key, value in flatten(metadata)
    ]
    if rows:
        connection.execute(insert(metadata_values), rows)


def _insert_version(connection: Connection, document_id: str, version: int, content: NewVersion, now: float) -> None:
    connection.execute(
        insert(versions).values(
            document_id=document_id,
            version=version,
            filename=content.filename,
            media_type=content.media_type,
            bytes=content.bytes,
            sha256=content.sha256,
            created_at=now,
        )
    )


def _drop_superseded(connection: Connection, document_id: str) -> None:
    """Versions that never became live, and never will: a newer one is here. Their jobs lose their lease."""
    row = connection.execute(
        select(documents.c.collection_id, documents.c.live_version).where(documents.c.id == document_id)
    ).one()
    superseded = true() if row.live_version is None else versions.c.version != row.live_version
    _delete_versions(connection, row.collection_id, document_id, superseded & versions.c.is_retired.is_(False))
    connection.execute(delete(jobs).where(jobs.c.document_id == document_id))


def _retire(connection: Connection, document: Document) -> None:
    """The version that answered until now is kept, behind the others that are; the oldest goes."""
    keep = get_collection_by_id(connection, document.collection_id).setting("keep_versions", KEEP_VERSIONS)
    before = (versions.c.document_id == document.id) & (versions.c.version == document.live_version)
    _remove_from_index(connection, document.collection_id, before)
    connection.execute(update(versions).where(before).values(is_retired=True))
    kept = (
        select(versions.c.version)
        .where(versions.c.document_id == document.id, versions.c.is_retired)
        .order_by(versions.c.version.desc())
        .offset(keep)
    )
    too_old = connection.scalars(kept).all()
    _delete_versions(connection, document.collection_id, document.id, versions.c.version.in_(too_old))


def _delete_versions(
    connection: Connection, collection_id: str, document_id: str, condition: ColumnElement[bool]
) -> None:
    """With their chunks."""
    doomed = (versions.c.document_id == document_id) & condition
    _remove_from_index(connection, collection_id, doomed)
    connection.execute(delete(versions).where(doomed))


def _remove_from_index(connection: Connection, collection_id: str, condition: ColumnElement[bool]) -> None:
    """The index learns of it through `removals`."""
    chunked = select(versions.c.first_chunk).where(
        condition, versions.c.first_chunk.is_not(None), versions.c.is_retired.is_(False)
    )
    for first_chunk in connection.scalars(chunked).all():
        sequence = advance_sequence(connection, collection_id)
        connection.execute(
            insert(removals).values(collection_id=collection_id, sequence=sequence, first_chunk=first_chunk)
        )


def _select_documents() -> Select[Any]:
    return (
        select(
            documents,
            collections.c.name.label("collection"),
            versions.c.filename,
            versions.c.media_type,
            versions.c.bytes,
            versions.c.sha256,
            versions.c.pages,
            versions.c.chunk_count,
            versions.c.warnings,
        )
        .join(collections, collections.c.id == documents.c.collection_id)
        .join(versions, (versions.c.document_id == documents.c.id) & (versions.c.version == documents.c.version))
    )


def _document(row: Row[Any]) -> Document:
    return Document(
        id=row.id,
        collection_id=row.collection_id,
        collection=row.collection,
        external_id=row.external_id,
        filename=row.filename,
        media_type=row.media_type,
        bytes=row.bytes,
        sha256=row.sha256,
        version=row.version,
        live_version=row.live_version,
        status=DocumentStatus(row.status),
        stage_done=row.stage_done,
        stage_total=row.stage_total,
        error_code=row.error_code,
        error_message=row.error_message,
        pages=row.pages,
        chunks=row.chunk_count,
        metadata=row.metadata,
        warnings=tuple(row.warnings or ()),
        created_at=datetime.fromtimestamp(row.created_at, UTC),
        updated_at=datetime.fromtimestamp(row.updated_at, UTC),
    )

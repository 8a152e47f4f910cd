"""The versions of a document: which there are, and the way back to one of them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Select, Table, insert, literal, select, update

from app.errors import Conflict, VersionNotFound
from app.store import jobs
from app.store.collections import advance_sequence
from app.store.documents import NewVersion, get_document, insert_version
from app.store.near_copies import store_bands
from app.store.tables import chunks, embeddings, versions
from app.types import Version


def list_versions(connection: Connection, document_id: str) -> list[Version]:
    """Newest first. Raises `DocumentNotFound`."""
    live = get_document(connection, document_id).live_version
    query = select(versions).where(versions.c.document_id == document_id).order_by(versions.c.version.desc())
    return [
        Version(
            number=row.version,
            filename=row.filename,
            media_type=row.media_type,
            bytes=row.bytes,
            sha256=row.sha256,
            pages=row.pages,
            chunks=row.chunk_count,
            kept_embeddings=row.kept_embeddings,
            created_at=datetime.fromtimestamp(row.created_at, UTC),
            is_live=row.version == live,
        )
        for row in connection.execute(query)
    ]


def restore_version(connection: Connection, document_id: str, number: int, now: float) -> int:
    """Make an earlier version the newest again, under a number of its own, without parsing or embedding it.

    It goes live as any version does, by a job. Raises `DocumentNotFound`, `VersionNotFound`; `Conflict` where it is the
    live one, and nothing newer is on its way.
    """
    document = get_document(connection, document_id)
    query = select(versions).where(versions.c.document_id == document_id, versions.c.version == number)
    source = connection.execute(query).one_or_none()
    if source is None or not source.chunk_count:
        raise VersionNotFound(f"Document {document_id!r} has no version {number} that can answer.")
    if number == document.live_version == document.version:
        raise Conflict(f"Version {number} is the one that answers.")
    content = NewVersion(source.filename, source.media_type, source.bytes, source.sha256)
    version = insert_version(connection, document_id, content, now)
    last = advance_sequence(connection, document.collection_id, source.chunk_count)
    first = last - source.chunk_count + 1
    connection.execute(
        update(versions)
        .where(versions.c.document_id == document_id, versions.c.version == version)
        .values(
            text=source.text,
            pages=source.pages,
            warnings=source.warnings,
            first_chunk=first,
            chunk_count=source.chunk_count,
            kept_embeddings=source.chunk_count,
            signature=source.signature,
        )
    )
    if source.signature is not None:
        store_bands(connection, document.collection_id, {(document_id, version): source.signature})
    copied = (document.collection_id, source.first_chunk, source.chunk_count, first, version)
    for table, key in ((chunks, "id"), (embeddings, "chunk_id")):
        connection.execute(insert(table).from_select(table.c.keys(), _copy(table, key, *copied)))
    jobs.enqueue(connection, document_id, version, now)
    return version


def _copy(table: Table, key: str, collection_id: str, first: int, count: int, to: int, version: int) -> Select[Any]:
    """The rows of a version's chunks, as those of another version whose chunks begin with `to`."""
    changed = {key: table.c[key] + (to - first), "version": literal(version)}
    columns = [changed.get(column.name, column).label(column.name) for column in table.c]
    return select(*columns).where(
        table.c.collection_id == collection_id, table.c[key].between(first, first + count - 1)
    )

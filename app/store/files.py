"""Files that live apart from collections: uploaded once, in any number of collections, gone from all when deleted."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select

from app.errors import FileNotFound
from app.failpoints import failpoint
from app.store.blobs import BlobStore, BlobWriter
from app.store.database import Database
from app.store.documents import delete_document
from app.store.paging import PageQuery, read_page
from app.store.tables import attachments, files


@dataclass(frozen=True, slots=True)
class File:
    """A file as it was uploaded."""

    id: str
    filename: str
    purpose: str
    media_type: str | None  # None: of a kind that cannot be read
    bytes: int
    sha256: str
    created_at: datetime


def keep_file(
    database: Database, blobs: BlobStore, writer: BlobWriter, *, filename: str, purpose: str, media_type: str | None
) -> File:
    """One transaction for blob and row: when this returns, the file is never lost. Raises `StorageFull`."""
    file_id = f"file-{uuid.uuid4().hex}"
    with database.write() as connection:
        database.lock_blobs(connection)
        connection.execute(
            insert(files).values(
                id=file_id,
                filename=filename,
                purpose=purpose,
                media_type=media_type,
                bytes=writer.bytes,
                sha256=writer.sha256,
                created_at=round(time.time(), 6),
            )
        )
        blobs.keep(writer)
        kept = get_file(connection, file_id)
        failpoint("kept_file.before_commit")
    failpoint("kept_file.committed")
    return kept


def get_file(connection: Connection, file_id: str) -> File:
    """Raises `FileNotFound`."""
    return _found(connection.execute(select(files).where(files.c.id == file_id)).one_or_none(), file_id)


def lock_file(connection: Connection, file_id: str) -> File:
    """The file, which nobody else attaches or deletes until the transaction ends. Raises `FileNotFound`."""
    query = select(files).where(files.c.id == file_id).with_for_update()
    return _found(connection.execute(query).one_or_none(), file_id)


def list_files(connection: Connection, purpose: str | None, page: PageQuery) -> tuple[list[File], bool]:
    """A page of them, and whether more follow."""
    query = select(files) if purpose is None else select(files).where(files.c.purpose == purpose)
    rows, has_more = read_page(connection, query, page)
    return [_file(row) for row in rows], has_more


def delete_file(connection: Connection, file_id: str) -> list[str]:
    """With the documents that it is in collections; returns the digests that may be unused now. Raises `FileNotFound`.

    From the commit on, no collection answers from it.
    """
    digests = [lock_file(connection, file_id).sha256]
    used = select(attachments.c.document_id).where(
        attachments.c.file_id == file_id, attachments.c.document_id.is_not(None)
    )
    # In one order everywhere, so that two deletions that meet do not wait for each other.
    for document_id in connection.scalars(used.order_by(attachments.c.collection_id)).all():
        digests += delete_document(connection, document_id)
    connection.execute(delete(attachments).where(attachments.c.file_id == file_id))
    connection.execute(delete(files).where(files.c.id == file_id))
    failpoint("kept_file.deleted")
    return digests


def _found(row: Row[Any] | None, file_id: str) -> File:
    if row is None:
        raise FileNotFound(f"There is no file {file_id!r}.")
    return _file(row)


def _file(row: Row[Any]) -> File:
    return File(
        id=row.id,
        filename=row.filename,
        purpose=row.purpose,
        media_type=row.media_type,
        bytes=row.bytes,
        sha256=row.sha256,
        created_at=datetime.fromtimestamp(row.created_at, UTC),
    )

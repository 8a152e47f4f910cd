"""The originals as the database knows them: which there have to be, whose they are, whether one is lost."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import Connection, select

from app.store.blobs import BlobStore
from app.store.database import Database
from app.store.documents import is_blob_used
from app.store.tables import documents, files, versions


def needed(connection: Connection) -> set[str]:
    """The digests of all originals, of every version, and of files that are in no collection."""
    return {digest for table in (versions, files) for digest in connection.scalars(select(table.c.sha256).distinct())}


def names(connection: Connection, digests: Sequence[str]) -> list[str]:
    """Name and id of the documents and files with these originals, each in their order of creation."""
    query = (
        select(versions.c.filename, versions.c.document_id, versions.c.sha256)
        .join(documents, documents.c.id == versions.c.document_id)
        .order_by(documents.c.created_at, documents.c.id)
    )
    wanted = set(digests)
    of_files = select(files.c.filename, files.c.id, files.c.sha256).order_by(files.c.created_at, files.c.id)
    rows = [*connection.execute(query), *connection.execute(of_files)]
    return [f"{filename} ({owner})" for filename, owner, sha256 in rows if sha256 in wanted]


def is_lost(database: Database, blobs: BlobStore, sha256: str) -> bool:
    """Whether a document's original is not there: decided where no upload and no deletion can be half way."""
    with database.write() as connection:
        database.lock_blobs(connection)
        return is_blob_used(connection, sha256) and not blobs.path(sha256).is_file()


def is_intact(path: Path) -> bool:
    """Whether a blob is what its name says. Raises `OSError` where it cannot be read."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == path.name

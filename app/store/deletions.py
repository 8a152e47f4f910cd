"""Documents that were deleted, remembered for a while: whoever follows a collection is told of them."""

from __future__ import annotations

import time

from sqlalchemy import Connection, delete, insert, select

from app.store.tables import deletions

_REMEMBERED_SECONDS = 600.0


def remember(connection: Connection, collection_id: str, document_id: str) -> None:
    """The document is deleted in this transaction. Older deletions are forgotten."""
    now = time.time()
    of_collection = deletions.c.collection_id == collection_id
    connection.execute(delete(deletions).where(of_collection, deletions.c.deleted_at < now - _REMEMBERED_SECONDS))
    connection.execute(insert(deletions).values(collection_id=collection_id, deleted_at=now, document_id=document_id))


def deleted_since(connection: Connection, collection_id: str, since: float) -> dict[str, float]:
    """The ids of the documents that were deleted after a time, each with its own."""
    query = select(deletions.c.document_id, deletions.c.deleted_at).where(
        deletions.c.collection_id == collection_id, deletions.c.deleted_at > since
    )
    return {row.document_id: row.deleted_at for row in connection.execute(query.order_by(deletions.c.deleted_at))}

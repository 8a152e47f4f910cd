"""Collections as vector stores, and the batches of files that were put into them."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, func, insert, select, update

from app.errors import CollectionNotFound, FileBatchNotFound, VectorStoreNotFound
from app.store.attachments import Totals, cancel_unfinished, totals_of_batch, totals_of_collections
from app.store.collections import COLLECTION_NAME, create_collection, get_collection, get_collection_by_id
from app.store.paging import PageQuery, read_page
from app.store.tables import collections, file_batches, vector_stores
from app.types import Collection

_COLLECTION, _STORE = "col_", "vs_"


@dataclass(frozen=True, slots=True)
class VectorStore:
    """A collection, with what OpenAI's clients have said of it."""

    collection: Collection
    name: str  # for display
    description: str | None
    metadata: Mapping[str, str]
    totals: Totals

    @property
    def id(self) -> str:
        return store_id(self.collection)


@dataclass(frozen=True, slots=True)
class FileBatch:
    """Files that were attached together."""

    id: str
    collection_id: str
    is_cancelled: bool
    totals: Totals
    created_at: datetime


def store_id(collection: Collection) -> str:
    """The vector store that a collection is: the same number behind another prefix."""
    return _STORE + collection.id.removeprefix(_COLLECTION)


def collection_id_of(store_id: str) -> str:
    """The way back."""
    return _COLLECTION + store_id.removeprefix(_STORE) if store_id.startswith(_STORE) else store_id


def collection_of(connection: Connection, store_id: str) -> Collection:
    """Raises `VectorStoreNotFound`."""
    try:
        return get_collection_by_id(connection, collection_id_of(store_id))
    except CollectionNotFound as error:
        raise VectorStoreNotFound(f"There is no vector store {store_id!r}.", param="vector_store_id") from error


def create_store(
    connection: Connection, name: str, description: str | None, metadata: Mapping[str, str], now: float
) -> VectorStore:
    """An empty one. Its collection has the same name where that can be a collection's and is free, else its own id."""
    collection = create_collection(connection, _free_name(connection, name), {}, now)
    connection.execute(
        insert(vector_stores).values(
            collection_id=collection.id, name=name, description=description, metadata=dict(metadata)
        )
    )
    return get_store(connection, collection.id)


def get_store(connection: Connection, collection_id: str) -> VectorStore:
    """Raises `VectorStoreNotFound`."""
    query = _SELECT.where(collections.c.id == collection_id)
    found = _stores(connection, connection.execute(query).all())
    if not found:
        raise VectorStoreNotFound(f"There is no vector store {collection_id.replace(_COLLECTION, _STORE, 1)!r}.")
    return found[0]


def list_stores(connection: Connection, page: PageQuery) -> tuple[list[VectorStore], bool]:
    """A page of them, and whether more follow; cursors are ids of collections."""
    rows, has_more = read_page(connection, _SELECT, page)
    return _stores(connection, rows), has_more


def change_store(connection: Connection, collection_id: str, changes: Mapping[str, Any], now: float) -> VectorStore:
    """Change `name` or `metadata`; the collection keeps its own name. Raises `VectorStoreNotFound`."""
    store = get_store(connection, collection_id)
    values = {"name": store.name, "description": store.description, "metadata": dict(store.metadata), **changes}
    statement = update(vector_stores).where(vector_stores.c.collection_id == collection_id)
    if not connection.execute(statement.values(values)).rowcount:
        connection.execute(insert(vector_stores).values(collection_id=collection_id, **values))
    connection.execute(update(collections).where(collections.c.id == collection_id).values(updated_at=now))
    return get_store(connection, collection_id)


def create_batch(connection: Connection, collection_id: str, now: float) -> str:
    """An empty batch; returns its id."""
    batch_id = f"vsfb_{uuid.uuid4().hex}"
    values = {"id": batch_id, "collection_id": collection_id, "created_at": now}
    connection.execute(insert(file_batches).values(values))
    return batch_id


def get_batch(connection: Connection, collection_id: str, batch_id: str) -> FileBatch:
    """Raises `FileBatchNotFound`."""
    query = select(file_batches).where(file_batches.c.id == batch_id, file_batches.c.collection_id == collection_id)
    row = connection.execute(query).one_or_none()
    if row is None:
        raise FileBatchNotFound(f"There is no batch {batch_id!r} in this vector store.")
    return FileBatch(
        id=row.id,
        collection_id=row.collection_id,
        is_cancelled=row.is_cancelled,
        totals=totals_of_batch(connection, collection_id, batch_id),
        created_at=datetime.fromtimestamp(row.created_at, UTC),
    )


def cancel_batch(connection: Connection, collection_id: str, batch_id: str) -> list[str]:
    """What is ready stays. Returns the digests that may be unused now. Raises `FileBatchNotFound`."""
    get_batch(connection, collection_id, batch_id)
    connection.execute(update(file_batches).where(file_batches.c.id == batch_id).values(is_cancelled=True))
    return cancel_unfinished(connection, collection_id, batch_id)


def _free_name(connection: Connection, name: str) -> str | None:
    if not re.fullmatch(COLLECTION_NAME, name) or name.startswith(_STORE):
        return None
    try:
        get_collection(connection, name)
    except CollectionNotFound:
        return name
    return None


_SELECT: Select[Any] = select(
    collections.c.id,
    collections.c.created_at,
    func.coalesce(vector_stores.c.name, collections.c.name).label("name"),
    vector_stores.c.description,
    vector_stores.c.metadata,
).outerjoin(vector_stores, vector_stores.c.collection_id == collections.c.id)


def _stores(connection: Connection, rows: Sequence[Row[Any]]) -> list[VectorStore]:
    totals = totals_of_collections(connection, [row.id for row in rows])
    return [
        VectorStore(
            collection=get_collection_by_id(connection, row.id),
            name=row.name,
            description=row.description,
            metadata=row.metadata or {},
            totals=totals[row.id],
        )
        for row in rows
    ]

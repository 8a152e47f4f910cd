"""Collections: create, read, change, delete; and the sequence that numbers their changes."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from app.errors import CollectionExists, CollectionNotFound
from app.store.tables import collections, documents, spaces
from app.types import Collection

DEFAULT_COLLECTION = "default"
COLLECTION_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"

_next_space = spaces.alias("next")
_COLLECTIONS = (
    select(collections, spaces.c.model, spaces.c.dimension, spaces.c.is_chosen, _next_space.c.model.label("next_model"))
    .outerjoin(spaces, (spaces.c.collection_id == collections.c.id) & (spaces.c.number == collections.c.space))
    .outerjoin(
        _next_space,
        (_next_space.c.collection_id == collections.c.id) & (_next_space.c.number == collections.c.next_space),
    )
)
# Every search runs one of these. Made once: to put a statement together takes longer than to run it.
_BY_NAME = _COLLECTIONS.where(collections.c.name == bindparam("name"))
_BY_ID = _COLLECTIONS.where(collections.c.id == bindparam("id"))


def create_collection(connection: Connection, name: str | None, settings: Mapping[str, Any], now: float) -> Collection:
    """Without a name it takes one from its id. Raises `CollectionExists`."""
    number = uuid.uuid4().hex
    name = name or f"vs_{number}"
    values = {
        "id": f"col_{number}",
        "name": name,
        "settings": dict(settings),
        "sequence": 0,
        "created_at": now,
        "updated_at": now,
    }
    try:
        connection.execute(insert(collections).values(values))
    except IntegrityError as error:
        raise CollectionExists(f"A collection named {name!r} already exists.", param="name") from error
    return get_collection(connection, name)


def ensure_default_collection(connection: Connection, now: float) -> None:
    """The collection that a request means when it names none."""
    if connection.scalar(select(collections.c.id).where(collections.c.name == DEFAULT_COLLECTION)) is None:
        create_collection(connection, DEFAULT_COLLECTION, {}, now)


def get_collection(connection: Connection, name: str) -> Collection:
    """Raises `CollectionNotFound`."""
    row = connection.execute(_BY_NAME, {"name": name}).one_or_none()
    if row is None:
        raise CollectionNotFound(f"There is no collection named {name!r}.", param="collection")
    return _collection(row)


def get_collection_by_id(connection: Connection, collection_id: str) -> Collection:
    """Raises `CollectionNotFound`."""
    row = connection.execute(_BY_ID, {"id": collection_id}).one_or_none()
    if row is None:
        raise CollectionNotFound
    return _collection(row)


def lock_collection(connection: Connection, collection_id: str) -> Collection:
    """The collection, which nobody else changes until the transaction ends. Raises `CollectionNotFound`."""
    connection.execute(select(collections.c.id).where(collections.c.id == collection_id).with_for_update())
    return get_collection_by_id(connection, collection_id)


def list_collections(connection: Connection) -> list[Collection]:
    """All of them, by name."""
    return [_collection(row) for row in connection.execute(_COLLECTIONS.order_by(collections.c.name))]


def count_documents(connection: Connection) -> dict[str, int]:
    """Collection id → documents."""
    query = select(documents.c.collection_id, func.count()).group_by(documents.c.collection_id)
    return {row[0]: row[1] for row in connection.execute(query)}


def change_settings(connection: Connection, name: str, settings: Mapping[str, Any], now: float) -> Collection:
    """Replace the settings. Raises `CollectionNotFound`."""
    statement = update(collections).where(collections.c.name == name)
    connection.execute(statement.values(settings=dict(settings), updated_at=now))
    return get_collection(connection, name)


def delete_collection(connection: Connection, name: str) -> Collection:
    """With all its documents. Raises `CollectionNotFound`."""
    collection = get_collection(connection, name)
    connection.execute(delete(collections).where(collections.c.id == collection.id))
    return collection


def advance_sequence(connection: Connection, collection_id: str, count: int = 1) -> int:
    """Take `count` numbers and return the last. The row stays locked until the transaction ends, so numbers are
    committed in their order. Raises `CollectionNotFound`."""
    statement = (
        update(collections)
        .where(collections.c.id == collection_id)
        .values(sequence=collections.c.sequence + count)
        .returning(collections.c.sequence)
    )
    last = connection.scalar(statement)
    if last is None:
        raise CollectionNotFound
    return int(last)


def _collection(row: Row[Any]) -> Collection:
    return Collection(
        id=row.id,
        name=row.name,
        space=row.space,
        embedding_model=row.model,
        embedding_dimension=row.dimension,
        is_model_chosen=bool(row.is_chosen),
        next_model=row.next_model,
        settings=row.settings,
        sequence=row.sequence,
        created_at=datetime.fromtimestamp(row.created_at, UTC),
        updated_at=datetime.fromtimestamp(row.updated_at, UTC),
    )

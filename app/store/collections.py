"""Collections: create, read, change, delete; and the sequence that numbers their changes."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from app.errors import CollectionExists, CollectionNotFound, EmbeddingModelMismatch
from app.store.tables import collections, documents
from app.types import Collection

DEFAULT_COLLECTION = "default"

# Every search runs one of these. Made once: to put a statement together takes longer than to run it.
_BY_NAME = select(collections).where(collections.c.name == bindparam("name"))
_BY_ID = select(collections).where(collections.c.id == bindparam("id"))


def create_collection(connection: Connection, name: str, settings: Mapping[str, Any], now: float) -> Collection:
    """Raises `CollectionExists`."""
    values = {
        "id": f"col_{uuid.uuid4().hex}",
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


def list_collections(connection: Connection) -> list[Collection]:
    """All of them, by name."""
    return [_collection(row) for row in connection.execute(select(collections).order_by(collections.c.name))]


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


def record_embedding_model(connection: Connection, collection: Collection, model: str, dimension: int) -> None:
    """Bind the collection to the model of its first embedding. Raises `EmbeddingModelMismatch`."""
    if collection.embedding_model is None:
        statement = update(collections).where(collections.c.id == collection.id)
        connection.execute(statement.values(embedding_model=model, embedding_dimension=dimension))
    elif (collection.embedding_model, collection.embedding_dimension) != (model, dimension):
        raise EmbeddingModelMismatch(
            f"Collection {collection.name!r} was embedded with {collection.embedding_model} "
            f"({collection.embedding_dimension} dimensions), but the configured model is {model} ({dimension})."
        )


def _collection(row: Row[Any]) -> Collection:
    return Collection(
        id=row.id,
        name=row.name,
        embedding_model=row.embedding_model,
        embedding_dimension=row.embedding_dimension,
        settings=row.settings,
        sequence=row.sequence,
        created_at=datetime.fromtimestamp(row.created_at, UTC),
        updated_at=datetime.fromtimestamp(row.updated_at, UTC),
    )

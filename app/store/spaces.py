"""Spaces: the embedding models of a collection, and the embeddings that a reindex brings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sqlalchemy import ColumnElement, Connection, and_, delete, exists, func, insert, select, update

from app.errors import EmbeddingModelChanged, EmbeddingModelMismatch
from app.store.collections import lock_collection
from app.store.tables import chunks, collections, embeddings, spaces, versions
from app.types import Collection, indexed_text

EMBEDDING_DTYPE = np.dtype("<f2")


@dataclass(frozen=True, slots=True)
class Space:
    """One model's embeddings of a collection's chunks."""

    number: int
    model: str
    dimension: int


@dataclass(frozen=True, slots=True)
class Unembedded:
    """A chunk that has no embedding in some space."""

    id: int
    text: str  # what the embedder reads


def bind_model(connection: Connection, collection_id: str, model: str, dimension: int) -> int:
    """The space that this model's embeddings belong to: the first model that comes is the collection's.

    Raises `EmbeddingModelMismatch`; `EmbeddingModelChanged` where a reindex came between embedding and storing.
    """
    collection = lock_collection(connection, collection_id)
    if collection.space is None:
        values = {"collection_id": collection_id, "number": 1, "model": model, "dimension": dimension}
        connection.execute(insert(spaces).values(**values, is_chosen=False))
        connection.execute(update(collections).where(collections.c.id == collection_id).values(space=1))
        return 1
    if (collection.embedding_model, collection.embedding_dimension) == (model, dimension):
        return collection.space
    if collection.is_model_chosen:
        raise EmbeddingModelChanged
    raise EmbeddingModelMismatch(
        f"Collection {collection.name!r} was embedded with {collection.embedding_model} "
        f"({collection.embedding_dimension} dimensions), but the configured model is {model} ({dimension})."
    )


def begin(connection: Connection, collection: Collection, model: str, dimension: int) -> Space:
    """The space of a model beside the one that answers: a new one, or what is left of an earlier one."""
    number = connection.scalar(
        select(func.max(spaces.c.number)).where(
            _of(collection.id),
            spaces.c.number != collection.space,
            spaces.c.model == model,
            spaces.c.dimension == dimension,
        )
    )
    if number is None:
        number = (connection.scalar(select(func.max(spaces.c.number)).where(_of(collection.id))) or 0) + 1
        values = {"collection_id": collection.id, "number": number, "model": model, "dimension": dimension}
        connection.execute(insert(spaces).values(**values, is_chosen=False))
    connection.execute(update(collections).where(collections.c.id == collection.id).values(next_space=number))
    return Space(number, model, dimension)


def previous(connection: Connection, collection: Collection) -> Space | None:
    """The one that answered before."""
    query = (
        select(spaces)
        .where(_of(collection.id), spaces.c.number != collection.space, spaces.c.retired_at.is_not(None))
        .order_by(spaces.c.retired_at.desc())
        .limit(1)
    )
    row = connection.execute(query).one_or_none()
    return None if row is None else Space(row.number, row.model, row.dimension)


def unembedded(connection: Connection, collection_id: str, space: int, *, after: int, limit: int) -> list[Unembedded]:
    """Chunks behind an id that have no embedding in the space, ascending."""
    query = (
        select(chunks.c.id, versions.c.filename, chunks.c.headings, chunks.c.header, chunks.c.text)
        .join(versions, (versions.c.document_id == chunks.c.document_id) & (versions.c.version == chunks.c.version))
        .where(_lacks(collection_id, space), chunks.c.id > after)
        .order_by(chunks.c.id)
        .limit(limit)
    )
    rows = connection.execute(query)
    return [Unembedded(row.id, indexed_text(row.filename, tuple(row.headings), row.header, row.text)) for row in rows]


def count_unembedded(connection: Connection, collection_id: str, space: int) -> int:
    return connection.scalar(select(func.count()).select_from(chunks).where(_lacks(collection_id, space))) or 0


def first_unembedded(connection: Connection, collection_id: str, space: int) -> int | None:
    """The smallest id of a chunk that has no embedding in the space."""
    first = connection.scalar(select(func.min(chunks.c.id)).where(_lacks(collection_id, space)))
    return None if first is None else int(first)


def add_embeddings(
    connection: Connection,
    collection_id: str,
    space: int,
    chunk_ids: Sequence[int],
    vectors: npt.NDArray[np.float32],  # shape (chunks, dimension)
) -> None:
    """Embeddings in a space that is not the chunks' own; those of chunks that are gone are left out."""
    there = select(chunks.c.id).where(chunks.c.collection_id == collection_id, chunks.c.id.in_(chunk_ids))
    found = set(connection.scalars(there.with_for_update(read=True)))
    rows = [
        {"collection_id": collection_id, "chunk_id": chunk_id, "space": space, "embedding": _stored(vector)}
        for chunk_id, vector in zip(chunk_ids, vectors, strict=True)
        if chunk_id in found
    ]
    if rows:
        connection.execute(insert(embeddings), rows)


def switch(connection: Connection, collection: Collection, space: int, now: float) -> None:
    """From the commit on this space answers, and whatever is embedded belongs to it."""
    retired = update(spaces).where(_of(collection.id), spaces.c.number == collection.space)
    connection.execute(retired.values(retired_at=now))
    chosen = update(spaces).where(_of(collection.id), spaces.c.number == space)
    connection.execute(chosen.values(is_chosen=True))
    statement = update(collections).where(collections.c.id == collection.id)
    connection.execute(statement.values(space=space, next_space=None, updated_at=now))


def prune(connection: Connection, collection: Collection, limit: int) -> int:
    """Drop what does not belong to the space that answers, of up to `limit` chunks; returns of how many.

    After the last of them the other spaces go, and a reindex that was under way.
    """
    others = select(embeddings.c.chunk_id).where(
        embeddings.c.collection_id == collection.id, embeddings.c.chunk_id == chunks.c.id
    )
    query = select(chunks.c.id).where(chunks.c.collection_id == collection.id, exists(others)).limit(limit)
    chunk_ids = connection.scalars(query).all()
    mine = and_(chunks.c.collection_id == collection.id, chunks.c.id.in_(chunk_ids))
    brought = select(embeddings.c.embedding).where(
        embeddings.c.collection_id == chunks.c.collection_id,
        embeddings.c.chunk_id == chunks.c.id,
        embeddings.c.space == collection.space,
    )
    connection.execute(
        update(chunks)
        .where(mine, chunks.c.space != collection.space)
        .values(embedding=brought.scalar_subquery(), space=collection.space)
    )
    connection.execute(
        delete(embeddings).where(embeddings.c.collection_id == collection.id, embeddings.c.chunk_id.in_(chunk_ids))
    )
    if not chunk_ids:
        connection.execute(delete(spaces).where(_of(collection.id), spaces.c.number != collection.space))
        connection.execute(update(collections).where(collections.c.id == collection.id).values(next_space=None))
    return len(chunk_ids)


def index_names(connection: Connection) -> set[str]:
    """The names of the folders of the index that belong to a space of a collection."""
    return {index_name(row.collection_id, row.number) for row in connection.execute(select(spaces))}


def index_name(collection_id: str, space: int | str) -> str:
    return f"{collection_id}.{space}"


def _of(collection_id: str) -> ColumnElement[bool]:
    return spaces.c.collection_id == collection_id


def _lacks(collection_id: str, space: int) -> ColumnElement[bool]:
    brought = select(embeddings.c.space).where(
        embeddings.c.collection_id == chunks.c.collection_id,
        embeddings.c.chunk_id == chunks.c.id,
        embeddings.c.space == space,
    )
    return and_(chunks.c.collection_id == collection_id, chunks.c.space != space, ~exists(brought))


def _stored(vector: npt.NDArray[np.float32]) -> bytes:
    return vector.astype(EMBEDDING_DTYPE).tobytes()

"""Chunks: stored with their embeddings, read for the index, hydrated into passages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy import ColumnElement, Connection, Row, Select, bindparam, case, func, insert, select, update

from app.errors import IndexUnavailable
from app.store.collections import advance_sequence
from app.store.near_copies import store_bands
from app.store.spaces import EMBEDDING_DTYPE, bind_model
from app.store.tables import chunks, documents, embeddings, removals, versions
from app.types import Chunk, indexed_text

# SQLite allows 32,766 bound values a statement; a thousand ids at a time is quick in every database.
_IDS_PER_QUERY = 1000


_OF_VERSION = (versions.c.document_id == chunks.c.document_id) & (versions.c.version == chunks.c.version)
_IS_INDEXED = versions.c.is_retired.is_(False)


def select_live_chunks() -> Select[Any]:
    """Chunks that can be found, with what `stored_chunk` needs."""
    columns = [column for column in chunks.c if column.name != "embedding"]
    return (
        select(*columns, versions.c.filename)
        .join(
            documents,
            (documents.c.id == chunks.c.document_id) & (documents.c.live_version == chunks.c.version),
        )
        .join(versions, _OF_VERSION)
    )


# Every search runs this. Made once: to put a statement together takes longer than to run it.
_LIVE_CHUNKS_BY_ID = select_live_chunks().where(
    chunks.c.collection_id == bindparam("collection_id"), chunks.c.id.in_(bindparam("ids", expanding=True))
)


@dataclass(frozen=True, slots=True)
class StoredChunk:
    """A live chunk with the document that it belongs to."""

    id: int
    document_id: str
    version: int
    filename: str
    chunk: Chunk

    @property
    def chunk_id(self) -> str:
        return chunk_id(self.document_id, self.version, self.chunk.ordinal)


@dataclass(frozen=True, slots=True)
class IndexedChunk:
    """A chunk as the index takes it up."""

    id: int
    first_id: int
    embedding: npt.NDArray[np.float16]  # shape (dimension,)
    text: str


@dataclass(frozen=True, slots=True)
class VersionContent:
    """What a version consists of: its text and its chunks."""

    document_id: str
    version: int
    text: str
    pages: int | None
    chunks: Sequence[Chunk]
    embeddings: npt.NDArray[np.float32]  # shape (chunks, dimension)
    warnings: Sequence[str] = ()
    kept_embeddings: int = 0
    signature: bytes | None = None  # of the text: `app.signatures`


def chunk_id(document_id: str, version: int, ordinal: int) -> str:
    """The chunk's public name."""
    return f"{document_id}.{version}.{ordinal}"


_OF_CONTENT = ("text", "pages", "warnings", "first_chunk", "chunk_count", "kept_embeddings", "signature")
_STORE_TEXT = (
    update(versions)
    .where(versions.c.document_id == bindparam("of_document"), versions.c.version == bindparam("of_version"))
    .values({name: bindparam(name) for name in _OF_CONTENT})
)


def store_chunks(connection: Connection, collection_id: str, model: str, contents: Sequence[VersionContent]) -> int:
    """Store the texts and chunks of some versions, numbered one after the other. Returns the last id.

    Nothing of it is live yet: `app.store.documents.make_live` comes after the index has taken it up. Raises
    `EmbeddingModelMismatch`, `EmbeddingModelChanged`: the collection has another model than the one that embedded them.
    """
    space = bind_model(connection, collection_id, model, contents[0].embeddings.shape[1])
    counts = [len(content.chunks) for content in contents]
    last = advance_sequence(connection, collection_id, sum(counts))
    firsts = list(accumulate(counts[:-1], initial=last - sum(counts) + 1))
    connection.execute(
        _STORE_TEXT,
        [
            {
                "of_document": content.document_id,
                "of_version": content.version,
                "text": content.text,
                "pages": content.pages,
                "warnings": list(content.warnings),
                "kept_embeddings": content.kept_embeddings,
                "first_chunk": first,
                "chunk_count": count,
                "signature": content.signature,
            }
            for content, first, count in zip(contents, firsts, counts, strict=True)
        ],
    )
    signed = {(each.document_id, each.version): each.signature for each in contents if each.signature is not None}
    store_bands(connection, collection_id, signed)
    connection.execute(
        insert(chunks),
        [
            {
                "collection_id": collection_id,
                "id": first + i,
                "document_id": content.document_id,
                "version": content.version,
                "ordinal": chunk.ordinal,
                "start": chunk.start,
                "end": chunk.end,
                "page": chunk.page,
                "page_breaks": [list(each) for each in chunk.page_breaks],
                "page_labels": [list(each) for each in chunk.page_labels] or None,
                "tokens": chunk.tokens,
                "headings": list(chunk.headings),
                "header": chunk.header,
                "text": chunk.text,
                "space": space,
                "embedding": embedding.astype(EMBEDDING_DTYPE).tobytes(),
            }
            for content, first in zip(contents, firsts, strict=True)
            for i, (chunk, embedding) in enumerate(zip(content.chunks, content.embeddings, strict=True))
        ],
    )
    return last


def chunks_after(
    connection: Connection, collection_id: str, space: int, after: int, until: int
) -> Iterator[IndexedChunk]:
    """Chunks with `after` < id ≤ `until`, ascending, streamed, with their embeddings in one space.

    Without those of retired versions. Raises `IndexUnavailable` for a chunk that has no embedding.
    """
    query = (
        _select_embedded(space, chunks.c.id, versions.c.first_chunk)
        .where(chunks.c.collection_id == collection_id, chunks.c.id > after, chunks.c.id <= until, _IS_INDEXED)
        .order_by(chunks.c.id)
    )
    with connection.execution_options(yield_per=_IDS_PER_QUERY).execute(query) as rows:
        for row in rows:
            if row.embedding is None:
                raise IndexUnavailable("Chunks lack their embeddings; `footnote reindex` makes them.")
            yield IndexedChunk(
                id=row.id,
                first_id=row.first_chunk,
                embedding=np.frombuffer(row.embedding, dtype=EMBEDDING_DTYPE),
                text=indexed_text(row.filename, tuple(row.headings), row.header, row.text),
            )


def live_embeddings(
    connection: Connection, collection_id: str, space: int, document_ids: Sequence[str]
) -> dict[str, npt.NDArray[np.float16]]:
    """What the embedder read of the documents' live versions, and what it made of it in this space."""
    query = (
        _select_embedded(space)
        .join(documents, (documents.c.id == chunks.c.document_id) & (documents.c.live_version == chunks.c.version))
        .where(chunks.c.collection_id == collection_id, documents.c.id.in_(document_ids))
    )
    return {
        indexed_text(row.filename, tuple(row.headings), row.header, row.text): np.frombuffer(
            row.embedding, dtype=EMBEDDING_DTYPE
        )
        for row in connection.execute(query)
        if row.embedding is not None
    }


def _select_embedded(space: int, *columns: ColumnElement[Any]) -> Select[Any]:
    """Chunks with what the embedder reads of them, and their embeddings in a space: null where they have none."""
    embedding = case((chunks.c.space == space, chunks.c.embedding), else_=embeddings.c.embedding).label("embedding")
    context = versions.c.filename, chunks.c.headings, chunks.c.header
    return (
        select(*columns, embedding, *context, chunks.c.text)
        .join(versions, _OF_VERSION)
        .outerjoin(
            embeddings,
            (embeddings.c.collection_id == chunks.c.collection_id)
            & (embeddings.c.chunk_id == chunks.c.id)
            & (embeddings.c.space == space),
        )
    )


def removals_after(connection: Connection, collection_id: str, after: int, until: int) -> list[int]:
    """First ids of the versions that were removed in `after` < sequence ≤ `until`."""
    query = select(removals.c.first_chunk).where(
        removals.c.collection_id == collection_id, removals.c.sequence > after, removals.c.sequence <= until
    )
    return list(connection.scalars(query))


def count_changes_after(connection: Connection, collection_id: str, after: int) -> int:
    """Chunks added and versions removed behind a sequence number: what an index at that number lacks."""
    added = select(func.count()).select_from(chunks).join(versions, _OF_VERSION)
    added = added.where(chunks.c.collection_id == collection_id, chunks.c.id > after, _IS_INDEXED)
    removed = select(func.count()).select_from(removals)
    removed = removed.where(removals.c.collection_id == collection_id, removals.c.sequence > after)
    return (connection.scalar(added) or 0) + (connection.scalar(removed) or 0)


def live_chunks(connection: Connection, collection_id: str, ids: Sequence[int]) -> dict[int, StoredChunk]:
    """Those of the ids that belong to a live version: a hit becomes a passage only through here."""
    found: dict[int, StoredChunk] = {}
    for at in range(0, len(ids), _IDS_PER_QUERY):
        parameters = {"collection_id": collection_id, "ids": ids[at : at + _IDS_PER_QUERY]}
        found.update((row.id, stored_chunk(row)) for row in connection.execute(_LIVE_CHUNKS_BY_ID, parameters))
    return found


def read_text(connection: Connection, document_id: str, version: int, start: int, end: int) -> str:
    """`text[start:end]` of a version that is kept."""
    part = func.substr(versions.c.text, start + 1, end - start)
    query = select(part).where(versions.c.document_id == document_id, versions.c.version == version)
    return connection.scalar(query) or ""


def document_chunks(connection: Connection, document_id: str, *, limit: int, after_ordinal: int) -> list[StoredChunk]:
    """The live version's chunks in their order, from behind `after_ordinal`."""
    query = (
        select_live_chunks()
        .where(chunks.c.document_id == document_id, chunks.c.ordinal > after_ordinal)
        .order_by(chunks.c.ordinal)
        .limit(limit)
    )
    return [stored_chunk(row) for row in connection.execute(query)]


def chunk_ids(connection: Connection, collection_id: str) -> npt.NDArray[np.int64]:
    """The ids that the index must hold, ascending."""
    query = select(chunks.c.id).join(versions, _OF_VERSION).order_by(chunks.c.id)
    query = query.where(chunks.c.collection_id == collection_id, _IS_INDEXED)
    return np.fromiter(connection.scalars(query), dtype=np.int64)


def count_chunks(connection: Connection) -> int:
    """Over all collections, without those of retired versions."""
    return connection.scalar(select(func.sum(versions.c.chunk_count)).where(_IS_INDEXED)) or 0


def stored_chunk(row: Row[Any]) -> StoredChunk:
    """A row of `select_live_chunks`."""
    return StoredChunk(
        id=row.id,
        document_id=row.document_id,
        version=row.version,
        filename=row.filename,
        chunk=Chunk(
            ordinal=row.ordinal,
            start=row.start,
            end=row.end,
            text=row.text,
            page=row.page,
            headings=tuple(row.headings),
            tokens=row.tokens,
            header=row.header,
            page_breaks=tuple((start, page) for start, page in row.page_breaks),
            page_labels=tuple((page, label) for page, label in row.page_labels or ()),
        ),
    )

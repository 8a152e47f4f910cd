"""Reading on from a passage: what stands around it, a page, the headings of its document. Live versions only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from app.store.chunks import StoredChunk, select_live_chunks, stored_chunk
from app.store.documents import live_ranges
from app.store.filters import compile_filter
from app.store.tables import chunks, documents, versions

Place = tuple[str, int, int]  # of a chunk: document, version, ordinal


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading path of a document, with where it begins."""

    path: tuple[str, ...]
    page: int | None
    ordinal: int


def neighbours(
    connection: Connection, document_id: str, version: int, ordinal: int, *, distance: int
) -> list[StoredChunk]:
    """The chunks up to so far before and behind one, itself left out, in the order of the text."""
    query = (
        select_live_chunks()
        .where(
            chunks.c.document_id == document_id,
            chunks.c.version == version,
            chunks.c.ordinal.between(ordinal - distance, ordinal + distance),
            chunks.c.ordinal != ordinal,
        )
        .order_by(chunks.c.ordinal)
    )
    return [stored_chunk(row) for row in connection.execute(query)]


def with_neighbours(connection: Connection, places: Iterable[Place]) -> dict[Place, StoredChunk]:
    """The chunks at these places, each with the one before and the one behind it."""
    wanted: dict[tuple[str, int], set[int]] = {}
    for document_id, version, ordinal in places:
        wanted.setdefault((document_id, version), set()).update((ordinal - 1, ordinal, ordinal + 1))
    found: dict[Place, StoredChunk] = {}
    for (document_id, version), ordinals in wanted.items():
        query = select_live_chunks().where(
            chunks.c.document_id == document_id, chunks.c.version == version, chunks.c.ordinal.in_(ordinals)
        )
        found |= {(document_id, version, row.ordinal): stored_chunk(row) for row in connection.execute(query)}
    return found


def page_chunks(connection: Connection, document_id: str, version: int, page: int, *, limit: int) -> list[StoredChunk]:
    """The first chunks that hold any text of a page, in the order of the text."""
    of_version = select_live_chunks().where(chunks.c.document_id == document_id, chunks.c.version == version)
    on_it = of_version.where(chunks.c.page == page).order_by(chunks.c.ordinal).limit(limit)
    # The one that begins before it may run into it.
    before = of_version.where(chunks.c.page < page).order_by(chunks.c.ordinal.desc()).limit(1)
    first = [stored_chunk(row) for row in connection.execute(before)]
    running_in = [each for each in first if any(number == page for _, number in each.chunk.page_breaks)]
    return (running_in + [stored_chunk(row) for row in connection.execute(on_it)])[:limit]


def outline(connection: Connection, document_id: str, version: int, *, limit: int) -> list[Heading]:
    """The first heading paths of a document, each where it begins."""
    query = (
        select(chunks.c.headings, chunks.c.page, chunks.c.ordinal)
        .join(documents, (documents.c.id == chunks.c.document_id) & (documents.c.live_version == chunks.c.version))
        .where(chunks.c.document_id == document_id, chunks.c.version == version)
        .order_by(chunks.c.ordinal)
    )
    found: list[Heading] = []
    for row in connection.execute(query):
        path = tuple(row.headings)
        if path and (not found or found[-1].path != path):
            if len(found) == limit:
                break
            found.append(Heading(path, row.page, row.ordinal))
    return found


def live_versions(connection: Connection, document_ids: Sequence[str]) -> dict[str, int]:
    """Document id → the version that answers; documents that have none, or are gone, are left out."""
    query = select(documents.c.id, documents.c.live_version).where(
        documents.c.id.in_(document_ids), documents.c.live_version.is_not(None)
    )
    return {row.id: row.live_version for row in connection.execute(query)}


def live_range(connection: Connection, document_id: str) -> tuple[int, int]:
    """The first chunk id of the version that answers, and how many it has; (0, 0) where there is none."""
    query = (
        select(versions.c.first_chunk, versions.c.chunk_count)
        .join(
            documents,
            (documents.c.id == versions.c.document_id) & (documents.c.live_version == versions.c.version),
        )
        .where(documents.c.id == document_id, versions.c.chunk_count > 0)
    )
    row = connection.execute(query).one_or_none()
    return (row[0], row[1]) if row else (0, 0)


def meets(connection: Connection, collection_id: str, document_id: str, filters: Mapping[str, Any]) -> bool:
    """Whether a document that answers meets a filter. Raises `InvalidFilter`."""
    conditions = [compile_filter(connection, collection_id, filters), documents.c.id == document_id]
    return bool(live_ranges(connection, collection_id, conditions))

"""Passages that no search found, but that stand near one that a search did."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, TypeVar

import anyio.to_thread

from app.retrieval.joining import Joined, join
from app.store import reading
from app.store.chunks import StoredChunk, read_text
from app.store.database import Database
from app.store.reading import Heading, Place
from app.types import Passage, Scores

T = TypeVar("T")

_DISTANCE = 2  # chunks to each side
_MOST_OF_A_PAGE = 12
_MOST_HEADINGS = 120


class Reader:
    """Reads around passages. What it reads has no scores: `score` is 0."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def neighbours(self, passage: Passage) -> list[Passage]:
        """What stands before and behind a passage; nothing where its version no longer answers."""
        found = await self._read(reading.neighbours, *_place(passage), distance=_DISTANCE)
        return _passages(found)

    async def page(self, passage: Passage, page: int) -> list[Passage]:
        """A page of the passage's document, from 1; nothing where it has no such page."""
        found = await self._read(reading.page_chunks, passage.document_id, passage.version, page, limit=_MOST_OF_A_PAGE)
        return _passages(found)

    async def outline(self, passage: Passage) -> list[Heading]:
        """The headings of the passage's document."""
        return await self._read(reading.outline, passage.document_id, passage.version, limit=_MOST_HEADINGS)

    async def still_live(self, passages: Sequence[Passage]) -> list[Passage]:
        """Those whose version answers now: a document may have been deleted since it was found."""
        live = await self._read(reading.live_versions, list({passage.document_id for passage in passages}))
        return [passage for passage in passages if live.get(passage.document_id) == passage.version]

    async def join(self, passages: Sequence[Passage]) -> tuple[Joined, ...]:
        """The passages with their neighbours; without those whose version no longer answers."""

        def in_thread() -> tuple[Joined, ...]:
            with self._database.read() as connection:
                found = reading.with_neighbours(connection, map(_place, passages))
                hits = [(found[place], passage) for passage in passages if (place := _place(passage)) in found]
                return join(hits, {chunk.id: chunk for chunk in found.values()}, partial(read_text, connection))

        return await anyio.to_thread.run_sync(in_thread)

    async def _read(self, query: Callable[..., T], *arguments: Any, **named: Any) -> T:
        def in_thread() -> T:
            with self._database.read() as connection:
                return query(connection, *arguments, **named)

        return await anyio.to_thread.run_sync(in_thread)


def _place(passage: Passage) -> Place:
    return passage.document_id, passage.version, int(passage.chunk_id.rpartition(".")[2])


def _passages(found: Iterable[StoredChunk]) -> list[Passage]:
    return [
        Passage(
            document_id=stored.document_id,
            version=stored.version,
            chunk_id=stored.chunk_id,
            filename=stored.filename,
            page=stored.chunk.page,
            headings=stored.chunk.headings,
            start=stored.chunk.start,
            end=stored.chunk.end,
            text=stored.chunk.text,
            score=0.0,
            scores=Scores(),
            page_breaks=stored.chunk.page_breaks,
            header=stored.chunk.header,
        )
        for stored in found
    ]

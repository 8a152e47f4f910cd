"""Passages that no search found, but that stand near one that a search did."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import anyio.to_thread

from app.retrieval.joining import Joined, join
from app.retrieval.passages import passage_of
from app.store import reading
from app.store.chunks import read_text
from app.store.database import Database
from app.store.reading import Heading, Place
from app.types import Passage

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
        return [passage_of(each) for each in found]

    async def page(self, passage: Passage, page: int) -> list[Passage]:
        """A page of the passage's document, from 1; nothing where it has no such page."""
        found = await self._read(reading.page_chunks, passage.document_id, passage.version, page, limit=_MOST_OF_A_PAGE)
        return [passage_of(each) for each in found]

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

"""Every answer is kept, without making anybody wait: written in the background, several in one small transaction."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Self

from anyio import to_thread

from app.store.answers import GivenAnswer, Place, delete_expired_answers, store_answer
from app.store.database import Database

logger = logging.getLogger(__name__)

_MOST_AT_ONCE = 50
_SETTLING_SECONDS = 1.0  # that anybody waits for what is being written
_SWEEP_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class _Entry:
    answer: GivenAnswer
    place: Place
    written: asyncio.Event = field(default_factory=asyncio.Event)  # or given up


class Archive:
    """Writes answers to the database, one batch after the other, and sweeps out those that have been kept long enough.

    An async context manager: leaving it waits until everything is written.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: list[_Entry] = []
        self._writing: list[_Entry] = []
        self._arrived = asyncio.Event()
        self._closing = False
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run(), name="archive")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._closing = True
        self._arrived.set()
        if self._task is not None:
            await self._task

    def keep(self, answer: GivenAnswer, place: Place) -> None:
        """Write it soon."""
        self._waiting.append(_Entry(answer, place))
        self._arrived.set()

    async def settle(self) -> None:
        """Until what was kept so far is written; where the database is busy, no longer than a moment."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_SETTLING_SECONDS):
                for entry in [*self._writing, *self._waiting]:
                    await entry.written.wait()

    async def _run(self) -> None:
        swept_at = float("-inf")
        while not self._closing or self._waiting:
            if time.monotonic() - swept_at > _SWEEP_SECONDS:
                await to_thread.run_sync(self._sweep)
                swept_at = time.monotonic()
            if not self._waiting and not self._closing:
                self._arrived.clear()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._arrived.wait(), _SWEEP_SECONDS)
            self._writing, self._waiting = self._waiting[:_MOST_AT_ONCE], self._waiting[_MOST_AT_ONCE:]
            if self._writing:
                await to_thread.run_sync(self._write, self._writing)
            for entry in self._writing:
                entry.written.set()
            self._writing = []

    def _write(self, entries: Sequence[_Entry]) -> None:
        try:
            with self._database.write() as connection:
                for entry in entries:
                    store_answer(connection, entry.answer, entry.place)
        except Exception:
            if len(entries) == 1:
                logger.exception("the answer %s was given, but could not be kept", entries[0].answer.id)
                return
            for entry in entries:  # one that cannot be stored must not take the others along
                self._write([entry])

    def _sweep(self) -> None:
        try:
            with self._database.write() as connection:
                delete_expired_answers(connection, time.time())
        except Exception:
            logger.exception("old answers could not be swept out")

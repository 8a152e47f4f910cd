"""Requests that wait together are served together, by one call in one thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import anyio.to_thread
from anyio import CapacityLimiter

Request = TypeVar("Request")
Reply = TypeVar("Reply")


class Together(Generic[Request, Reply]):
    """What a call costs once, it costs once for all that came while the threads were busy."""

    def __init__(
        self, work: Callable[[Sequence[Request]], Sequence[Reply | Exception]], *, threads: int, shares: int, most: int
    ) -> None:
        """`work` runs in up to so many threads at once and gives a reply, or an error, for each of `most` requests.

        What waits is shared out over `shares` of the threads: more would take Python's lock from each other, but are
        there when those are busy.
        """
        self._work = work
        self._threads = threads
        self._shares = shares
        self._most = most
        self._limiter: CapacityLimiter | None = None
        self._waiting: list[tuple[Request, asyncio.Future[Reply]]] = []
        self._calls = 0  # that are under way
        self._runners = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def ask(self, request: Request) -> Reply:
        """Raises what `work` gave for this request."""
        reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._waiting.append((request, reply))
        if self._runners < self._threads:
            # It begins when everybody who was woken with us has asked too.
            self._runners += 1
            task = asyncio.create_task(self._run())
            self._tasks.add(task)  # or nobody would hold it
            task.add_done_callback(self._tasks.discard)
        return await reply

    async def _run(self) -> None:
        try:
            while self._waiting:
                await self._serve()
        finally:
            self._runners -= 1  # at once: who asks after this must start another

    async def _serve(self) -> None:
        if self._limiter is None:  # made inside the event loop that it belongs to
            self._limiter = CapacityLimiter(self._threads)
        share = min(-(-len(self._waiting) // max(1, self._shares - self._calls)), self._most)
        taken, self._waiting = self._waiting[:share], self._waiting[share:]
        batch = [(request, reply) for request, reply in taken if not reply.done()]  # the others' clients have left
        self._calls += 1
        try:
            outcomes = await anyio.to_thread.run_sync(
                self._work, [request for request, _ in batch], limiter=self._limiter
            )
        except Exception as error:
            outcomes = [error] * len(batch)
        finally:
            self._calls -= 1
        for (_, reply), outcome in zip(batch, outcomes, strict=True):
            if reply.done():
                continue
            if isinstance(outcome, Exception):
                reply.set_exception(outcome)
            else:
                reply.set_result(outcome)

"""Who may generate now: so many at once, so many wait, fairly by whose they are, and all others are told to come back.

How many at once follows the engine: half as many when it refuses a generation, then one more for each round of answers
that went well (additive increase, multiplicative decrease: Chiu and Jain, 1989). Where the engine tells what waits
inside of it, our share of that is taken away, and given back by and by once nothing waits.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar

from app.answering.engine_load import EngineLoad
from app.config import AdmissionLimits
from app.errors import TooManyRequests, Unavailable
from app.telemetry import PLACES, REFUSED, RUNNING, WAITING

# Whose request this is: an API key's digest, or an address where no key is needed. A variable of the context, because
# some requests come by way of a library that hands on nothing else.
CALLER: ContextVar[str] = ContextVar("caller", default="")

_SHRINK_PAUSE_SECONDS = 1.0  # those who were refused together are one piece of news
_GROWTH = 1 / 8  # of the places, each time that nothing waits: from 8 to 64 in 20 readings
_MOST_RETRY_AFTER_SECONDS = 60
_NEWEST = 0.2  # the weight of the newest generation in the mean of their seconds


class Admission:
    """The places of one process, and the queues before them."""

    def __init__(self, limits: AdmissionLimits) -> None:
        self._limits = limits
        self._places = float(limits.running)
        self._queues: dict[str, deque[asyncio.Future[None]]] = {}  # by caller; the first in the dict is the next
        self._mean_seconds = 1.0
        self._shrunk_at = -math.inf
        self._is_closed = False
        self.running = 0
        PLACES.inc(limits.running)

    @property
    def waiting(self) -> int:
        return sum(map(len, self._queues.values()))

    @property
    def places(self) -> int:
        """How many may run at once, now."""
        return int(self._places)

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """A place for one generation of the context's caller. Raises `TooManyRequests`; `Unavailable` when closed."""
        await self._enter(CALLER.get())
        started = time.monotonic()
        try:
            yield
        finally:
            self._mean_seconds += _NEWEST * (time.monotonic() - started - self._mean_seconds)
            self._leave()

    def shrink(self) -> None:
        """The engine has refused a generation: it has too much to do."""
        now = time.monotonic()
        if now >= self._shrunk_at + _SHRINK_PAUSE_SECONDS:
            self._shrunk_at = now
            # Half of what it was really given: of places that nobody takes, it knows nothing.
            self._set_places(max(1.0, min(self._places, self.running) / 2))

    def grow(self) -> None:
        """An answer went well."""
        self._add(1 / self._places)

    def follow(self, load: EngineLoad) -> None:
        """The engine has told its load."""
        if not load.waiting:
            self._add(max(1.0, self._places * _GROWTH))
            return
        # What waits there, waits better here, where it is fair. Of what others have sent, others may take theirs away.
        taken = min(self._places, self.running)
        served = load.running / (load.running + load.waiting)
        self._set_places(max(1.0, taken / 2, taken * served))

    def close(self) -> None:
        """Refuse all who wait, and who come."""
        self._is_closed = True
        for queue in self._queues.values():
            for waiter in queue:
                if not waiter.done():
                    waiter.set_exception(_closed())

    async def _enter(self, caller: str) -> None:
        if self._is_closed:
            raise _closed()
        if self.running < self.places and not self._queues:
            self._run(1)
            return
        self._make_room(caller)
        waiter = asyncio.get_running_loop().create_future()
        self._queues.setdefault(caller, deque()).append(waiter)
        WAITING.inc()
        try:
            async with asyncio.timeout(self._limits.seconds):
                await waiter
        except BaseException as error:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._leave()  # let in at the very moment of leaving
            if isinstance(error, TimeoutError):
                raise self._refusal() from None
            raise
        finally:
            WAITING.dec()
            self._forget(caller, waiter)

    def _make_room(self, caller: str) -> None:
        """Where all are waiting who may, whoever has the most of them waiting loses his last."""
        if self.waiting < self._limits.waiting:
            return
        longest = max(self._queues.values(), key=len, default=deque())
        if len(longest) <= len(self._queues.get(caller, ())) + 1:
            raise self._refusal()
        last = longest.pop()
        if not last.done():
            last.set_exception(self._refusal())

    def _leave(self) -> None:
        self._run(-1)
        self._let_in()

    def _let_in(self) -> None:
        """One of each caller in turn."""
        while self._queues and self.running < self.places:
            caller, queue = next(iter(self._queues.items()))
            del self._queues[caller]
            waiter = queue.popleft()
            if queue:
                self._queues[caller] = queue  # at the end
            if not waiter.done():
                self._run(1)
                waiter.set_result(None)

    def _forget(self, caller: str, waiter: asyncio.Future[None]) -> None:
        queue = self._queues.get(caller, deque())
        if waiter in queue:
            queue.remove(waiter)
        if not queue:
            self._queues.pop(caller, None)

    def _refusal(self) -> TooManyRequests:
        REFUSED.inc()
        expected = self._mean_seconds * (self.waiting + 1) / self._places
        return TooManyRequests(retry_after_seconds=max(1, min(_MOST_RETRY_AFTER_SECONDS, math.ceil(expected))))

    def _add(self, places: float) -> None:
        self._set_places(min(float(self._limits.running), self._places + places))
        self._let_in()

    def _run(self, change: int) -> None:
        self.running += change
        RUNNING.inc(change)

    def _set_places(self, places: float) -> None:
        before, self._places = self.places, places
        PLACES.inc(self.places - before)


def _closed() -> Unavailable:
    return Unavailable("The service is shutting down.")

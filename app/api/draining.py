"""The end of a server: not ready from the first signal on, gone when the last request is, or the grace period over."""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType

from starlette.types import ASGIApp, Receive, Scope, Send

logger = logging.getLogger(__name__)

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Draining:
    """Counts the requests that are being answered, and holds the server's end back until there are none."""

    def __init__(self, grace_seconds: float) -> None:
        self._grace_seconds = grace_seconds
        self._requests = 0
        self._idle = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.has_begun = False

    @contextmanager
    def holding_back(self, stop: Callable[[], None]) -> Iterator[None]:
        """Between a signal and the handler that the server has for it. `stop` lets what still runs come to an end.

        A second signal goes to the server at once. In a thread that is not the main one there are no signals.
        """
        before = {}
        if threading.current_thread() is threading.main_thread():
            before = {number: signal.getsignal(number) for number in _SIGNALS}
        loop = asyncio.get_running_loop()

        def on_signal(number: int, frame: FrameType | None) -> None:
            handler = before[signal.Signals(number)]
            assert callable(handler)  # noqa: S101 - others are not replaced
            end = partial(handler, number, None)
            if self.has_begun:
                end()
            else:
                self.has_begun = True
                loop.call_soon_threadsafe(self._begin, stop, end)

        for number, handler in before.items():
            if callable(handler):
                signal.signal(number, on_signal)
        try:
            yield
        finally:
            for number, handler in before.items():
                if callable(handler):
                    signal.signal(number, handler)

    def counting(self, app: ASGIApp) -> ASGIApp:
        """Middleware."""

        async def counted(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                await app(scope, receive, send)
                return
            self._requests += 1
            self._idle.clear()
            try:
                await app(scope, receive, send)
            finally:
                self._requests -= 1
                if not self._requests:
                    self._idle.set()

        return counted

    def _begin(self, stop: Callable[[], None], end: Callable[[], object]) -> None:
        self._task = asyncio.create_task(self._drain(stop, end), name="draining")

    async def _drain(self, stop: Callable[[], None], end: Callable[[], object]) -> None:
        try:
            if self._requests:
                logger.info("shutting down; %d requests may end within %g s", self._requests, self._grace_seconds)
                async with asyncio.timeout(self._grace_seconds):
                    await self._idle.wait()
        except TimeoutError:
            logger.info("the grace period is over; %d requests are ended", self._requests)
        finally:
            stop()
            end()

"""Server-sent events with a heartbeat, and work that ends when its client leaves."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterable
from typing import Any, TypeVar

import anyio
from fastapi import Request
from fastapi.sse import EventSourceResponse

T = TypeVar("T")
Part = bytes | str
EncodeText = Callable[[str], bytes]

# Proxies commonly close what has been silent for 30 or 60 seconds.
HEARTBEAT_SECONDS = 15.0
# For the OpenAPI document: one event of a stream, whose data is JSON (a keyword of 3.2, which older readers pass over).
SERVER_SENT_EVENT: dict[str, Any] = {
    "itemSchema": {
        "type": "object",
        "properties": {"event": {"type": "string"}, "data": {"type": "string", "contentMediaType": "application/json"}},
        "required": ["data"],
    }
}
# Of routes that answer with a stream where they are asked to.
OR_A_STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The whole of it; with `stream`, as server-sent events",
        "content": {"text/event-stream": SERVER_SENT_EVENT},
    }
}
_HEARTBEAT = b": keep-alive\n\n"
_MOST_PARTS = 1000  # ahead of a client that does not read


class ClientLeft(Exception):
    """The client closed the connection; there is nobody to answer."""


def event_stream(events: AsyncGenerator[Part, None], encode_text: EncodeText = str.encode) -> EventSourceResponse:
    """A response of encoded events; closing the connection closes `events` at once.

    A `str` is a piece of text, for `encode_text`: pieces that have come together make one event.
    """
    headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
    return EventSourceResponse(_with_heartbeat(events, encode_text), headers=headers)


async def unless_client_leaves(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, which is cancelled when the client closes the connection. Raises `ClientLeft`.

    A framework cancels a stream whose reader is gone, but lets an ordinary handler run to its end.
    """
    task = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_client_leaves(request))
    try:
        await asyncio.wait({task, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise ClientLeft
    finally:
        for each in (task, leaving):
            each.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await task


async def _client_leaves(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _with_heartbeat(events: AsyncGenerator[Part, None], encode_text: EncodeText) -> AsyncIterator[bytes]:
    """All that is there at a time, as one body part; a heartbeat where there was nothing for long."""
    outbox = _Outbox()
    filling = asyncio.create_task(outbox.fill(events))
    try:
        while not filling.done() or outbox.parts:
            try:
                async with asyncio.timeout(HEARTBEAT_SECONDS):
                    await outbox.filled.wait()
            except TimeoutError:
                yield _HEARTBEAT
                continue
            if parts := outbox.take():
                yield _joined(parts, encode_text)
        filling.result()
    finally:
        # The framework cancels whoever waits here again and again, which would leave what is being closed half open.
        with anyio.CancelScope(shield=True):
            filling.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await filling
            await events.aclose()


class _Outbox:
    """Runs a generator in a task of its own, and keeps what it yields until that is taken."""

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self.filled = asyncio.Event()
        self._taken = asyncio.Event()

    async def fill(self, events: AsyncGenerator[Part, None]) -> None:
        try:
            async for part in events:
                self.parts.append(part)
                self.filled.set()
                if len(self.parts) >= _MOST_PARTS:
                    self._taken.clear()
                    await self._taken.wait()
        finally:
            self.filled.set()

    def take(self) -> list[Part]:
        parts, self.parts = self.parts, []
        self.filled.clear()
        self._taken.set()
        return parts


def _joined(parts: Iterable[Part], encode_text: EncodeText) -> bytes:
    joined, text = b"", ""
    for part in parts:
        if isinstance(part, str):
            text += part
            continue
        joined += (encode_text(text) if text else b"") + part
        text = ""
    return joined + (encode_text(text) if text else b"")


async def first_then_rest(events: AsyncGenerator[T, None]) -> AsyncGenerator[T, None]:
    """Wait for the first event, so that an error before it still gets its own status; then the same stream."""
    first = await anext(events)

    async def stream() -> AsyncGenerator[T, None]:
        async with contextlib.aclosing(events):
            yield first
            async for event in events:
                yield event

    return stream()

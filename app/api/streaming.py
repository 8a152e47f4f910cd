"""Server-sent events with a heartbeat, and work that ends when its client leaves."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from typing import Any, TypeVar

import anyio
from fastapi import Request
from fastapi.sse import EventSourceResponse

T = TypeVar("T")

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
_HEARTBEAT = b": keep-alive\n\n"


class ClientLeft(Exception):
    """The client closed the connection; there is nobody to answer."""


def event_stream(events: AsyncGenerator[bytes, None]) -> EventSourceResponse:
    """A response of encoded events; closing the connection closes `events` at once."""
    headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
    return EventSourceResponse(_with_heartbeat(events), headers=headers)


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


async def _with_heartbeat(events: AsyncGenerator[bytes, None]) -> AsyncIterator[bytes]:
    following: asyncio.Future[bytes] | None = None
    try:
        while True:
            following = following or asyncio.ensure_future(anext(events))
            done, _ = await asyncio.wait({following}, timeout=HEARTBEAT_SECONDS)
            if not done:
                yield _HEARTBEAT
                continue
            try:
                event = following.result()
            except StopAsyncIteration:
                return
            finally:
                following = None
            yield event
    finally:
        # The framework cancels whoever waits here again and again, which would leave what is being closed half open.
        with anyio.CancelScope(shield=True):
            if following is not None:
                following.cancel()
                with contextlib.suppress(asyncio.CancelledError, StopAsyncIteration, Exception):
                    await following
            await events.aclose()


async def first_then_rest(events: AsyncGenerator[T, None]) -> AsyncGenerator[T, None]:
    """Wait for the first event, so that an error before it still gets its own status; then the same stream."""
    first = await anext(events)

    async def stream() -> AsyncGenerator[T, None]:
        async with contextlib.aclosing(events):
            yield first
            async for event in events:
                yield event

    return stream()

"""Server-sent events by themselves: what goes into one part of a body, and how far a generator runs ahead."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import pytest

from app.api import streaming
from app.api.streaming import event_stream

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def body(events: AsyncGenerator[bytes | str, None]) -> Any:
    return aclosing(event_stream(events, lambda text: f"<{text}>".encode()).body_iterator)  # type: ignore[type-var]


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_what_is_there_together_is_sent_together() -> None:
    """Pieces of text that wait for the same moment are one event, in their order with all others."""

    async def events() -> AsyncGenerator[bytes | str, None]:
        for part in (b"(a)", "one ", "two", b"(b)", b"(c)", "three"):
            yield part

    async with body(events()) as parts:
        assert [part async for part in parts] == [b"(a)<one two>(b)(c)<three>"]


async def test_a_piece_waits_for_no_other() -> None:
    """What comes alone is sent alone, at once."""
    gate = asyncio.Event()

    async def events() -> AsyncGenerator[bytes | str, None]:
        yield "one"
        await gate.wait()
        yield "two"

    async with body(events()) as parts:
        assert await anext(parts) == b"<one>"
        gate.set()
        assert await anext(parts) == b"<two>"


async def test_a_slow_reader_holds_the_generator_back() -> None:
    """No more is made ahead of a client than there is room for."""
    made = 0

    async def events() -> AsyncGenerator[bytes | str, None]:
        nonlocal made
        while True:
            made += 1
            yield "x"

    async with body(events()) as parts:
        assert await anext(parts) == b"<" + b"x" * streaming._MOST_PARTS + b">"
        await settle()
        assert made == 2 * streaming._MOST_PARTS


async def test_leaving_closes_the_generator() -> None:
    """Wherever it waits, it is at its end when the stream is."""
    ended = False

    async def events() -> AsyncGenerator[bytes | str, None]:
        nonlocal ended
        try:
            yield "one"
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended = True

    async with body(events()) as parts:
        assert await anext(parts) == b"<one>"
        await settle()
    assert ended


async def test_an_error_comes_behind_what_was_said() -> None:
    """What was made before a generator failed is sent; then the stream fails as it did."""

    async def events() -> AsyncGenerator[bytes | str, None]:
        yield "one"
        raise ZeroDivisionError

    async with body(events()) as parts:
        assert await anext(parts) == b"<one>"
        with pytest.raises(ZeroDivisionError):
            await anext(parts)

"""Requests that wait together are served together, and stay apart in their errors."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest

from app.retrieval.together import Together
from tests.waiting import wait_until

pytestmark = pytest.mark.anyio


class Work:
    """Doubles numbers, fails for negative ones, and waits for as long as it is told to."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, numbers: Sequence[int]) -> list[int | Exception]:
        self.calls.append(list(numbers))
        assert self.gate.wait(20)
        if 0 in numbers:
            raise ZeroDivisionError
        return [number * 2 if number > 0 else ValueError(str(number)) for number in numbers]


async def test_what_came_meanwhile_goes_in_one_call() -> None:
    """While one call runs, the others wait, and then go together, as many as may."""
    work = Work()
    together = Together(work, threads=1, shares=1, most=3)
    work.gate.clear()
    first = asyncio.ensure_future(together.ask(1))
    await asyncio.to_thread(wait_until, lambda: work.calls)
    others = [asyncio.ensure_future(together.ask(number)) for number in range(2, 7)]
    await asyncio.sleep(0)
    work.gate.set()
    assert await asyncio.gather(first, *others) == [2, 4, 6, 8, 10, 12]
    assert work.calls == [[1], [2, 3, 4], [5, 6]]
    assert await together.ask(7) == 14


async def test_free_threads_share_what_waits() -> None:
    """Two threads take half of it each."""
    work = Work()
    together = Together(work, threads=2, shares=2, most=9)
    assert await asyncio.gather(*(together.ask(number) for number in range(1, 7))) == [2, 4, 6, 8, 10, 12]
    assert sorted(work.calls) == [[1, 2, 3], [4, 5, 6]]


async def test_another_thread_is_there_for_what_one_call_may_not_take() -> None:
    """Both run at once; a thread that finds nothing left takes nothing."""
    work = Work()
    together = Together(work, threads=2, shares=1, most=4)
    work.gate.clear()
    asked = [asyncio.ensure_future(together.ask(number)) for number in range(1, 7)]
    await asyncio.to_thread(wait_until, lambda: len(work.calls) == 2)
    work.gate.set()
    assert await asyncio.gather(*asked) == [2, 4, 6, 8, 10, 12]
    assert sorted(work.calls) == [[1, 2, 3, 4], [5, 6]]
    assert await asyncio.gather(*map(together.ask, (7, 8, 9))) == [14, 16, 18]
    assert work.calls[2:] == [[7, 8, 9]]


async def test_everybody_has_an_error_of_their_own() -> None:
    """An error for one request is its own; one of the call is everybody's, and the next call goes on."""
    together = Together(Work(), threads=1, shares=1, most=9)
    outcomes = await asyncio.gather(*map(together.ask, (1, -2, 3)), return_exceptions=True)
    assert (outcomes[0], outcomes[2]) == (2, 6)
    assert isinstance(outcomes[1], ValueError)
    outcomes = await asyncio.gather(*map(together.ask, (1, 0)), return_exceptions=True)
    assert all(isinstance(outcome, ZeroDivisionError) for outcome in outcomes)
    assert await together.ask(4) == 8


async def test_nobody_is_forgotten() -> None:
    """However the askers come and go, each is answered."""
    together = Together(Work(), threads=2, shares=2, most=3)

    async def ask(number: int) -> int:
        await asyncio.sleep(number % 7 / 5000)
        return await together.ask(number)

    async with asyncio.timeout(30):
        for start in range(1, 1000, 100):
            numbers = range(start, start + 100)
            assert await asyncio.gather(*map(ask, numbers)) == [number * 2 for number in numbers]


async def test_who_has_left_is_not_worked_for() -> None:
    """A request whose caller is gone before its turn is left out."""
    work = Work()
    together = Together(work, threads=1, shares=1, most=9)
    work.gate.clear()
    first = asyncio.ensure_future(together.ask(1))
    await asyncio.to_thread(wait_until, lambda: work.calls)
    gone, stays = asyncio.ensure_future(together.ask(2)), asyncio.ensure_future(together.ask(3))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.sleep(0)
    work.gate.set()
    assert await asyncio.gather(first, stays) == [2, 6]
    assert work.calls == [[1], [3]]

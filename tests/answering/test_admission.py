"""Places and queues by themselves: no engine, no server."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from app.answering import admission
from app.answering.admission import CALLER, Admission
from app.answering.engine_load import EngineLoad
from app.config import AdmissionLimits
from app.errors import TooManyRequests, Unavailable

pytestmark = pytest.mark.anyio


class Crowd:
    """Generations that run until they are told to end; `order` has the names of those that were let in."""

    def __init__(self, **limits: Any) -> None:
        self.admission = Admission(AdmissionLimits(**limits))
        self.order: list[str] = []
        self._ends: dict[str, asyncio.Event] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def come(self, *names: str) -> None:
        """`a1` is a request of the caller `a`."""
        for name in names:
            self._ends[name] = asyncio.Event()
            self.tasks[name] = asyncio.create_task(self._generate(name))
            await settle()

    async def _generate(self, name: str) -> None:
        CALLER.set(name[0])
        async with self.admission.place():
            self.order.append(name)
            await self._ends[name].wait()

    async def end(self, *names: str) -> None:
        for name in names:
            self._ends[name].set()
            await settle()

    async def leave(self, name: str) -> None:
        self.tasks[name].cancel()
        await settle()

    def refused(self) -> list[str]:
        failed = [name for name, task in self.tasks.items() if task.done() and not task.cancelled()]
        return [name for name in failed if isinstance(self.tasks[name].exception(), TooManyRequests)]

    def is_empty(self) -> bool:
        return (self.admission.running, self.admission.waiting) == (0, 0)


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_so_many_run_and_so_many_wait() -> None:
    """Beyond that a request is refused at once, with the time after which it may come back."""
    crowd = Crowd(running=2, waiting=1)
    await crowd.come("a1", "a2", "a3", "a4")
    assert crowd.order == ["a1", "a2"]
    assert crowd.refused() == ["a4"]
    error = crowd.tasks["a4"].exception()
    assert isinstance(error, TooManyRequests)
    assert error.retry_after_seconds >= 1
    await crowd.end("a1", "a2", "a3")
    assert crowd.order == ["a1", "a2", "a3"]
    assert crowd.is_empty()


async def test_callers_take_turns() -> None:
    """However many one caller sends, the next place is another's."""
    crowd = Crowd(running=1, waiting=9)
    await crowd.come("a1", "a2", "a3", "a4", "b1", "b2", "c1")
    await crowd.end("a1", "a2", "b1", "c1", "a3", "b2", "a4")
    assert crowd.order == ["a1", "a2", "b1", "c1", "a3", "b2", "a4"]
    assert crowd.is_empty()


async def test_a_flood_does_not_keep_others_out() -> None:
    """Where the queue is full of one caller's requests, his last makes room for another's first."""
    crowd = Crowd(running=1, waiting=3)
    await crowd.come("a1", "a2", "a3", "a4", "b1")
    assert crowd.refused() == ["a4"]
    await crowd.come("b2", "a5")
    assert crowd.refused() == ["a4", "b2", "a5"]
    await crowd.end("a1", "a2", "b1", "a3")
    assert crowd.order == ["a1", "a2", "b1", "a3"]
    assert crowd.is_empty()


async def test_waiting_has_a_deadline() -> None:
    """Who waits for too long is refused, and holds nothing."""
    crowd = Crowd(running=1, waiting=3, seconds=0.05)
    await crowd.come("a1", "a2")
    with pytest.raises(TooManyRequests):
        await crowd.tasks["a2"]
    assert crowd.admission.waiting == 0
    await crowd.end("a1")
    assert crowd.is_empty()


@pytest.mark.parametrize("leave_first", [True, False], ids=["before its turn", "in the moment of its turn"])
async def test_who_leaves_holds_nothing(leave_first: bool) -> None:
    """A request that is cancelled while it waits gives its turn on, also when it has just been given it."""
    crowd = Crowd(running=1, waiting=3)
    await crowd.come("a1", "a2", "a3")
    if leave_first:
        await crowd.leave("a2")
        await crowd.end("a1")
    else:
        crowd.admission._leave()  # a2 has its place, and has not run since
        crowd.tasks["a2"].cancel()
        crowd.admission._run(1)  # a1 is still there
        await settle()
        await crowd.end("a1")
    await crowd.end("a3")
    assert crowd.order == ["a1", "a3"]
    assert crowd.is_empty()


async def test_places_follow_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half as many when it has too much to do, once for all that were refused together; one more a round of answers."""
    now = [0.0]
    monkeypatch.setattr(admission.time, "monotonic", lambda: now[0])
    crowd = Crowd(running=8, waiting=8)
    await crowd.come(*(f"a{number}" for number in range(8)))
    crowd.admission.shrink()
    crowd.admission.shrink()
    assert crowd.admission.places == 4
    now[0] = 1.0
    crowd.admission.shrink()
    assert crowd.admission.places == 2
    await crowd.come("a8")
    await crowd.end(*(f"a{number}" for number in range(6)))
    assert "a8" not in crowd.order
    crowd.admission.grow()
    crowd.admission.grow()
    assert crowd.admission.places == 2
    crowd.admission.grow()
    assert crowd.admission.places == 3
    await settle()
    assert "a8" in crowd.order
    for _ in range(100):
        crowd.admission.grow()
    assert crowd.admission.places == 8
    await crowd.end("a6", "a7", "a8")
    assert crowd.is_empty()


async def test_one_place_is_always_left() -> None:
    """However often the engine refuses, one generation at a time is tried."""
    crowd = Crowd(running=1, waiting=1)
    crowd.admission.shrink()
    await crowd.come("a1")
    assert crowd.order == ["a1"]
    await crowd.end("a1")


async def test_the_end_is_told_to_all() -> None:
    """When the service shuts down, who waits is told, and nobody is let in any more; who runs goes on."""
    crowd = Crowd(running=1, waiting=3)
    await crowd.come("a1", "a2")
    crowd.admission.close()
    await crowd.come("a3")
    for name in ("a2", "a3"):
        with pytest.raises(Unavailable, match="shutting down"):
            await crowd.tasks[name]
    assert not crowd.tasks["a1"].done()
    await crowd.end("a1")
    assert crowd.is_empty()


async def test_what_waits_in_the_engine_waits_here_instead() -> None:
    """Our share of what waits inside of the engine is taken away, by half at most at a time; one place is left."""
    crowd = Crowd(running=8, waiting=8)
    await crowd.come(*(f"a{number}" for number in range(8)))
    crowd.admission.follow(EngineLoad(running=6, waiting=2))
    assert crowd.admission.places == 6
    crowd.admission.follow(EngineLoad(running=6, waiting=600))
    assert crowd.admission.places == 3
    for _ in range(3):
        crowd.admission.follow(EngineLoad(running=0, waiting=5))
    assert crowd.admission.places == 1
    await crowd.end(*(f"a{number}" for number in range(8)))
    assert crowd.is_empty()


async def test_places_come_back_while_nothing_waits_in_the_engine() -> None:
    """One by one at first, up to what the settings allow, and who waits is let in."""
    crowd = Crowd(running=16, waiting=8)
    await crowd.come("a1", "a2")
    crowd.admission.follow(EngineLoad(running=1, waiting=9))
    await crowd.come("a3")
    assert crowd.admission.places == 1
    crowd.admission.follow(EngineLoad(running=2, waiting=0))
    crowd.admission.follow(EngineLoad(running=2, waiting=0))
    await settle()
    assert (crowd.admission.places, crowd.order) == (3, ["a1", "a2", "a3"])
    for _ in range(30):
        crowd.admission.follow(EngineLoad(running=3, waiting=0))
    assert crowd.admission.places == 16
    await crowd.end("a1", "a2", "a3")
    assert crowd.is_empty()

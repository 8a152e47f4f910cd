"""The engine's own word on how much it has to do, and what comes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack

import httpx
import pytest

from app.answering import engine_load
from app.answering.engine_load import EngineLoad, read_load
from app.types import Passage
from tests.answering.samples import make_generator
from tests.answering.test_generation import collect, task
from tests.fake_engine import FakeEngine, vllm_metrics

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_load, "PERIOD_SECONDS", 0.02)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - nobody there to set an event
            await asyncio.sleep(0.005)


def readings(engine: FakeEngine) -> int:
    return engine.paths.count("/metrics")


async def test_vllms_gauges() -> None:
    """The two gauges are found among all the others; those of several engines of one server are added."""
    assert read_load(vllm_metrics(3, 5)) == EngineLoad(3, 5)
    assert read_load(vllm_metrics(3, 5) + vllm_metrics(1, 0).replace('engine="0"', 'engine="1"')) == EngineLoad(4, 5)


@pytest.mark.parametrize(
    "metrics",
    [
        "",
        "<html>",
        "process_open_fds 9.0\n",
        'vllm:num_requests_waiting{engine="0"} 1.0\n',
        *[vllm_metrics(1, 1).replace("1.0", value) for value in ("NaN", "+Inf", "many", "")],
    ],
)
async def test_what_is_no_load(metrics: str) -> None:
    """A text without both gauges, or with values that count nothing, tells no load."""
    assert read_load(metrics) is None


async def test_places_follow_what_waits_in_the_engine(engine: FakeEngine, client: httpx.AsyncClient) -> None:
    """While the engine has requests waiting, whosever they are, we send fewer; then more again, up to all."""
    generator = make_generator(engine, client, admission={"running": 8})
    async with AsyncExitStack() as stack:
        for _ in range(8):
            await stack.enter_async_context(generator.place())
        engine.load = (2, 14)
        await until(lambda: generator.admission.places == 1)
        engine.load = (2, 0)
        await until(lambda: generator.admission.places == 8)


async def test_what_waits_for_one_step_is_no_queue(engine: FakeEngine, client: httpx.AsyncClient) -> None:
    """Every request waits for a moment: what one reading alone has seen waiting takes no place away."""
    loads = iter([EngineLoad(4, 4), EngineLoad(8, 0), EngineLoad(5, 3), EngineLoad(5, 2)])
    told: list[EngineLoad] = []

    async def read() -> EngineLoad | None:
        return next(loads, None)

    with engine_load.LoadWatch(read, told.append).working():
        await until(lambda: len(told) == 4)
    assert told == [EngineLoad(4, 0), EngineLoad(8, 0), EngineLoad(5, 0), EngineLoad(5, 2)]


async def test_an_engine_without_metrics_is_asked_once(
    engine: FakeEngine, client: httpx.AsyncClient, passages: list[Passage]
) -> None:
    """Then its refusals and its answers are all that places follow."""
    generator = make_generator(engine, client, admission={"running": 4})
    async with generator.place():
        await until(lambda: readings(engine))
        before = readings(engine)
        generator.admission.shrink()
        for _ in range(4):
            await collect(generator, task(passages))
        assert generator.admission.places == 3  # 1, and one for each round: of one answer, then of two
    assert readings(engine) == before == 1


async def test_metrics_that_fail_are_read_again(engine: FakeEngine, client: httpx.AsyncClient) -> None:
    """An engine that is out of reach for a moment is asked again; nobody's request notices."""
    engine.load = (1, 0)
    generator = make_generator(engine, client, admission={"running": 2})
    async with generator.place():
        await until(lambda: readings(engine))
        port = engine.port
        engine.stop()
        await until(lambda: not generator._watch.is_informed)
        engine.start(port)
        before = readings(engine)
        await until(lambda: readings(engine) > before)


async def test_nobody_asks_while_there_is_no_work(engine: FakeEngine, client: httpx.AsyncClient) -> None:
    """The reading begins with the first generation and ends with the last."""
    generator = make_generator(engine, client)
    assert not watchers()
    async with generator.place():
        async with generator.place():
            await until(watchers)
        assert len(watchers()) == 1
    await until(lambda: not watchers())


def watchers() -> list[str]:
    return [task.get_name() for task in asyncio.all_tasks() if task.get_name() == "engine load"]

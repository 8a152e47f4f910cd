"""What is asked again, how often, and when no more."""

from __future__ import annotations

import asyncio
import time

import httpx
import pytest

from app.answering.answerer import AskRequest
from app.answering.breaker import Breaker, State
from app.answering.openai_generator import OpenAIGenerator
from app.errors import GenerationFailed, GenerationInterrupted
from app.types import Passage
from tests.answering.samples import make_answerer, make_collection, make_generator, make_settings
from tests.answering.test_generation import collect, said_before_failing, task
from tests.fake_engine import RESET, STALL, FakeEngine, Reply, answer, broken, calling, delta, refusal, words

pytestmark = pytest.mark.anyio

TEXT = "It opened in 1932. [2]"


@pytest.mark.parametrize(
    "reply",
    [Reply([RESET], status=None), Reply([RESET]), Reply([delta(""), RESET]), refusal(502, "bad"), refusal(503, "full")],
    ids=["reset", "reset after headers", "reset after a chunk of nothing", "502", "503"],
)
async def test_a_moment_of_weakness(
    engine: FakeEngine, client: httpx.AsyncClient, passages: list[Passage], reply: Reply
) -> None:
    """What breaks before the first token is asked again, and nobody notices."""
    engine.script(reply, reply, answer(TEXT))
    assert (await collect(make_generator(engine, client), task(passages)))[0] == TEXT
    assert len(engine.requests) == 3


@pytest.mark.parametrize(
    ("reply", "requests"),
    [
        (refusal(503, "full"), 3),
        (refusal(500, "bug"), 1),
        (refusal(400, "no"), 1),
        (refusal(401, "who?"), 1),
        (refusal(429, "slow down"), 1),
        (Reply([STALL]), 1),
    ],
    ids=["503", "500", "400", "401", "429", "silence"],
)
async def test_retries_have_a_bound(
    engine: FakeEngine, client: httpx.AsyncClient, passages: list[Passage], reply: Reply, requests: int
) -> None:
    """Two more tries, where another one may help at all."""
    engine.default = lambda body: reply
    generator = make_generator(engine, client, llm_timeouts={"first_token_seconds": 1.0})
    with pytest.raises(GenerationFailed):
        await collect(generator, task(passages))
    assert len(engine.requests) == requests


async def test_never_after_the_first_token(
    engine: FakeEngine, client: httpx.AsyncClient, passages: list[Passage]
) -> None:
    """What has been said is not said again, nor thought again."""
    engine.script(broken("It opened "), Reply([delta(reasoning="hm"), RESET]))
    generator = make_generator(engine, client)
    assert await said_before_failing(generator, task(passages)) == "It opened "
    with pytest.raises(GenerationFailed):
        await collect(generator, task(passages))
    assert len(engine.requests) == 2


async def test_no_retry_beyond_the_first_tokens_time(
    engine: FakeEngine, client: httpx.AsyncClient, passages: list[Passage]
) -> None:
    """A pause that would end too late is not begun."""
    engine.default = lambda body: Reply([0.15, b"full"], status=503)
    generator = make_generator(engine, client, llm_timeouts={"first_token_seconds": 0.2})
    with pytest.raises(GenerationFailed):
        await collect(generator, task(passages))
    assert len(engine.requests) == 1


async def test_an_endless_answer(engine: FakeEngine, client: httpx.AsyncClient, passages: list[Passage]) -> None:
    """An answer that goes on and on is ended when the time for a generation is over."""
    engine.script(Reply([step for number in range(200) for step in (delta(f"Number {number}. "), 0.02)]))
    generator = make_generator(engine, client, llm_timeouts={"total_seconds": 0.4})
    with pytest.raises(GenerationInterrupted, match="did not come to an end in time"):
        await collect(generator, task(passages))
    engine.wait_for(lambda: engine.left == 1)


async def test_side_calls_are_within_the_first_tokens_time(client: httpx.AsyncClient, passages: list[Passage]) -> None:
    """A server that takes connections and says nothing at all costs the time to the first token, once."""

    async def nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.read(-1)
        finally:
            writer.close()

    silent = await asyncio.start_server(nothing, "127.0.0.1", 0)
    async with silent:
        url = f"http://127.0.0.1:{silent.sockets[0].getsockname()[1]}/v1"
        settings = make_settings(llm_base_url=url, llm_timeouts={"first_token_seconds": 0.3})
        generator = OpenAIGenerator(client, settings)
        started = time.monotonic()
        with pytest.raises(GenerationFailed, match="in time"):
            await collect(generator, task(passages))
        assert time.monotonic() - started < 1.3  # the timeout + 1 s


async def test_a_slow_reader_is_not_the_engines_fault(
    engine: FakeEngine, client: httpx.AsyncClient, passages: list[Passage]
) -> None:
    """The time between two tokens does not run while the reader has not taken the last one."""
    engine.script(Reply([*words("It opened in 1932."), 0.1, *words(" [2]"), delta(finish="stop")]))
    generator = make_generator(engine, client, llm_timeouts={"token_seconds": 0.7})
    text = ""
    async for part in generator.generate(task(passages), {}):
        text += part if isinstance(part, str) else ""
        await asyncio.sleep(0.8 if text == "It " else 0)
    assert text == TEXT


async def test_a_dead_engine_is_left_alone_and_found_again(
    engine: FakeEngine, client: httpx.AsyncClient, passages: list[Passage]
) -> None:
    """While it rests, answers are extractive without a request to it; one probe brings the model back."""
    generator = make_generator(engine, client)
    clock = [0.0]
    generator.breaker = Breaker(most_failures=2, rest_seconds=5, clock=lambda: clock[0])
    answerer, _ = make_answerer(passages, generator, answer_threshold=0)
    request = AskRequest("When did the bridge open?")
    collection = make_collection()
    engine.stop()
    for _ in range(2):
        assert (await answerer.answer(request, collection=collection)).degraded
    assert generator.breaker.state is State.OPEN
    engine.start(engine.port)
    asked = len(engine.paths)
    resting = await answerer.answer(request, collection=collection)
    assert (resting.degraded, len(engine.paths)) == (True, asked)
    clock[0] = 5.0
    engine.script(Reply([0.2, *answer(TEXT).steps]))
    probe, *others = await asyncio.gather(*(answerer.answer(request, collection=collection) for _ in range(8)))
    assert not probe.degraded
    assert all(other.degraded for other in others)
    assert len(engine.requests) == 1
    assert not (await answerer.answer(request, collection=collection)).degraded


async def test_turns_and_short_texts_count_too(
    engine: FakeEngine, client: httpx.AsyncClient, passages: list[Passage]
) -> None:
    """An agent's turns and rewrites open the breaker, obey it, and close it."""
    generator = make_generator(engine, client)
    clock = [0.0]
    generator.breaker = Breaker(most_failures=2, rest_seconds=5, clock=lambda: clock[0])
    engine.default = lambda body: refusal(500, "bug")
    for _ in range(2):
        with pytest.raises(GenerationFailed, match="bug"):
            await generator.turn([{"role": "user", "content": "x"}], max_tokens=5, seconds=5)
    with pytest.raises(GenerationFailed, match="is not asked"):
        await generator.window(None)
    with pytest.raises(GenerationFailed, match="is not asked"):
        await collect(generator, task(passages))
    assert len(engine.requests) == 2
    clock[0] = 5.0
    engine.script(calling(("search", {"query": "dome"})))
    await generator.turn([{"role": "user", "content": "x"}], max_tokens=5, seconds=5)
    assert generator.breaker.state is State.CLOSED

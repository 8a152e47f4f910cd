"""The OpenAI-compatible client against a real server on loopback that does as it is told."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing, suppress
from typing import Any

import httpx
import pytest

from app.answering.evidence import read_passages
from app.answering.generation import Completion, Task
from app.answering.openai_generator import OpenAIGenerator
from app.errors import GenerationFailed, GenerationInterrupted, InvalidRequest, ModelNotFound
from app.types import Passage, Sampling, Usage
from tests.answering.samples import make_generator, make_settings
from tests.fake_engine import DONE, RESET, STALL, FakeEngine, Reply, answer, broken, delta, event, refusal, usage, words

pytestmark = pytest.mark.anyio

TEXT = "It opened in 1932. [2] 它于1932年通车。[2]"


def task(passages: list[Passage], **changes: Any) -> Task:
    return Task(question="When did the bridge open?", evidence=read_passages(passages), **changes)


async def collect(generator: OpenAIGenerator, task: Task) -> tuple[str, Completion]:
    """The whole text, and the completion, which must come last."""
    async with aclosing(generator.generate(task, {})) as parts:
        *texts, completion = [part async for part in parts]
    assert isinstance(completion, Completion)
    return "".join(str(text) for text in texts), completion


async def said_before_failing(generator: OpenAIGenerator, task: Task) -> str:
    said = ""
    try:
        async for part in generator.generate(task, {}):
            said += str(part)
    except GenerationInterrupted:
        return said
    raise AssertionError("it was not interrupted")


async def test_an_answer_streams(engine: FakeEngine, client: httpx.AsyncClient, passages: list[Passage]) -> None:
    """Text comes piece by piece, usage and finish reason at the end, the timings of the stages beside it."""
    engine.script(answer(TEXT))
    timings: dict[str, float] = {}
    parts = [part async for part in make_generator(engine, client).generate(task(passages), timings)]
    assert "".join(str(part) for part in parts[:-1]) == TEXT
    assert len(parts) > 5
    assert parts[-1] == Completion("fake", Usage(11, 7), "stop")
    assert timings.keys() == {"prompt", "first_token", "generate"}


@pytest.mark.parametrize("packet_bytes", [1, 2, 7])
async def test_packets_may_be_cut_anywhere(
    engine: FakeEngine, client: httpx.AsyncClient, passages: list[Passage], packet_bytes: int
) -> None:
    """Events and UTF-8 characters survive being split over packets."""
    engine.script(answer(TEXT + "\u2028\x85", packet_bytes=packet_bytes))
    assert (await collect(make_generator(engine, client), task(passages)))[0] == TEXT + "\u2028\x85"


async def test_reasoning_is_not_answer(engine: FakeEngine, client: httpx.AsyncClient, passages: list[Passage]) -> None:
    """Neither the `reasoning` field nor a leading `<think>` block gets into the answer."""
    engine.script(answer(TEXT, reasoning="Let me see"), answer(f"<think>Let me see.</think>\n\n{TEXT}"))
    engine.script(Reply([delta(reasoning_content="hm"), *words("<b>bold</b>"), delta(finish="stop"), DONE]))
    generator = make_generator(engine, client)
    assert [(await collect(generator, task(passages)))[0] for _ in range(3)] == [TEXT, TEXT, "<b>bold</b>"]


async def test_thinking_keeps_the_stream_alive(
    engine: FakeEngine, client: httpx.AsyncClient, passages: list[Passage]
) -> None:
    """A model that thinks for longer than the first token may take is not given up, as long as it goes on thinking."""
    thoughts = [step for _ in range(8) for step in (delta(reasoning="hm"), 0.1)]
    engine.script(Reply([*thoughts, *words(TEXT), delta(finish="stop"), DONE]))
    generator = make_generator(engine, client, llm_timeouts={"first_token_seconds": 0.4, "token_seconds": 0.4})
    assert (await collect(generator, task(passages)))[0] == TEXT


async def test_rubbish_is_skipped(engine: FakeEngine, client: httpx.AsyncClient, passages: list[Passage]) -> None:
    """Comments, lines that are no JSON, and chunks of an unknown shape do no harm."""
    rubbish = [b": ping\n\n", b"id: 7\n", event("{not json"), event([1]), event({"choices": [None]}), event({"x": 1})]
    engine.script(Reply([*rubbish, *words(TEXT), *rubbish, delta(finish="stop"), usage(), DONE]))
    assert (await collect(make_generator(engine, client), task(passages)))[0] == TEXT


async def test_an_end_without_done(engine: FakeEngine, client: httpx.AsyncClient, passages: list[Passage]) -> None:
    """Without `[DONE]` an answer is whole if it gave a reason to finish, and was interrupted if it did not."""
    engine.script(Reply([*words(TEXT), delta(finish="length"), usage()]), Reply(words(TEXT)))
    generator = make_generator(engine, client)
    assert await collect(generator, task(passages)) == (TEXT, Completion("fake", Usage(11, 7), "length"))
    assert await said_before_failing(generator, task(passages)) == TEXT


@pytest.mark.parametrize(
    "reply",
    [
        broken("It opened ", RESET),
        broken("It opened ", STALL),
        Reply([*words("It opened "), event({"error": {"message": "EngineDeadError"}}), DONE]),
        Reply([*words("It opened "), b": ping\n\n", STALL]),
    ],
    ids=["reset", "stall", "error inside a 200", "heartbeat and stall"],
)
async def test_interrupted_after_the_first_token(
    engine: FakeEngine, client: httpx.AsyncClient, passages: list[Passage], reply: Reply
) -> None:
    """What goes wrong after the first token is an interruption, and what was said stays said."""
    engine.script(reply)
    generator = make_generator(engine, client, llm_timeouts={"token_seconds": 0.2})
    assert (await said_before_failing(generator, task(passages))).strip() == "It opened"


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (Reply([RESET], status=None), "broke"),
        (Reply([STALL], status=None), "in time"),
        (Reply([STALL]), "in time"),
        (Reply([0.05, b": ping\n\n"] * 40), "in time"),
        (Reply([RESET]), "broke"),
        (Reply([event({"error": {"message": "EngineDeadError"}}), DONE]), "EngineDeadError"),
        (Reply([event({"object": "error", "message": "out of memory"})]), "out of memory"),
        (Reply([delta(reasoning="hm"), delta(finish="stop"), DONE]), "empty"),
        (Reply([event("rubbish")]), "broke off"),
        (Reply([]), "broke off"),
        (Reply([b"<html>"], 502, "text/html"), "502"),
        (refusal(503, "queue is full"), "queue is full"),
        (refusal(401, "who are you"), "API key"),
        (refusal(400, "no chat template"), "no chat template"),
    ],
)
async def test_failed_before_the_first_token(
    engine: FakeEngine, client: httpx.AsyncClient, passages: list[Passage], reply: Reply, message: str
) -> None:
    """What goes wrong before the first token is a failure with a reason, not an interruption."""
    engine.default = lambda body: reply
    seconds = 0.3 if message == "in time" else 20.0  # a busy machine is slow, too
    generator = make_generator(engine, client, llm_timeouts={"first_token_seconds": seconds})
    with pytest.raises(GenerationFailed, match=message) as caught:
        await collect(generator, task(passages))
    assert not isinstance(caught.value, GenerationInterrupted)


async def test_nobody_listens(engine: FakeEngine, client: httpx.AsyncClient, passages: list[Passage]) -> None:
    """A server that is gone is a failure; once it is back, the same generator works again."""
    generator = make_generator(engine, client)
    engine.stop()
    with pytest.raises(GenerationFailed, match="could not be reached"):
        await collect(generator, task(passages))
    engine.start(engine.port)
    assert (await collect(generator, task(passages)))[0]


async def test_sampling_passes_through(engine: FakeEngine, client: httpx.AsyncClient, passages: list[Passage]) -> None:
    """Every sampling parameter reaches the server; nothing that was not asked for does."""
    generator = make_generator(engine, client)
    extra = {"top_k": 5, "min_p": 0.1, "repetition_penalty": 1.1, "seed": 7, "stream": False}
    await collect(generator, task(passages, sampling=Sampling(0.2, 0.9, 64, ("END",), extra)))
    await collect(generator, task(passages))
    sent, bare = engine.requests
    assert sent | {"messages": []} == {
        "model": "fake", "messages": [], "stream": True, "stream_options": {"include_usage": True},
        "temperature": 0.2, "top_p": 0.9, "max_tokens": 64, "stop": ["END"],
        "top_k": 5, "min_p": 0.1, "repetition_penalty": 1.1, "seed": 7,
    }  # fmt: skip
    assert bare.keys() == {"model", "messages", "stream", "stream_options"}


async def test_any_text_can_be_sent(engine: FakeEngine, client: httpx.AsyncClient, passages: list[Passage]) -> None:
    """Half a surrogate pair in a parameter is passed on as JSON allows, and breaks nothing."""
    await collect(make_generator(engine, client), task(passages, sampling=Sampling(stop=("\ud800",))))
    assert engine.requests[0]["stop"] == ["\ud800"]


@pytest.mark.parametrize(
    "reply",
    [
        refusal(400, "temperature must be non-negative"),
        Reply([delta("", role="assistant"), event({"error": {"message": "not non-negative", "code": 400}}), DONE]),
    ],
    ids=["by its status", "in its stream, as vLLM does it"],
)
async def test_bad_parameters_are_the_callers(
    engine: FakeEngine, client: httpx.AsyncClient, passages: list[Passage], reply: Reply
) -> None:
    """A rejection of a request with sampling parameters, or of a model by name, is an error of the request, however
    often it is made; it is no failure of the engine's."""
    generator = make_generator(engine, client)
    for _ in range(10):
        engine.script(reply)
        with pytest.raises(InvalidRequest, match="non-negative"):
            await collect(generator, task(passages, sampling=Sampling(temperature=-1)))
    with pytest.raises(ModelNotFound):
        await collect(generator, task(passages, model="other"))


async def test_the_model_is_chosen(engine: FakeEngine, client: httpx.AsyncClient, passages: list[Passage]) -> None:
    """The request's model, else the settings', else the first that the server lists."""
    engine.models = ("first", "second", "third")
    await collect(make_generator(engine, client, llm_model="second"), task(passages, model="third"))
    await collect(make_generator(engine, client, llm_model="second"), task(passages))
    await collect(make_generator(engine, client), task(passages))
    assert [request["model"] for request in engine.requests] == ["third", "second", "first"]


async def test_an_adapter_has_the_window_of_its_model(engine: FakeEngine, client: httpx.AsyncClient) -> None:
    """vLLM lists adapters with their parent and no window."""
    engine.models, engine.adapters, engine.context_tokens = ("base",), ("legal",), 2000
    generator = make_generator(engine, client)
    assert await generator.window("legal") == await generator.window("base") == 2000


@pytest.mark.parametrize(
    "reply",
    [Reply([STALL], status=None), Reply([STALL]), Reply([delta(reasoning="hm"), STALL]), broken("", STALL)],
    ids=["before headers", "before the first token", "while thinking", "before the first word"],
)
async def test_cancelling_frees_the_engine(
    engine: FakeEngine, client: httpx.AsyncClient, passages: list[Passage], reply: Reply
) -> None:
    """Whoever is cancelled while waiting for the first word has hung up on the server at once."""
    engine.script(reply)
    waiting = asyncio.create_task(collect(make_generator(engine, client), task(passages)))
    await asyncio.to_thread(engine.wait_for, lambda: len(engine.requests) == 1)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await asyncio.to_thread(engine.wait_for, lambda: engine.left == 1 and engine.open == 0)


async def test_closing_frees_the_engine(engine: FakeEngine, client: httpx.AsyncClient, passages: list[Passage]) -> None:
    """Whoever stops reading in mid-stream has hung up on the server at once."""
    engine.script(broken("It opened ", STALL))
    async with aclosing(make_generator(engine, client).generate(task(passages), {})) as parts:
        assert await anext(parts) == "It "
    await asyncio.to_thread(engine.wait_for, lambda: engine.left == 1 and engine.open == 0)


async def test_one_connection_serves_many_answers(client: httpx.AsyncClient, passages: list[Passage]) -> None:
    """A stream is read to its very end, so that the next answer need not connect again."""
    connections = 0
    chunks = [*words(TEXT), delta(finish="stop"), DONE]
    stream = b"".join(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n" for chunk in chunks) + b"0\r\n\r\n"
    head = b"HTTP/1.1 200 -\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    models = json.dumps({"data": [{"id": "fake", "max_model_len": 4096}]}).encode()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        with suppress(asyncio.IncompleteReadError):
            while True:
                request = (await reader.readuntil(b"\r\n\r\n")).lower()
                if request.startswith(b"get"):
                    writer.write(b"HTTP/1.1 200 -\r\nContent-Length: %d\r\n\r\n" % len(models) + models)
                else:
                    await reader.readexactly(int(request.partition(b"content-length: ")[2].split()[0]))
                    writer.write(head + stream)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        generator = OpenAIGenerator(client, make_settings(llm_base_url=url))
        for _ in range(3):
            assert (await collect(generator, task(passages)))[0] == TEXT
        assert connections == 1
        await client.aclose()


async def test_an_answer_ends_where_it_says_so(
    engine: FakeEngine, client: httpx.AsyncClient, passages: list[Passage]
) -> None:
    """A server that leaves the body open behind `[DONE]` is not waited for."""
    engine.script(Reply([*words(TEXT), delta(finish="stop"), DONE, STALL]))
    assert (await collect(make_generator(engine, client), task(passages)))[0] == TEXT
    await asyncio.to_thread(engine.wait_for, lambda: engine.open == 0)

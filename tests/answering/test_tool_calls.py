"""Streamed tool calls: however a server cuts them, the same calls come out."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest

from app.answering.breaker import State
from app.answering.chat_stream import CallPiece
from app.answering.generation import ToolCall, TurnTooSlow
from app.answering.tool_calls import CallCollector, arguments_of
from app.errors import GenerationFailed, InvalidRequest
from app.types import Sampling, Usage
from tests.answering.samples import make_generator
from tests.fake_engine import DONE, STALL, FakeEngine, Reply, broken, calling, delta, tool_call, usage

pytestmark = pytest.mark.anyio

ARGUMENTS = {"query": "圆顶 “dome”\n\u2028"}
MESSAGES = [{"role": "user", "content": "?"}]


def collected(*pieces: CallPiece) -> tuple[ToolCall, ...]:
    collector = CallCollector()
    for piece in pieces:
        collector.add([piece])
    return collector.collected()


def test_pieces_become_calls() -> None:
    """By their numbers, also when two calls are streamed at once."""
    assert collected(
        CallPiece(0, "a", "search", ""),
        CallPiece(1, "b", "read", '{"x"'),
        CallPiece(0, None, None, '{"q":'),
        CallPiece(1, None, None, ":2}"),
        CallPiece(0, None, None, "1}"),
    ) == (ToolCall("a", "search", '{"q":1}'), ToolCall("b", "read", '{"x":2}'))


def test_servers_that_number_nothing() -> None:
    """A piece with a name and another id begins a call; a piece without a name goes on with the last."""
    assert collected(
        CallPiece(None, "a", "search", '{"q":1}'),
        CallPiece(None, None, "read", '{"x"'),
        CallPiece(None, None, None, ":2}"),
    ) == (ToolCall("a", "search", '{"q":1}'), ToolCall("call_1", "read", '{"x":2}'))
    assert collected() == ()


def test_calls_without_end() -> None:
    """Neither very many calls nor very long arguments are kept."""
    many = collected(*(CallPiece(at, f"c{at}", "search", "x" * 9000) for at in range(99) for _ in range(9)))
    assert len(many) == 16
    assert max(len(call.arguments) for call in many) == 20_000


@pytest.mark.parametrize("text", ["{", "[]", "null", '"a"', "[" * 20_000, "NaN", "\ud800"])
def test_arguments_that_are_no_object(text: str) -> None:
    """They are refused with words for the model."""
    with pytest.raises(InvalidRequest, match="JSON"):
        arguments_of(ToolCall("a", "search", text))
    assert arguments_of(ToolCall("a", "search", "")) == {}


async def turn(engine: FakeEngine, client: httpx.AsyncClient, **changes: Any) -> Any:
    generator = make_generator(engine, client, **changes)
    return await generator.turn(MESSAGES, max_tokens=50, seconds=20, sampling=Sampling(temperature=0.5), tools=[{}])


async def test_a_turn_has_a_time_limit(engine: FakeEngine, client: httpx.AsyncClient) -> None:
    """An engine that thinks for longer is freed; that says nothing against it."""
    engine.default = lambda body: Reply([STALL])
    generator = make_generator(engine, client)
    for _ in range(6):
        with pytest.raises(TurnTooSlow, match="in time"):
            await generator.turn(MESSAGES, max_tokens=50, seconds=0.02)
    assert generator.breaker.state is State.CLOSED
    await asyncio.to_thread(engine.wait_for, lambda: engine.open == 0)


async def test_a_turn_with_calls(engine: FakeEngine, client: httpx.AsyncClient) -> None:
    """Calls, the text before them, usage and reason; thoughts are no text. The request is OpenAI's own."""
    engine.script(calling(("search", ARGUMENTS), ("read", {"passage": 1}), text="<think>Hm.</think> I look."))
    said = await turn(engine, client)
    assert [(call.name, json.loads(call.arguments)) for call in said.calls] == [
        ("search", ARGUMENTS),
        ("read", {"passage": 1}),
    ]
    assert (said.text, said.usage, said.finish_reason) == ("I look.", Usage(11, 7), "tool_calls")
    (sent,) = engine.requests
    assert (sent["tools"], sent["tool_choice"], sent["max_tokens"], sent["temperature"]) == ([{}], "auto", 50, 0.5)


async def test_a_call_in_one_piece(engine: FakeEngine, client: httpx.AsyncClient) -> None:
    """Some servers send a call whole, its arguments as an object, and null where there is nothing."""
    whole = {"id": "x", "type": "function", "function": {"name": "search", "arguments": {"query": "dome"}}}
    odd: list[Any] = [None, {"function": None}, {"index": "0", "function": {"name": 7, "arguments": None}}]
    engine.script(Reply([delta(None, tool_calls=[whole]), delta(tool_calls=odd), delta(tool_calls="no"), DONE]))
    said = await turn(engine, client)
    assert said.calls[0] == ToolCall("x", "search", '{"query": "dome"}')


async def test_calls_are_a_sign_of_life(engine: FakeEngine, client: httpx.AsyncClient) -> None:
    """A model that writes arguments is not silent; one that stops in the middle of them is."""
    pieces = tool_call("search", {"query": "dome"}, pieces=10)
    slowly = [step for piece in pieces for step in (0.05, piece)]
    engine.script(Reply([*slowly, delta(finish="tool_calls"), usage(), DONE]), Reply([*pieces[:3], STALL]))
    limits = {"llm_timeouts": {"first_token_seconds": 0.4, "token_seconds": 0.4}}
    assert len((await turn(engine, client, **limits)).calls) == 1
    with pytest.raises(GenerationFailed, match="went silent"):
        await turn(engine, client, **limits)


async def test_a_turn_that_breaks_off(engine: FakeEngine, client: httpx.AsyncClient) -> None:
    """Half a turn is no turn."""
    engine.script(broken("I look"))
    with pytest.raises(GenerationFailed):
        await turn(engine, client)

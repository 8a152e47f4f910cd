"""Follow-ups made to stand alone, by their words and by the language model."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import httpx
import pytest

from app.answering import rewriting
from app.answering.generation import Turn
from app.answering.rewriting import carry_over, rewrite, stands_alone
from app.errors import GenerationFailed
from app.types import Message, Usage
from tests.answering.samples import make_generator
from tests.fake_engine import STALL, FakeEngine, Reply, answer, refusal

BRIDGE = ("When did the harbour bridge open?", "It opened in 1932. [2]")
DOME = ("圆顶什么时候关闭？", "圆顶在风速超过15米时关闭。[1]")


def talk(*texts: str) -> tuple[Message, ...]:
    """Questions and answers in turn."""
    return tuple(Message("assistant" if at % 2 else "user", text) for at, text in enumerate(texts))


@pytest.mark.parametrize(
    ("said", "question", "carried"),
    [
        (BRIDGE, "And when?", {"harbour", "bridge"}),
        (BRIDGE, "How much did it cost?", {"harbour", "bridge", "cost"}),
        (
            (*BRIDGE, "How much did it cost?", "4 million. [2]"),
            "And who designed it?",
            {"harbour", "bridge", "designed"},
        ),
        (("Who wrote Tosca?", "Giacomo Puccini wrote it. [1]"), "When was he born?", {"Puccini", "born"}),
        (("What was the revenue in 2018?", "3 million. [1]"), "And in 2019?", {"revenue", "2019"}),
        (
            ("How long is the warranty of the X200?", "2 years. [1]"),
            "Does that cover the battery?",
            {"X200", "battery"},
        ),
        (DOME, "为什么？", {"圆顶", "关闭"}),
        (DOME, "它有多重？", {"圆顶", "多重"}),
        (("谁设计了港口大桥？", "港口大桥由李明设计。[1]"), "他是哪里人？", {"李明", "港口大桥"}),
        (("北京的人口是多少？", "2189万。[1]"), "上海呢？", {"人口", "上海"}),
    ],
)
def test_what_a_follow_up_leans_on_is_carried_over(said: Sequence[str], question: str, carried: set[str]) -> None:
    """Pronouns and ellipses take the words and names of the turns before along, in both languages."""
    query = carry_over(question, talk(*said))
    assert query.endswith(question)
    assert not [word for word in carried if word not in query]


@pytest.mark.parametrize(
    ("said", "question", "gone"),
    [
        (("What was the revenue in 2018?", "3 million. [1]"), "And in 2019?", "2018"),
        (("What is the population of France?", "68 million. [1]"), "What about Germany?", "France"),
    ],
)
def test_what_a_follow_up_replaces_is_left_behind(said: Sequence[str], question: str, gone: str) -> None:
    """A new number or name takes the place of the old one."""
    assert gone not in carry_over(question, talk(*said))


@pytest.mark.parametrize(
    "question",
    [
        "How many points did the Panthers defense give up?",
        "Is it possible to open the dome at night?",
        "Which documents do I need to borrow an instrument?",
        "When did the bridge open and who paid for it?",
        "黑豹队的防守丢了多少分？",
        "借用仪器需要哪些文件？",
    ],
)
def test_a_question_that_stands_alone_is_left_alone(question: str) -> None:
    """Words of an old subject would only lead the search astray."""
    assert stands_alone(question)
    assert carry_over(question, talk(*BRIDGE)) == question


def test_without_a_conversation_nothing_changes() -> None:
    """The first question has nothing to lean on."""
    assert carry_over("And when?", ()) == "And when?"
    assert carry_over("And when?", (Message("system", "Be brief."),)) == "And when?"


@pytest.mark.anyio
async def test_the_language_model_rewrites(engine: FakeEngine, client: httpx.AsyncClient) -> None:
    """It is shown the turns before, without markers, and its one line is taken."""
    engine.script(answer('Question: "When was the harbour bridge built?"'))
    query, spent = await rewrite("And when?", talk(*BRIDGE), make_generator(engine, client))
    assert (query, spent) == ("When was the harbour bridge built?", Usage(11, 7))
    (sent,) = engine.requests
    assert sent["max_tokens"] <= 200
    assert sent["messages"][-1]["content"].splitlines() == [
        "User: When did the harbour bridge open?",
        "Assistant: It opened in 1932.",
        "Last question: And when?",
    ]


@pytest.mark.anyio
@pytest.mark.parametrize(
    "reply", [refusal(503, "busy"), answer("Sure!\nHere is it:\nWhen?"), answer("It opened in 1932. [1]"), answer(" ")]
)
async def test_what_the_model_fails_at_the_words_do(
    engine: FakeEngine, client: httpx.AsyncClient, reply: Reply
) -> None:
    """A model that is down, or that answers instead of rewriting, costs no search."""
    engine.script(reply)
    query, _ = await rewrite("And when?", talk(*BRIDGE), make_generator(engine, client))
    assert query == carry_over("And when?", talk(*BRIDGE))


@pytest.mark.anyio
async def test_rewriting_has_a_time_limit(
    engine: FakeEngine, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that thinks for too long is not waited for, and is freed."""
    monkeypatch.setattr(rewriting, "_SECONDS", 0.05)
    engine.script(Reply([STALL]))
    query, _ = await rewrite("And when?", talk(*BRIDGE), make_generator(engine, client))
    assert "bridge" in query
    await asyncio.to_thread(engine.wait_for, lambda: engine.open == 0)


class _Unasked:
    async def turn(self, messages: Sequence[Mapping[str, Any]], **options: Any) -> Turn:
        raise GenerationFailed("It should not have been asked.")


@pytest.mark.anyio
async def test_a_clear_question_costs_no_call() -> None:
    """A question that says all by itself is not shown to the model."""
    question = "How many points did the Panthers defense give up?"
    assert await rewrite(question, talk(*BRIDGE), _Unasked()) == (question, Usage())

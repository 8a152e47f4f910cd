"""A model that repeats itself is ended; lists, tables and numbers are not taken for it."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.answering.answerer import AskRequest
from app.answering.events import Delta, Done
from app.answering.repetition import LoopGuard
from app.types import Passage, Sampling
from tests.answering.samples import make_answerer, make_collection, make_generator
from tests.fake_engine import STALL, FakeEngine, Reply, words

BEGINNING = "The harbour bridge opened in 1932 and took eight years to build. [2] "
LOOP = "It is the widest bridge of the whole country and of its neighbours. [2] "
CHINESE_LOOP = "该桥是全国最宽的桥，也是最长的桥。[2]"


def guarded(text: str, *, hold_all: bool = False, size: int = 3) -> tuple[str, bool]:
    """What a guard passes on of a text that comes in pieces, and whether it ended it."""
    guard = LoopGuard(hold_all=hold_all)
    passed = ""
    for at in range(0, len(text), size):
        passed += guard.add(text[at : at + size])
        if guard.is_looping:
            break
    return passed + guard.finish(), guard.is_looping


@pytest.mark.parametrize(
    "loop",
    [
        LOOP,
        CHINESE_LOOP,
        "the ",
        "no, ",
        "哈",
        "1, ",
        "one two ",
        "\n",
        "-",
        "ha",
        "- It is wide.\n- It is long.\n",
        "公司的市场竞争力，公司的市场占有率，",
    ],
)
def test_a_loop_is_ended(loop: str) -> None:
    """A sentence, a word, a number, a line break: without end, it is noticed within a few thousand characters."""
    said, is_looping = guarded(BEGINNING + loop * 3000)
    assert is_looping
    assert said.startswith(BEGINNING.strip())
    assert len(said) < 4000


@pytest.mark.parametrize("loop", [LOOP, CHINESE_LOOP])
def test_one_copy_is_left(loop: str) -> None:
    """Whoever does not read along gets the text with one copy; who does has read little more than that."""
    assert guarded(BEGINNING + loop * 50, hold_all=True) == ((BEGINNING + loop).strip(), True)
    said, _ = guarded(BEGINNING + loop * 50)
    assert said.count(loop.strip()) == 1
    assert len(said) < len(BEGINNING) + 2 * len(loop)


ITEMS = ["Ann Lee", "Bo Chan", "Cy Dunn", "Di Eng", "Ed Fox", "Fay Gu", "Gus Ho", "Hal Ito", "Ida Jo", "Jon Ko"]


@pytest.mark.parametrize(
    "text",
    [
        "\n".join(f"- {name} is a director of the company and was elected by its owners last year." for name in ITEMS),
        "\n".join(f"{n}. Press the button and wait until the lamp on the front goes out." for n in range(1, 40)),
        "| part | state |\n|---|---|\n" + "| yes | yes |\n" * 60,
        "Name\tDone\n" + "yes\tyes\n" * 60,
        " ".join("0" for _ in range(150)),
        " ".join(str(n) for n in range(2000)),
        "Row, row, row your boat, gently down the stream. Merrily, merrily, merrily, merrily, life is but a dream.",
        "，".join(f"{name}是公司董事，由股东大会选举产生" for name in ("甲方", "乙方", "丙方", "丁方", "戊方")),
        "=" * 500,
        LOOP + LOOP,
    ],
)
def test_what_only_looks_like_a_loop(text: str) -> None:
    """Lists with like items, tables with equal cells, rows of numbers and a refrain come through whole."""
    for hold_all in (False, True):
        assert guarded(text, hold_all=hold_all) == (text, False)


@given(st.text(max_size=300), st.integers(1, 20), st.booleans())
def test_nothing_is_lost_or_added(text: str, size: int, hold_all: bool) -> None:
    """What is passed on is the text, or a beginning of it where it was ended."""
    said, is_looping = guarded(text, hold_all=hold_all, size=size)
    assert text.startswith(said) if is_looping else said == text


@pytest.mark.anyio
@pytest.mark.parametrize("streamed", [True, False])
async def test_an_answer_in_a_loop_ends_cleanly(
    engine: FakeEngine, client: httpx.AsyncClient, passages: list[Passage], streamed: bool
) -> None:
    """The answer is what was said so far, with its citations and a reason, and the engine's slot is free at once."""
    engine.script(Reply([*words(BEGINNING + LOOP * 20), STALL]))
    answerer, _ = make_answerer(passages, make_generator(engine, client))
    request = AskRequest("When did the harbour bridge open?", streamed=streamed)
    events = [event async for event in answerer.ask(request, collection=make_collection())]
    assert isinstance(events[-1], Done)
    answer = events[-1].answer
    assert "".join(event.text for event in events if isinstance(event, Delta)) == answer.text
    assert answer.text.startswith(BEGINNING)
    assert answer.text.count(LOOP.strip()) == 1
    assert streamed or answer.text == (BEGINNING + LOOP).strip()
    assert (answer.finish_reason, answer.model, answer.citations[0].marker) == ("repetition", "fake", 2)
    assert "repeated itself" in (answer.reason or "")
    await asyncio.to_thread(engine.wait_for, lambda: engine.left == 1 and engine.open == 0)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("own", "asked", "sent"),
    [
        ({}, {}, {}),
        ({"temperature": 0.2, "stop": ["END"]}, {}, {"temperature": 0.2, "stop": ["END"]}),
        ({"extra": {"repetition_penalty": 1.1, "top_k": 5}}, {"extra": {"top_k": 9}},
         {"repetition_penalty": 1.1, "top_k": 9}),
        ({"temperature": 0.2, "top_p": 0.5}, {"temperature": 0.0}, {"temperature": 0.0, "top_p": 0.5}),
        (None, {"max_tokens": 7}, {"max_tokens": 7}),
    ],
)  # fmt: skip
async def test_sampling_of_a_collection(
    engine: FakeEngine,
    client: httpx.AsyncClient,
    passages: list[Passage],
    own: dict[str, Any] | None,
    asked: dict[str, Any],
    sent: dict[str, Any],
) -> None:
    """A collection's sampling reaches the engine; what a request says wins, field by field."""
    answerer, _ = make_answerer(passages, make_generator(engine, client))
    request = AskRequest("When did the harbour bridge open?", sampling=Sampling(**asked))
    await answerer.answer(request, collection=make_collection(sampling=own))
    (body,) = engine.requests
    assert {name: body[name] for name in body.keys() - {"model", "messages", "stream", "stream_options"}} == sent

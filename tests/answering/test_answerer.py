"""From a question to a checked answer: events, fallbacks, honesty."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import httpx
import pytest

from app.answering.answerer import Answerer, AskRequest
from app.answering.events import CitationFound, Delta, Done, Event, Failed, Sources
from app.config import DEFAULT_EMBEDDING_MODEL
from app.errors import GenerationInterrupted, InvalidRequest, ModelNotFound
from app.types import Answer, Message, Mode, Passage, Strategy, Support, Usage
from tests.answering.samples import CHINESE, make_answerer, make_collection, make_generator, passage
from tests.fake_engine import STALL, FakeEngine, Reply, answer, broken, refusal

pytestmark = pytest.mark.anyio

BRIDGE_QUESTION = "When did the harbour bridge open?"


async def ask(answerer: Answerer, question: str, settings: dict[str, Any] | None = None, **request: Any) -> list[Event]:
    collection = make_collection(**(settings or {}))
    return [event async for event in answerer.ask(AskRequest(question, **request), collection=collection)]


def finished(events: list[Event]) -> Answer:
    assert isinstance(events[-1], Done)
    return events[-1].answer


async def test_an_extractive_answer(passages: list[Passage]) -> None:
    """Without a language model the passages' own sentences answer, each with a citation."""
    events = await ask(make_answerer(passages)[0], "How many points did the Panthers defense give up?")
    result = finished(events)
    assert events[0] == Sources(tuple(passages))
    assert "".join(e.text for e in events if isinstance(e, Delta)) == result.text
    assert "308 points" in result.text
    assert tuple(e.citation for e in events if isinstance(e, CitationFound)) == result.citations
    assert (result.mode, result.model, result.answerable, result.degraded) == (Mode.EXTRACT, "extractive", True, False)
    assert {s.support for s in result.sentences} == {Support.SUPPORTED}
    assert result.timings_ms.keys() >= {"embed", "search", "generate", "verify"}
    assert result.id.startswith("ans_")


async def test_a_generated_answer(engine: FakeEngine, client: httpx.AsyncClient, passages: list[Passage]) -> None:
    """With a language model its words are streamed, and checked against what they cite."""
    engine.script(answer("It opened in 1932. [2] It cost 9 million pounds. [2]"))
    answerer, _ = make_answerer(passages, make_generator(engine, client))
    result = await answerer.answer(AskRequest(BRIDGE_QUESTION, conversation_id="cnv_1"), collection=make_collection())
    assert [s.support for s in result.sentences] == [Support.SUPPORTED, Support.UNSUPPORTED]
    assert [c.quote for c in result.citations] == ["The harbour bridge opened in 1932.", passages[1].text[35:]]
    assert (result.mode, result.model, result.usage.total_tokens) == (Mode.GENERATE, "fake", 18)
    assert result.conversation_id == "cnv_1"


async def test_an_answer_from_a_neighbour(
    engine: FakeEngine, client: httpx.AsyncClient, passages: list[Passage]
) -> None:
    """The model reads passages with their neighbours, and may quote from these; extraction has what was found."""

    def widen(found: Passage) -> Passage:
        text = f"{found.text} The toll ended in 1988."
        return replace(found, text=text, end=found.start + len(text))

    engine.script(answer("The toll ended in 1988. [2]"))
    answerer, _ = make_answerer(passages, make_generator(engine, client), widen=widen)
    result = await answerer.answer(AskRequest("When did the toll end?"), collection=make_collection())
    assert [s.support for s in result.sentences] == [Support.SUPPORTED]
    (citation,) = result.citations
    assert citation.quote == "The toll ended in 1988."
    assert citation.start == passages[1].end + 1
    assert result.passages[1].text.endswith("1988.")
    extracted = await answerer.answer(AskRequest(BRIDGE_QUESTION, mode=Mode.EXTRACT), collection=make_collection())
    assert extracted.passages == tuple(passages)


async def test_citations_come_with_their_sentence(
    engine: FakeEngine, client: httpx.AsyncClient, passages: list[Passage]
) -> None:
    """A citation is sent as soon as the next sentence begins, not at the end."""
    engine.script(broken("It opened in 1932. [2] Then nothing ", STALL))
    answerer, _ = make_answerer(passages, make_generator(engine, client))
    async with aclosing(answerer.ask(AskRequest(BRIDGE_QUESTION), collection=make_collection())) as events:
        async for event in events:
            if isinstance(event, CitationFound):
                break
    assert event.citation is not None
    assert (event.citation.marker, event.sentence.support) == (2, Support.SUPPORTED)
    await asyncio.to_thread(engine.wait_for, lambda: engine.left == 1 and engine.open == 0)


async def test_the_model_is_down(engine: FakeEngine, client: httpx.AsyncClient, passages: list[Passage]) -> None:
    """A failure before the first word is answered extractively, and said so."""
    engine.script(refusal(500, "out of memory"))
    result = finished(await ask(make_answerer(passages, make_generator(engine, client))[0], BRIDGE_QUESTION))
    assert (result.degraded, result.mode, result.answerable) == (True, Mode.EXTRACT, True)
    assert "1932" in result.text
    assert "out of memory" in (result.reason or "")


async def test_the_model_dies(engine: FakeEngine, client: httpx.AsyncClient, passages: list[Passage]) -> None:
    """A failure after the first word ends with what was said so far, checked; the plain call raises it."""
    engine.script(broken("It opened in 1932. [2] It"), broken("It opened"))
    answerer, _ = make_answerer(passages, make_generator(engine, client))
    *_, last = await ask(answerer, BRIDGE_QUESTION)
    assert isinstance(last, Failed)
    assert isinstance(last.error, GenerationInterrupted)
    assert last.answer_so_far.text.startswith("It opened in 1932. [2] It")
    assert [c.marker for c in last.answer_so_far.citations] == [2]
    with pytest.raises(GenerationInterrupted):
        await answerer.answer(AskRequest(BRIDGE_QUESTION), collection=make_collection())


@pytest.mark.parametrize(
    ("question", "text"),
    [
        ("Who wrote the opera Tosca?", "Your documents do not say."),
        ("普契尼什么时候写了歌剧？", "您的文档中没有提到。"),
    ],
)
async def test_an_honest_no(question: str, text: str) -> None:
    """Where the passages do not answer, that is said in the question's language, with the nearest passages."""
    nearest = [passage(CHINESE, lexical=0.3, dense=0.1), passage("Ships unload.", number=2, lexical=0.2, dense=0.1)]
    result = finished(await ask(make_answerer(nearest)[0], question))
    assert (result.text, result.answerable, result.citations, result.sentences) == (text, False, (), ())
    assert result.reason
    assert result.confidence < 0.5
    assert result.passages == tuple(nearest)


async def test_nothing_to_answer_from(engine: FakeEngine, client: httpx.AsyncClient) -> None:
    """An empty collection answers no question, and the language model is not asked."""
    result = finished(await ask(make_answerer([], make_generator(engine, client))[0], BRIDGE_QUESTION))
    assert (result.answerable, result.confidence) == (False, 0.0)
    assert engine.requests == []
    assert not finished(await ask(make_answerer([passage("…")])[0], "Why?", {"answer_threshold": 0.0})).answerable


@pytest.mark.parametrize(
    "text",
    [
        "Your documents do not say.",
        "The passages do not mention when the bridge was painted. [2]",
        "There is no information about this in the provided documents.",
        "I cannot find the answer in the given context.",
        "The colour is not mentioned in the passages.",
        "您的文档中没有提到。",
        "根据提供的资料，文中并未说明大桥的颜色。[1]",
        "无法根据提供的段落回答这个问题。",
    ],
)
async def test_the_model_says_no(
    engine: FakeEngine, client: httpx.AsyncClient, passages: list[Passage], text: str
) -> None:
    """A language model's own "not in the passages" is recognised, and cites nothing."""
    engine.script(answer(text))
    events = await ask(make_answerer(passages, make_generator(engine, client))[0], BRIDGE_QUESTION)
    result = finished(events)
    assert (result.answerable, result.citations) == (False, ())
    assert not any(isinstance(event, CitationFound) for event in events)


@pytest.mark.parametrize(
    "text",
    [
        "It opened in 1932. [2] The passages do not mention who built it.",
        "The documents do not say who built it. It opened in 1932. [2]",
        "The report does not give a date, but the bridge opened in 1932. [2]",
        "The ship did not dock in 1932. [2]",
        "大桥没有在1931年通车。[2]",
    ],
)
async def test_half_an_answer_is_an_answer(
    engine: FakeEngine, client: httpx.AsyncClient, passages: list[Passage], text: str
) -> None:
    """An answer that says something with a citation is an answer, whatever else it leaves open."""
    engine.script(answer(text))
    result = finished(await ask(make_answerer(passages, make_generator(engine, client))[0], BRIDGE_QUESTION))
    assert result.answerable
    assert [c.marker for c in result.citations] == [2]


async def test_modes(engine: FakeEngine, client: httpx.AsyncClient, passages: list[Passage]) -> None:
    """Extraction can be asked for where a model is configured; a model cannot where there is none."""
    answerer, _ = make_answerer(passages, make_generator(engine, client))
    assert finished(await ask(answerer, BRIDGE_QUESTION, mode=Mode.EXTRACT)).mode is Mode.EXTRACT
    assert engine.requests == []
    with pytest.raises(InvalidRequest):
        await ask(make_answerer(passages)[0], BRIDGE_QUESTION, mode=Mode.GENERATE)


async def test_a_cut_answer_says_so(engine: FakeEngine, client: httpx.AsyncClient, passages: list[Passage]) -> None:
    """An answer that ran into the limit of tokens is marked as cut off."""
    engine.script(answer("It opened in", finish="length"))
    result = finished(await ask(make_answerer(passages, make_generator(engine, client))[0], BRIDGE_QUESTION))
    assert "cut off" in (result.reason or "")


async def test_a_collection_has_its_own_ways(
    engine: FakeEngine, client: httpx.AsyncClient, passages: list[Passage]
) -> None:
    """A collection's prompt, examples and threshold are used."""
    settings = {
        "system_prompt": "Answer like a pirate.",
        "examples": [{"question": "Where is the gold?", "answer": "In the hold. [1]"}],
    }
    await ask(make_answerer(passages, make_generator(engine, client))[0], BRIDGE_QUESTION, settings)
    (sent,) = engine.requests
    assert [m["role"] for m in sent["messages"]] == ["system", "user", "assistant", "user"]
    assert sent["messages"][0]["content"].startswith("Answer like a pirate.")
    assert not finished(await ask(make_answerer(passages)[0], BRIDGE_QUESTION, {"answer_threshold": 1.0})).answerable


async def test_a_collection_has_its_own_model(
    engine: FakeEngine, client: httpx.AsyncClient, passages: list[Passage]
) -> None:
    """An adapter of the server's, for a request that names no model; the dry run counts with it."""
    engine.models, engine.adapters = ("fake", "other"), ("legal",)
    answerer, _ = make_answerer(passages, make_generator(engine, client))
    await ask(answerer, BRIDGE_QUESTION, {"model": "legal"})
    await ask(answerer, BRIDGE_QUESTION, {"model": "legal"}, model="other")
    await ask(answerer, BRIDGE_QUESTION)
    assert [sent["model"] for sent in engine.requests] == ["legal", "other", "fake"]
    preview = await answerer.preview(AskRequest(BRIDGE_QUESTION), collection=make_collection(model="legal"))
    assert preview.model == "legal"


async def test_a_collections_model_that_is_not_served(
    engine: FakeEngine, client: httpx.AsyncClient, passages: list[Passage]
) -> None:
    """Who asks cannot help it and gets an answer without a model, and the reason; a model of one's own is refused."""
    answerer, _ = make_answerer(passages, make_generator(engine, client))
    history = (Message("user", "Who built it?"), Message("assistant", "A company. [1]"))
    result = finished(await ask(answerer, BRIDGE_QUESTION, {"model": "gone", "strategy": "agent"}, history=history))
    assert (result.degraded, result.mode, result.answerable) == (True, Mode.EXTRACT, True)
    assert "'gone'" in (result.reason or "")
    assert engine.requests == []
    preview = await answerer.preview(AskRequest(BRIDGE_QUESTION), collection=make_collection(model="gone"))
    assert (preview.model, preview.is_exact) == (None, False)
    with pytest.raises(ModelNotFound):
        await ask(answerer, BRIDGE_QUESTION, {"model": "gone"}, model="nope")


async def test_history_reaches_the_model(
    engine: FakeEngine, client: httpx.AsyncClient, passages: list[Passage]
) -> None:
    """Earlier turns are in the prompt, and what is searched for is the question as the model makes it stand alone."""
    history = (Message("user", "Who built the harbour bridge?"), Message("assistant", "A company. [1]"))
    engine.script(answer("When was the harbour bridge built?"), answer("It opened in 1932. [2]"))
    answerer, retriever = make_answerer(passages, make_generator(engine, client))
    result = finished(await ask(answerer, "And when?", history=history))
    assert retriever.queries == ["When was the harbour bridge built?"]
    assert "rewrite" in result.timings_ms
    assert result.usage == Usage(22, 14)  # of both
    assert engine.requests[1]["messages"][1]["content"] == "Who built the harbour bridge?"
    assert engine.requests[1]["messages"][-1]["content"].endswith("And when?")


@pytest.mark.parametrize(
    ("question", "reply"),
    [
        (BRIDGE_QUESTION, answer("It opened in 1932. [2]")),
        (BRIDGE_QUESTION, broken("It opened in 1932. [2] It")),
        (BRIDGE_QUESTION, None),
        ("When did the harbour bridge open and who led the team in sacks?", None),
    ],
    ids=["generated", "broken off", "extracted", "in parts"],
)
async def test_every_answer_is_weighed(
    engine: FakeEngine, client: httpx.AsyncClient, passages: list[Passage], question: str, reply: Reply | None
) -> None:
    """However it comes to its end, its confidence rests on sentences that were compared with the question."""
    answerer, retriever = make_answerer(passages, make_generator(engine, client) if reply else None)
    collection = replace(make_collection(strategy="multi"), embedding_model=DEFAULT_EMBEDDING_MODEL)
    request = AskRequest(question, strategy=Strategy.SINGLE if reply else None)
    found = []
    for retriever.likeness in (0.9, 0.1):
        if reply is not None:
            engine.script(reply)
        *_, last = [event async for event in answerer.ask(request, collection=collection)]
        assert isinstance(last, Done | Failed)
        found.append(last.answer.confidence if isinstance(last, Done) else last.answer_so_far.confidence)
    assert found[0] > found[1] > 0


async def test_explanations(passages: list[Passage]) -> None:
    """`explain` adds what the confidence rests on to what the search explains."""
    result = finished(await ask(make_answerer(passages)[0], BRIDGE_QUESTION, explain=True))
    assert result.explain is not None
    assert result.explain["confidence"]["features"].keys() >= {"lexical_lead", "dense"}
    assert finished(await ask(make_answerer(passages)[0], BRIDGE_QUESTION)).explain is None

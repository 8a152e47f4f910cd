"""Conversations that are stored: long ones, parallel ones, broken ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import httpx
import pytest

from app.answering.answerer import AskRequest
from app.answering.archive import Archive
from app.answering.dialogue import Dialogue
from app.answering.events import Delta
from app.errors import Conflict, ConversationNotFound, GenerationInterrupted
from app.store import conversations
from app.store.answers import GivenAnswer, Place, store_answer
from app.store.collections import create_collection, get_collection
from app.store.conversations import Conversation, find_conversation, get_conversation, read_turns
from app.store.database import Database
from app.store.feedback import count_answers
from app.types import Collection, Mode, Passage
from tests.answering.samples import BRIDGE, make_answerer, make_generator, passage
from tests.fake_engine import STALL, FakeEngine, answer, broken, last_message
from tests.store.answers import given
from tests.store.library import NOW

pytestmark = pytest.mark.anyio

QUESTION = "When did the harbour bridge open?"


@asynccontextmanager
async def dialogue(
    database: Database,
    passages: list[Passage],
    engine: FakeEngine | None = None,
    client: httpx.AsyncClient | None = None,
) -> AsyncIterator[Dialogue]:
    generator = make_generator(engine, client) if engine and client else None
    answerer = make_answerer(passages, generator)[0]
    async with Dialogue(answerer=answerer, database=database, writer=generator) as talk:
        yield talk


@pytest.fixture
def collection(database: Database) -> Collection:
    with database.read() as connection:
        return get_collection(connection, "default")


def read(database: Database, conversation_id: str) -> Conversation | None:
    with database.read() as connection:
        return find_conversation(connection, conversation_id)


def questions(database: Database, conversation_id: str) -> list[str]:
    with database.read() as connection:
        return [turn.answer.question for turn in read_turns(connection, conversation_id)]


def fill(database: Database, collection: Collection, conversation_id: str, *said: tuple[str, str]) -> None:
    """Turns as they would have been stored."""
    with database.write() as connection:
        for number, (question, text) in enumerate(said):
            place = Place(collection.id, conversation_id, begins=number == 0)
            store_answer(connection, given(f"ans_{conversation_id}_{number}", question=question, text=text), place)


async def test_an_unknown_id_begins_a_conversation(
    database: Database, collection: Collection, passages: list[Passage]
) -> None:
    """Its turns are stored with the last event, and the next question knows them."""
    async with dialogue(database, passages) as talk:
        await talk.answer(AskRequest(QUESTION, conversation_id="mine"), collection=collection)
        found = read(database, "mine")
        assert found is not None
        assert (found.title, found.turns) == (QUESTION, 1)
        result = await talk.answer(AskRequest("And what did it cost?", conversation_id="mine"), collection=collection)
    assert result.conversation_id == "mine"
    assert "4.2 million" in result.text
    assert questions(database, "mine") == [QUESTION, "And what did it cost?"]


async def test_two_hundred_turns_fit_and_turn_one_is_recalled(
    engine: FakeEngine, client: httpx.AsyncClient, database: Database, collection: Collection
) -> None:
    """At turn 201 the prompt fits a small window, and holds the words of turn 1 beside the newest turns."""
    lamps = [
        (f"How many lamps hang in corridor {n}?", f"There are {n} lamps in it, all of them lit.") for n in range(2, 201)
    ]
    fill(database, collection, "long", ("My telescope is called Aldebaran.", "Your documents do not say."), *lamps)
    engine.context_tokens = 3000
    engine.script(answer("What is the name of my telescope?"), answer("Your telescope is called Aldebaran."))
    async with dialogue(database, [passage(BRIDGE)], engine, client) as talk:
        request = AskRequest("What was the name of my telescope again?", conversation_id="long")
        result = await talk.answer(request, collection=collection)
    assert not result.degraded
    assert result.text == "Your telescope is called Aldebaran."
    prompt = next(body for body in engine.requests if "BEGIN 1" in last_message(body))
    assert engine.tokens(prompt) <= 3000
    assert "My telescope is called Aldebaran." in last_message(prompt)
    assert "corridor 200" in str(prompt["messages"][1:-1])
    assert "corridor 50?" not in str(prompt["messages"])
    found = read(database, "long")
    assert found is not None
    assert found.turns == 201


async def test_a_long_conversation_is_summarised(
    engine: FakeEngine, client: httpx.AsyncClient, database: Database, collection: Collection
) -> None:
    """After an answer the turns that are no longer new go into a summary, which the next prompt holds."""
    engine.context_tokens = 8000
    fill(database, collection, "long", *[(f"Where is lamp number {n}?", f"In corridor {n}.") for n in range(1, 31)])
    engine.default = lambda body: answer("The user asked where lamps are.")
    async with dialogue(database, [passage(BRIDGE)], engine, client) as talk:
        await talk.answer(AskRequest(QUESTION, conversation_id="long"), collection=collection)
        await asyncio.gather(*talk.summaries)
        found = read(database, "long")
        assert found is not None
        assert found.summary == "The user asked where lamps are."
        assert 20 <= found.summarised_turns < 31
        await talk.answer(AskRequest(QUESTION, conversation_id="long"), collection=collection)
    assert "The user asked where lamps are." in last_message(engine.requests[-1])


async def test_parallel_questions_lose_no_turn(
    database: Database, collection: Collection, passages: list[Passage]
) -> None:
    """Questions that are asked at once, also the very first ones, each become a turn."""
    asked = [f"{QUESTION[:-1]} ({n})?" for n in range(12)]
    async with dialogue(database, passages) as one, dialogue(database, passages) as other:
        await asyncio.gather(
            *(
                (one, other)[n % 2].answer(AskRequest(question, conversation_id="busy"), collection=collection)
                for n, question in enumerate(asked)
            )
        )
    assert sorted(questions(database, "busy")) == sorted(asked)
    with database.read() as connection:
        assert [turn.turn for turn in read_turns(connection, "busy")] == list(range(1, 13))


async def test_what_a_reader_saw_of_a_broken_answer_is_kept(
    engine: FakeEngine, client: httpx.AsyncClient, database: Database, collection: Collection
) -> None:
    """An answer that broke off, or whose reader left, is a partial turn; one that nobody saw is none."""
    engine.script(broken("It opened in 1932. [1] It"), broken("It opened in", STALL), broken("It"))
    async with dialogue(database, [passage(BRIDGE)], engine, client) as talk:
        request = AskRequest(QUESTION, conversation_id="broken")
        async with aclosing(talk.ask(request, collection=collection)) as events:
            [event async for event in events]
        async with aclosing(talk.ask(AskRequest(QUESTION, conversation_id="left"), collection=collection)) as events:
            async for event in events:
                if isinstance(event, Delta):
                    break
        with pytest.raises(GenerationInterrupted):
            await talk.answer(AskRequest(QUESTION, conversation_id="unseen"), collection=collection)
        await talk.archive.settle()
    with database.read() as connection:
        (whole,) = read_turns(connection, "broken")
        (left,) = read_turns(connection, "left")
        assert whole.answer.is_partial
        assert whole.answer.text.startswith("It opened in 1932. [1]")
        assert left.answer.is_partial
        assert left.answer.text.startswith("It")
        assert find_conversation(connection, "unseen") is None


async def test_a_deleted_conversation_does_not_come_back(
    engine: FakeEngine, client: httpx.AsyncClient, database: Database, collection: Collection
) -> None:
    """A turn that is on its way while its conversation is deleted is not stored."""
    fill(database, collection, "gone", (QUESTION, "In 1932."))
    engine.script(answer("When did the harbour bridge open?"), answer("It opened in 1932. [1]"))
    async with dialogue(database, [passage(BRIDGE)], engine, client) as talk:
        async with aclosing(talk.ask(AskRequest(QUESTION, conversation_id="gone"), collection=collection)) as events:
            await anext(events)
            await talk.forget("gone")
            [event async for event in events]
        with pytest.raises(ConversationNotFound):
            await talk.forget("gone")
    assert read(database, "gone") is None


async def test_a_conversation_is_about_one_collection(
    database: Database, collection: Collection, passages: list[Passage]
) -> None:
    """Another collection's question does not get into it."""
    fill(database, collection, "mine", (QUESTION, "In 1932."))
    with database.write() as connection:
        other = create_collection(connection, "other", {}, NOW)
    async with dialogue(database, passages) as talk:
        with pytest.raises(Conflict):
            await talk.answer(AskRequest(QUESTION, conversation_id="mine"), collection=other)


@pytest.mark.parametrize("days", [None, 0])
async def test_answers_outside_of_conversations(database: Database, passages: list[Passage], days: int | None) -> None:
    """They are kept, unless the collection keeps none; leaving the archive waits until they are written."""
    with database.write() as connection:
        kept = create_collection(connection, "kept", {"keep_answers_days": days}, NOW)
    async with dialogue(database, passages) as talk:
        for _ in range(3):
            await talk.answer(AskRequest(QUESTION), collection=kept)
    with database.read() as connection:
        assert count_answers(connection, kept.id, 0).total == (0 if days == 0 else 3)


async def test_an_answer_that_cannot_be_kept_is_given_all_the_same(
    database: Database, collection: Collection, passages: list[Passage], monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    """One that the database refuses is logged, and does not take others along."""
    broken_ids: list[str] = []

    def refuse(connection: Any, answer: GivenAnswer, place: Place) -> None:
        if answer.question == "bad":
            broken_ids.append(answer.id)
            raise ValueError("no room")
        store_answer(connection, answer, place)

    monkeypatch.setattr("app.answering.archive.store_answer", refuse)
    async with Archive(database) as archive:
        for question in ("good", "bad", "fine"):
            archive.keep(given(f"ans_{question}", question=question), Place(collection.id, "c", begins=True))
    assert questions(database, "c") == ["good", "fine"]
    assert "ans_bad" in caplog.text
    assert broken_ids


def test_modes_are_kept(database: Database, collection: Collection) -> None:
    """What is read back is what was given."""
    fill(database, collection, "one", (QUESTION, "In 1932."))
    with database.read() as connection:
        (turn,) = conversations.read_turns(connection, "one")
        assert turn.answer.mode is Mode.EXTRACT
        assert get_conversation(connection, "one").collection == "default"

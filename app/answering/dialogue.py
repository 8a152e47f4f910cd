"""Answers within conversations: what was said before is read from the store, what is said now is kept there."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Self

from anyio import to_thread

from app.answering.answerer import Answerer, AskRequest, outcome, whole_answer
from app.answering.archive import Archive
from app.answering.events import CitationFound, Delta, Done, Event, Failed, FunctionsCalled
from app.answering.generation import Writer
from app.answering.memory import SUMMARY_TOKENS, messages_of, summary_request, usable_summary
from app.answering.window import Preview, count_message
from app.errors import Conflict, GenerationFailed
from app.store.answers import GivenAnswer, Place, days_kept
from app.store.conversations import (
    Conversation,
    Turn,
    delete_conversation,
    find_conversation,
    remembered_turns,
    store_summary,
)
from app.store.database import Database
from app.types import Answer, Citation, Collection, Mode

logger = logging.getLogger(__name__)

_SUMMARY_SECONDS = 60.0


@dataclass(slots=True)
class _Heard:
    """What has reached the reader of an answer so far."""

    text: str = ""
    citations: tuple[Citation, ...] = ()
    is_told: bool = False  # the whole of it


class Dialogue:
    """Answers questions like an `Answerer`, and remembers.

    An async context manager: leaving it waits until every answer is written.
    """

    def __init__(self, *, answerer: Answerer, database: Database, writer: Writer | None) -> None:
        """`writer` makes the summaries of long conversations; without one there are none."""
        self.archive = Archive(database)
        self._answerer = answerer
        self._database = database
        self._writer = writer
        self.summaries: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        await self.archive.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self.summaries:
            task.cancel()  # the next turn makes it
        await asyncio.gather(*self.summaries, return_exceptions=True)
        await self.archive.__aexit__()

    async def answer(self, request: AskRequest, *, collection: Collection) -> Answer:
        """The whole answer at once, which alone is kept. Raises what `ask` raises, and `GenerationInterrupted`."""
        return await whole_answer(self._tell(request, collection, is_watched=False))

    async def answer_or_calls(self, request: AskRequest, *, collection: Collection) -> Answer | FunctionsCalled:
        """The same where functions are offered."""
        return await outcome(self._tell(request, collection, is_watched=False))

    def ask(self, request: AskRequest, *, collection: Collection) -> AsyncGenerator[Event, None]:
        """The events of `Answerer.ask`. With a `conversation_id`, its turns are the history, and the answer is its next
        turn: stored before the last event, unless the database is busy. An id that is not known begins a conversation.

        What a reader has seen of an answer that broke off, or that he left, is kept as a partial one. Raises what
        `Answerer.ask` raises; `Conflict` where the conversation is about another collection.
        """
        return self._tell(request, collection, is_watched=True)

    async def _tell(
        self, request: AskRequest, collection: Collection, *, is_watched: bool
    ) -> AsyncGenerator[Event, None]:
        request, place = await self._recall(request, collection)
        heard = _Heard()
        try:
            async with aclosing(self._answerer.ask(request, collection=collection)) as events:
                async for event in events:
                    if isinstance(event, Delta):
                        heard.text += event.text
                    elif isinstance(event, CitationFound):
                        if event.citation is not None and event.citation not in heard.citations:
                            heard.citations += (event.citation,)
                    elif isinstance(event, Done):
                        heard.is_told = True
                        await self._keep(request, _given(request, event.answer, is_partial=False), place, collection)
                    elif isinstance(event, Failed) and is_watched:
                        heard.is_told = True
                        so_far = _given(request, event.answer_so_far, is_partial=True)
                        await self._keep(request, so_far, place, collection)
                    yield event
        finally:
            if is_watched and heard.text and not heard.is_told:  # the reader left
                self._keep_soon(request, _partial(request, heard), place, collection)

    async def preview(self, request: AskRequest, *, collection: Collection) -> Preview:
        """What a language model would be asked."""
        request, _ = await self._recall(request, collection)
        return await self._answerer.preview(request, collection=collection)

    async def forget(self, conversation_id: str) -> None:
        """Delete a conversation with all that belongs to it. Raises `ConversationNotFound`."""
        await self.archive.settle()
        await to_thread.run_sync(self._delete, conversation_id)

    async def _recall(self, request: AskRequest, collection: Collection) -> tuple[AskRequest, Place]:
        if request.conversation_id is None:
            return request, Place(collection.id)
        await self.archive.settle()
        found, turns = await to_thread.run_sync(self._read, request.conversation_id)
        place = Place(collection.id, request.conversation_id, begins=found is None)
        if found is None:
            return request, place
        if found.collection_id != collection.id:
            raise Conflict(
                f"The conversation {found.id!r} is about the collection {found.collection!r}.", param="conversation_id"
            )
        return replace(request, history=messages_of(turns), summary=_sound_summary(found, turns)), place

    def _read(self, conversation_id: str) -> tuple[Conversation | None, list[Turn]]:
        with self._database.read() as connection:
            found = find_conversation(connection, conversation_id)
            return found, remembered_turns(connection, conversation_id) if found else []

    def _delete(self, conversation_id: str) -> None:
        with self._database.write() as connection:
            delete_conversation(connection, conversation_id)

    async def _keep(self, request: AskRequest, answer: GivenAnswer, place: Place, collection: Collection) -> None:
        self._keep_soon(request, answer, place, collection)
        if place.conversation_id is not None:
            await self.archive.settle()  # who asks the next question may ask another process
            self._summarise_soon(place.conversation_id)

    def _keep_soon(self, request: AskRequest, answer: GivenAnswer, place: Place, collection: Collection) -> None:
        if place.conversation_id is not None or (request.is_kept and days_kept(collection.settings)):
            self.archive.keep(answer, place)

    def _summarise_soon(self, conversation_id: str) -> None:
        if self._writer is not None:
            task = asyncio.create_task(self._summarise(self._writer, conversation_id), name="summary")
            self.summaries.add(task)
            task.add_done_callback(self.summaries.discard)

    async def _summarise(self, writer: Writer, conversation_id: str) -> None:
        """Take the turns that have left the newest into the summary. What fails is tried again with the next turn."""
        try:
            found, turns = await to_thread.run_sync(self._read, conversation_id)
            if found is None:
                return
            summary = _sound_summary(found, turns)
            done = found.summarised_turns if summary else 0
            rest = [turn for turn in turns if turn.number > done]
            messages, count = summary_request(summary, rest, count_message)
            if count:
                turn = await writer.turn(messages, max_tokens=SUMMARY_TOKENS, seconds=_SUMMARY_SECONDS)
                if new := usable_summary(turn.text):
                    until = rest[count - 1].number
                    await to_thread.run_sync(self._store_summary, found, new, until)
        except GenerationFailed as error:
            logger.info("the conversation %s was not summarised: %s", conversation_id, error)
        except Exception:
            logger.exception("the conversation %s could not be summarised", conversation_id)

    def _store_summary(self, found: Conversation, summary: str, turns: int) -> None:
        with self._database.write() as connection:
            store_summary(connection, found.id, summary, turns, before=found.summarised_turns)


def _sound_summary(conversation: Conversation, turns: list[Turn]) -> str | None:
    """The summary, unless it may repeat a document that has been deleted since."""
    covered = (turn for turn in turns if turn.number <= conversation.summarised_turns)
    return conversation.summary if all(turn.is_whole for turn in covered) else None


def _given(request: AskRequest, answer: Answer, *, is_partial: bool) -> GivenAnswer:
    return GivenAnswer(
        id=answer.id,
        question=request.question,
        text=answer.text,
        answerable=answer.answerable,
        is_partial=is_partial,
        mode=answer.mode,
        model=answer.model,
        confidence=answer.confidence,
        sentences=answer.sentences,
        citations=answer.citations,
        created_at=datetime.now(UTC),
    )


def _partial(request: AskRequest, heard: _Heard) -> GivenAnswer:
    """Of an answer whose reader left: no sentence of it has a verdict."""
    return GivenAnswer(
        id=f"ans_{secrets.token_hex(12)}",
        question=request.question,
        text=heard.text,
        answerable=True,
        is_partial=True,
        mode=request.mode or Mode.GENERATE,
        model=request.model or "default",
        confidence=0.0,
        sentences=(),
        citations=heard.citations,
        created_at=datetime.now(UTC),
    )

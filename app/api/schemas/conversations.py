"""Conversations and their turns."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Self

from pydantic import ConfigDict, StringConstraints

from app.api.schemas.answers import CitationOut, SentenceOut
from app.api.schemas.wire import CollectionName, ConversationId, Wire, fields_of
from app.store.answers import StoredAnswer
from app.store.conversations import Conversation
from app.store.feedback import Rating
from app.types import Mode

Title = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]


class ConversationIn(Wire):
    id: ConversationId | None = None  # of the client's own; by default we make one
    collection: CollectionName = "default"
    title: Title | None = None  # by default its first question

    model_config = ConfigDict(json_schema_extra={"examples": [{"collection": "default"}]})


class ConversationChange(Wire):
    title: Title


class ConversationOut(Wire):
    id: str
    collection: str
    title: str
    turn_count: int
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, conversation: Conversation) -> Self:
        return cls(**_fields(conversation))


class ConversationsOut(Wire):
    conversations: list[ConversationOut]
    next_cursor: str | None


class TurnOut(Wire):
    """A question with its answer; the citations are exact quotes of when it was given."""

    number: int
    id: str
    question: str
    answer: str
    answerable: bool
    partial: bool
    mode: Mode
    model: str
    confidence: float
    citations: list[CitationOut]
    missing_citations: int  # of documents that have been deleted since
    sentences: list[SentenceOut]
    rating: Rating | None
    created_at: datetime

    @classmethod
    def of(cls, turn: StoredAnswer) -> Self:
        answer = turn.answer
        return cls(
            **fields_of(answer, "text", "is_partial", "citations", "sentences"),
            number=turn.turn or 0,
            answer=answer.text,
            partial=answer.is_partial,
            citations=[CitationOut.of(citation) for citation in answer.citations],
            missing_citations=turn.citation_count - len(answer.citations),
            sentences=[SentenceOut.of(sentence) for sentence in answer.sentences],
            rating=None if turn.rating is None else Rating(turn.rating),
        )


class ConversationWithTurns(ConversationOut):
    """Turns in their order, a page of them."""

    summary: str | None  # what the language model remembers of the first turns
    summarised_turns: int
    turns: list[TurnOut]
    next_cursor: str | None

    @classmethod
    def page(cls, conversation: Conversation, turns: list[StoredAnswer], next_cursor: str | None) -> Self:
        return cls(
            **_fields(conversation),
            summary=conversation.summary,
            summarised_turns=conversation.summarised_turns,
            turns=[TurnOut.of(turn) for turn in turns],
            next_cursor=next_cursor,
        )


def _fields(conversation: Conversation) -> dict[str, object]:
    without = ("collection_id", "turns", "summary", "summarised_turns")
    return {**fields_of(conversation, *without), "turn_count": conversation.turns}

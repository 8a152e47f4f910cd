"""Conversations: create, list, read, rename, delete; their turns are answers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select, tuple_, update
from sqlalchemy.exc import IntegrityError

from app.errors import ConversationExists, ConversationNotFound
from app.store.answers import StoredAnswer, read_answers
from app.store.tables import answers, citations, collections, conversations

_MOST_REMEMBERED = 1000  # turns


@dataclass(frozen=True, slots=True)
class Conversation:
    """A conversation over one collection."""

    id: str
    collection_id: str
    collection: str
    title: str
    turns: int
    summary: str | None  # of the first `summarised_turns`, for the language model
    summarised_turns: int
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Turn:
    """What is remembered of a turn."""

    number: int
    question: str
    answer: str
    is_whole: bool  # every document that the answer cites is still there


def create_conversation(
    connection: Connection, conversation_id: str, collection_id: str, title: str, now: float
) -> Conversation:
    """Raises `ConversationExists`."""
    now = round(now, 6)  # as exact as a cursor
    values = {"id": conversation_id, "collection_id": collection_id, "title": title, "turns": 0}
    try:
        connection.execute(insert(conversations).values(**values, summarised_turns=0, created_at=now, updated_at=now))
    except IntegrityError as error:
        raise ConversationExists(f"A conversation {conversation_id!r} already exists.", param="id") from error
    return get_conversation(connection, conversation_id)


def get_conversation(connection: Connection, conversation_id: str) -> Conversation:
    """Raises `ConversationNotFound`."""
    found = find_conversation(connection, conversation_id)
    if found is None:
        raise ConversationNotFound(f"There is no conversation {conversation_id!r}.")
    return found


def find_conversation(connection: Connection, conversation_id: str) -> Conversation | None:
    row = connection.execute(_select().where(conversations.c.id == conversation_id)).one_or_none()
    return None if row is None else _conversation(row)


def list_conversations(
    connection: Connection, *, collection_id: str | None, limit: int, after: tuple[float, str] | None
) -> list[Conversation]:
    """The last used first. `after`: when the last one of the page before was used, and its id."""
    query = _select().order_by(conversations.c.updated_at.desc(), conversations.c.id.desc()).limit(limit)
    if collection_id is not None:
        query = query.where(conversations.c.collection_id == collection_id)
    if after is not None:
        query = query.where(tuple_(conversations.c.updated_at, conversations.c.id) < tuple_(*after))
    return [_conversation(row) for row in connection.execute(query)]


def rename_conversation(connection: Connection, conversation_id: str, title: str) -> Conversation:
    """Raises `ConversationNotFound`."""
    connection.execute(update(conversations).where(conversations.c.id == conversation_id).values(title=title))
    return get_conversation(connection, conversation_id)


def delete_conversation(connection: Connection, conversation_id: str) -> None:
    """With its turns, and what was said of them. Raises `ConversationNotFound`."""
    if not connection.execute(delete(conversations).where(conversations.c.id == conversation_id)).rowcount:
        raise ConversationNotFound(f"There is no conversation {conversation_id!r}.")


def read_turns(
    connection: Connection, conversation_id: str, *, after: int = 0, limit: int | None = None
) -> list[StoredAnswer]:
    """The turns behind a number, in their order, with all that is known of them."""
    conditions = (answers.c.conversation_id == conversation_id, answers.c.turn > after)
    return list(read_answers(connection, *conditions, limit=limit))


def remembered_turns(connection: Connection, conversation_id: str) -> list[Turn]:
    """All turns in their order, as far as a prompt may need them; of very long conversations the newest."""
    left = select(func.count()).where(citations.c.answer_id == answers.c.id).scalar_subquery()
    query = (
        select(answers.c.turn, answers.c.question, answers.c.text, (left == answers.c.citation_count).label("is_whole"))
        .where(answers.c.conversation_id == conversation_id)
        .order_by(answers.c.turn.desc())
        .limit(_MOST_REMEMBERED)
    )
    return [Turn(row.turn, row.question, row.text, bool(row.is_whole)) for row in connection.execute(query)][::-1]


def store_summary(
    connection: Connection, conversation_id: str, summary: str | None, turns: int, *, before: int
) -> None:
    """Keep a summary of the first `turns`, unless it no longer is of the first `before` that it was made from."""
    connection.execute(
        update(conversations)
        .where(conversations.c.id == conversation_id, conversations.c.summarised_turns == before)
        .values(summary=summary, summarised_turns=turns)
    )


def _select() -> Any:
    return select(conversations, collections.c.name.label("collection")).join(collections)


def _conversation(row: Row[Any]) -> Conversation:
    return Conversation(
        id=row.id,
        collection_id=row.collection_id,
        collection=row.collection,
        title=row.title,
        turns=row.turns,
        summary=row.summary,
        summarised_turns=row.summarised_turns,
        created_at=datetime.fromtimestamp(row.created_at, UTC),
        updated_at=datetime.fromtimestamp(row.updated_at, UTC),
    )

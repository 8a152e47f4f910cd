"""Answers that were given, as turns of a conversation or by themselves, with their citations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import Connection, Row, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from app.errors import AnswerNotFound
from app.store.tables import answers, citations, collections, conversations, documents, feedback
from app.types import Citation, Mode, Sentence, Support

DAYS_KEPT = 90  # of an answer outside of conversations, unless its collection says otherwise
_TITLE_CHARACTERS = 80
_DELETED_AT_ONCE = 500  # a sweep must not keep the database's one writer
_SECONDS_A_DAY = 86_400
_CITATION_FIELDS = tuple(column.name for column in citations.c if column.name in Citation.__slots__)
_SENTENCES = TypeAdapter(tuple[Sentence, ...])


@dataclass(frozen=True, slots=True)
class GivenAnswer:
    """An answer as it is kept."""

    id: str
    question: str
    text: str
    answerable: bool
    is_partial: bool  # the language model broke off, or the reader left
    mode: Mode
    model: str
    confidence: float
    sentences: tuple[Sentence, ...]
    citations: tuple[Citation, ...]  # without those of documents that are deleted
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Place:
    """Where an answer belongs."""

    collection_id: str
    conversation_id: str | None = None
    begins: bool = False  # the conversation was not there when the question was asked


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """An answer with its place among the turns of its conversation, and what was said of it."""

    answer: GivenAnswer
    collection_id: str
    conversation_id: str | None
    turn: int | None
    citation_count: int  # when it was given
    rating: str | None


def store_answer(connection: Connection, answer: GivenAnswer, place: Place) -> None:
    """The next turn of its conversation, or an answer by itself.

    Nothing is stored of what was deleted while the answer was made: its collection, its conversation, a citation's
    document.
    """
    if not _is_there(connection, place.collection_id):
        return
    turn = None
    if place.conversation_id is not None:
        turn = _take_turn(connection, answer, place)
        if turn is None:
            return
    connection.execute(
        insert(answers).values(
            id=answer.id,
            collection_id=place.collection_id,
            conversation_id=place.conversation_id,
            turn=turn,
            question=_storable(answer.question),
            text=_storable(answer.text),
            answerable=answer.answerable,
            is_partial=answer.is_partial,
            mode=answer.mode.value,
            model=_storable(answer.model),
            confidence=answer.confidence,
            sentences=_SENTENCES.dump_python(answer.sentences, mode="json"),
            unsupported=sum(sentence.support is Support.UNSUPPORTED for sentence in answer.sentences),
            citation_count=len(answer.citations),
            created_at=answer.created_at.timestamp(),
        )
    )
    rows = list(_citation_rows(connection, answer))
    if rows:
        connection.execute(insert(citations), rows)


def get_answer(connection: Connection, answer_id: str) -> StoredAnswer:
    """Raises `AnswerNotFound`."""
    found = next(read_answers(connection, answers.c.id == answer_id), None)
    if found is None:
        raise AnswerNotFound(f"There is no answer {answer_id!r}, or it is no longer kept.")
    return found


def read_answers(connection: Connection, *conditions: Any, limit: int | None = None) -> Iterator[StoredAnswer]:
    """By turn within a conversation."""
    query = select(answers, feedback.c.rating).outerjoin(feedback).where(*conditions)
    rows = connection.execute(query.order_by(answers.c.turn, answers.c.created_at).limit(limit)).all()
    cited = _citations(connection, [row.id for row in rows])
    for row in rows:
        yield _stored(row, cited.get(row.id, ()))


def delete_expired_answers(connection: Connection, now: float) -> int:
    """Answers outside of conversations that are older than their collection keeps them; how many, a batch at most."""
    deleted = 0
    for collection_id, settings in connection.execute(select(collections.c.id, collections.c.settings)).all():
        expired = (
            select(answers.c.id)
            .where(
                answers.c.collection_id == collection_id,
                answers.c.conversation_id.is_(None),
                answers.c.created_at < now - days_kept(settings) * _SECONDS_A_DAY,
            )
            .limit(_DELETED_AT_ONCE - deleted)
        )
        deleted += connection.execute(delete(answers).where(answers.c.id.in_(expired))).rowcount
        if deleted == _DELETED_AT_ONCE:
            break
    return deleted


def days_kept(settings: Mapping[str, Any]) -> int:
    """How long a collection keeps answers outside of conversations; 0: not at all."""
    days = settings.get("keep_answers_days")
    return DAYS_KEPT if days is None else int(days)


def _is_there(connection: Connection, collection_id: str) -> bool:
    query = select(collections.c.id).where(collections.c.id == collection_id)
    return connection.scalar(query.with_for_update(read=True, key_share=True)) is not None


def _take_turn(connection: Connection, answer: GivenAnswer, place: Place) -> int | None:
    """The number of the conversation's next turn; None where it is gone, or has become another collection's."""
    if place.begins:
        _begin(connection, answer, place)
    taken = (
        update(conversations)
        .where(conversations.c.id == place.conversation_id, conversations.c.collection_id == place.collection_id)
        .values(turns=conversations.c.turns + 1, updated_at=answer.created_at.timestamp())
        .returning(conversations.c.turns)
    )
    turn: int | None = connection.scalar(taken)  # locks the row: two answers at once become two turns
    if turn == 1:
        untitled = update(conversations).where(conversations.c.id == place.conversation_id, conversations.c.title == "")
        connection.execute(untitled.values(title=title_of(answer.question)))
    return turn


def _begin(connection: Connection, answer: GivenAnswer, place: Place) -> None:
    now = answer.created_at.timestamp()
    values = {"id": place.conversation_id, "collection_id": place.collection_id, "title": "", "turns": 0}
    try:
        with connection.begin_nested():
            connection.execute(
                insert(conversations).values(**values, summarised_turns=0, created_at=now, updated_at=now)
            )
    except IntegrityError:
        pass  # another first question was faster


def title_of(question: str) -> str:
    """What a conversation is called until somebody names it: its first question, shortened."""
    line = " ".join(_storable(question).split())
    return line if len(line) <= _TITLE_CHARACTERS else f"{line[: _TITLE_CHARACTERS - 1]}…"


def _citation_rows(connection: Connection, answer: GivenAnswer) -> Iterator[dict[str, Any]]:
    named = {citation.document_id for citation in answer.citations}
    query = select(documents.c.id).where(documents.c.id.in_(named)).with_for_update(read=True, key_share=True)
    there = set(connection.scalars(query)) if named else set()
    for position, citation in enumerate(answer.citations):
        if citation.document_id in there:
            values = {name: getattr(citation, name) for name in _CITATION_FIELDS}
            yield {"answer_id": answer.id, "position": position, **values}


def _citations(connection: Connection, answer_ids: Sequence[str]) -> dict[str, list[Citation]]:
    found: dict[str, list[Citation]] = {}
    for batch in _batches(answer_ids):
        query = select(citations).where(citations.c.answer_id.in_(batch)).order_by(citations.c.position)
        for row in connection.execute(query):
            citation = Citation(**{name: getattr(row, name) for name in _CITATION_FIELDS})
            found.setdefault(row.answer_id, []).append(citation)
    return found


def _batches(ids: Sequence[str], size: int = 500) -> Iterable[Sequence[str]]:
    return (ids[at : at + size] for at in range(0, len(ids), size))


def _stored(row: Row[Any], cited: Sequence[Citation]) -> StoredAnswer:
    given = GivenAnswer(
        id=row.id,
        question=row.question,
        text=row.text,
        answerable=row.answerable,
        is_partial=row.is_partial,
        mode=Mode(row.mode),
        model=row.model,
        confidence=row.confidence,
        sentences=_SENTENCES.validate_python(row.sentences),
        citations=tuple(cited),
        created_at=datetime.fromtimestamp(row.created_at, UTC),
    )
    return StoredAnswer(given, row.collection_id, row.conversation_id, row.turn, row.citation_count, row.rating)


def _storable(text: str) -> str:
    """Without NUL and half characters, which databases refuse; the offsets stay."""
    return text.replace("\x00", " ").encode("utf-8", "replace").decode()

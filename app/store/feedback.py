"""What people say of answers, and what the answers together tell of a collection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Row, Select, delete, func, insert, select

from app.errors import DocumentNotFound, InvalidRequest
from app.store.answers import StoredAnswer, get_answer, read_answers
from app.store.documents import get_document, version_text
from app.store.tables import answers, chunks, citations, documents, feedback, versions

_CHUNK_ID_PARTS = 3


class Rating(StrEnum):
    """Whether an answer was good."""

    UP = "up"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class Span:
    """A part of a document version's text."""

    document_id: str
    version: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Feedback:
    """What was said of an answer."""

    answer_id: str
    rating: Rating
    comment: str | None
    passage: Span | None  # where the right answer stands
    created_at: datetime


@dataclass(frozen=True, slots=True)
class AnswerCounts:
    """How many answers there are of each kind."""

    total: int
    unanswered: int
    unsupported: int  # with a sentence that its sources do not hold
    partial: int
    up: int
    down: int


@dataclass(frozen=True, slots=True)
class UncitedDocument:
    """A document that no answer has cited."""

    id: str
    filename: str
    created_at: datetime


def give_feedback(
    connection: Connection, answer_id: str, rating: Rating, comment: str | None, passage: Span | None, now: float
) -> Feedback:
    """In place of what was said of the answer before. Raises `AnswerNotFound`."""
    get_answer(connection, answer_id)
    connection.execute(delete(feedback).where(feedback.c.answer_id == answer_id))
    span = {name: getattr(passage, name) for name in Span.__slots__} if passage else {}
    values = {"answer_id": answer_id, "rating": rating.value, "comment": comment, "created_at": now, **span}
    connection.execute(insert(feedback).values(values))
    return Feedback(answer_id, rating, comment, passage, datetime.fromtimestamp(now, UTC))


def span_of(connection: Connection, document_id: str, start: int, end: int, version: int | None) -> Span:
    """A span of a version, by default of the one that answers. Raises `DocumentNotFound`, `VersionNotFound`,
    `InvalidRequest` where the text ends before it does."""
    document = get_document(connection, document_id)
    version = version or document.live_version or document.version
    length = len(version_text(connection, document_id, version))
    if not start < end <= length:
        raise InvalidRequest(f"The text has {length} characters.", param="correct_passage")
    return Span(document_id, version, start, end)


def span_of_chunk(connection: Connection, chunk_id: str) -> Span:
    """Raises `DocumentNotFound` where there is no such chunk."""
    parts = chunk_id.rsplit(".", 2)
    if len(parts) == _CHUNK_ID_PARTS and parts[1].isdecimal() and parts[2].isdecimal():
        query = select(chunks.c.start, chunks.c.end).where(
            chunks.c.document_id == parts[0], chunks.c.version == int(parts[1]), chunks.c.ordinal == int(parts[2])
        )
        row = connection.execute(query).one_or_none()
        if row is not None:
            return Span(parts[0], int(parts[1]), row.start, row.end)
    raise DocumentNotFound(f"There is no chunk {chunk_id!r}.", param="correct_passage")


def count_answers(connection: Connection, collection_id: str, since: float) -> AnswerCounts:
    counts = [
        func.count(),
        func.count().filter(~answers.c.answerable),
        func.count().filter(answers.c.unsupported > 0),
        func.count().filter(answers.c.is_partial),
        func.count().filter(feedback.c.rating == Rating.UP.value),
        func.count().filter(feedback.c.rating == Rating.DOWN.value),
    ]
    query = select(*counts).select_from(answers.outerjoin(feedback)).where(*_of(collection_id, since))
    row = connection.execute(query).one()
    return AnswerCounts(*(int(count) for count in row))


def unanswered_questions(
    connection: Connection, collection_id: str, since: float, limit: int
) -> list[tuple[str, datetime]]:
    """What was asked in vain, and when: the newest first."""
    query = select(answers.c.question, answers.c.created_at).where(*_of(collection_id, since), ~answers.c.answerable)
    found = connection.execute(query.order_by(answers.c.created_at.desc()).limit(limit))
    return [(row.question, datetime.fromtimestamp(row.created_at, UTC)) for row in found]


def unsupported_answers(connection: Connection, collection_id: str, since: float, limit: int) -> list[StoredAnswer]:
    """Those with a sentence that its sources do not hold: the newest first."""
    query = select(answers.c.id).where(*_of(collection_id, since), answers.c.unsupported > 0)
    return _newest(connection, query, limit)


def read_feedback(
    connection: Connection, collection_id: str, since: float, limit: int
) -> list[tuple[StoredAnswer, Feedback]]:
    """With the answers that it is on: the newest answers first."""
    query = select(answers.c.id).join(feedback).where(*_of(collection_id, since))
    found = _newest(connection, query, limit)
    rows = connection.execute(select(feedback).where(feedback.c.answer_id.in_([each.answer.id for each in found])))
    given = {row.answer_id: _feedback(row) for row in rows}
    return [(each, given[each.answer.id]) for each in found]


def uncited_documents(connection: Connection, collection_id: str, limit: int) -> tuple[int, list[UncitedDocument]]:
    """Documents that could be cited and never were, as far as answers are kept: how many, and the oldest of them."""
    conditions = (
        documents.c.collection_id == collection_id,
        documents.c.live_version.is_not(None),
        ~select(citations.c.answer_id).where(citations.c.document_id == documents.c.id).exists(),
    )
    count = connection.scalar(select(func.count()).select_from(documents).where(*conditions)) or 0
    query = (
        select(documents.c.id, versions.c.filename, documents.c.created_at)
        .join(versions, (versions.c.document_id == documents.c.id) & (versions.c.version == documents.c.live_version))
        .where(*conditions)
        .order_by(documents.c.created_at, documents.c.id)
        .limit(limit)
    )
    found = connection.execute(query)
    return count, [UncitedDocument(row.id, row.filename, datetime.fromtimestamp(row.created_at, UTC)) for row in found]


def _of(collection_id: str, since: float) -> Sequence[Any]:
    return answers.c.collection_id == collection_id, answers.c.created_at >= since


def _newest(connection: Connection, query: Select[Any], limit: int) -> list[StoredAnswer]:
    ids = list(connection.scalars(query.order_by(answers.c.created_at.desc(), answers.c.id).limit(limit)))
    found = {each.answer.id: each for each in read_answers(connection, answers.c.id.in_(ids))}
    return [found[each] for each in ids]


def _feedback(row: Row[Any]) -> Feedback:
    passage = None if row.document_id is None else Span(row.document_id, row.version, row.start, row.end)
    created_at = datetime.fromtimestamp(row.created_at, UTC)
    return Feedback(row.answer_id, Rating(row.rating), row.comment, passage, created_at)

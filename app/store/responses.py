"""Responses of OpenAI's API: answers that were given by themselves, and that later ones may continue."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, delete, func, insert, literal, select

from app.errors import ResponseNotFound
from app.store.answers import StoredAnswer, read_answers
from app.store.tables import answers, citations, responses
from app.types import Message

_MOST_REMEMBERED = 1000  # responses, one continuing the other


@dataclass(frozen=True, slots=True)
class GivenResponse:
    """What is kept of a response besides its answer."""

    id: str
    previous_id: str | None
    input: tuple[Message, ...]
    details: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """A response with its answer."""

    given: GivenResponse
    answer: StoredAnswer


@dataclass(frozen=True, slots=True)
class Exchange:
    """What is remembered of a response."""

    input: tuple[Message, ...]
    answer: str
    is_whole: bool  # every document that the answer cites is still there


def store_response(connection: Connection, response: GivenResponse, answer_id: str) -> bool:
    """Keep it for as long as its answer is kept; False where the answer is not."""
    query = select(answers.c.id).where(answers.c.id == answer_id).with_for_update(read=True, key_share=True)
    if connection.scalar(query) is None:
        return False
    connection.execute(
        insert(responses).values(
            id=response.id,
            answer_id=answer_id,
            previous_id=response.previous_id,
            input=[asdict(message) for message in response.input],
            details=dict(response.details),
        )
    )
    return True


def get_response(connection: Connection, response_id: str) -> StoredResponse:
    """Raises `ResponseNotFound`."""
    row = connection.execute(select(responses).where(responses.c.id == response_id)).one_or_none()
    answer = None if row is None else next(read_answers(connection, answers.c.id == row.answer_id), None)
    if row is None or answer is None:
        raise ResponseNotFound(f"There is no response {response_id!r}, or it is no longer kept.")
    return StoredResponse(GivenResponse(row.id, row.previous_id, _messages(row.input), row.details), answer)


def delete_response(connection: Connection, response_id: str) -> None:
    """With its answer, and what was said of that. Raises `ResponseNotFound`."""
    of_response = select(responses.c.answer_id).where(responses.c.id == response_id)
    if not connection.execute(delete(answers).where(answers.c.id.in_(of_response))).rowcount:
        raise ResponseNotFound(f"There is no response {response_id!r}, or it is no longer kept.")


def exchanges(connection: Connection, response_id: str) -> list[Exchange]:
    """A response and those that it continues, the first one first; of very long rows the newest. Empty: not there."""
    first = select(responses.c.id, responses.c.previous_id, literal(1).label("number"))
    line = first.where(responses.c.id == response_id).cte("line", recursive=True)
    line = line.union_all(
        select(responses.c.id, responses.c.previous_id, line.c.number + 1).where(
            responses.c.id == line.c.previous_id, line.c.number < _MOST_REMEMBERED
        )
    )
    left = select(func.count()).where(citations.c.answer_id == answers.c.id).scalar_subquery()
    query = (
        select(responses.c.input, answers.c.text, (left == answers.c.citation_count).label("is_whole"))
        .select_from(line)
        .join(responses, responses.c.id == line.c.id)
        .join(answers, answers.c.id == responses.c.answer_id)
        .order_by(line.c.number.desc())
    )
    return [Exchange(_messages(row.input), row.text, bool(row.is_whole)) for row in connection.execute(query)]


def _messages(rows: list[dict[str, str]]) -> tuple[Message, ...]:
    return tuple(Message(**row) for row in rows)

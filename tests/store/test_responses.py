"""Responses in the truth: kept with their answers, one continuing the other."""

from __future__ import annotations

import pytest

from app.errors import AnswerNotFound, ResponseNotFound
from app.store.answers import Place, delete_expired_answers, get_answer, store_answer
from app.store.collections import get_collection
from app.store.database import Database
from app.store.responses import GivenResponse, delete_response, exchanges, get_response, store_response
from app.types import Collection, Message
from tests.store.answers import given
from tests.store.library import NOW, Library

DAY = 86_400.0


@pytest.fixture
def collection(database: Database) -> Collection:
    with database.read() as connection:
        return get_collection(connection, "default")


def response(number: int, previous: int | None) -> GivenResponse:
    said = (Message("user", f"Question {number}?\x00"),)
    return GivenResponse(f"resp_{number}", previous and f"resp_{previous}", said, {"told": {"model": "x"}})


def keep(database: Database, collection: Collection, number: int, previous: int | None, *cites: str) -> None:
    with database.write() as connection:
        answer = given(f"ans_{number}", text=f"Answer {number}.", cites=cites)
        store_answer(connection, answer, Place(collection.id))
        assert store_response(connection, response(number, previous), answer.id)


def questions(database: Database, response_id: str) -> list[str]:
    with database.read() as connection:
        return [each.input[0].content for each in exchanges(connection, response_id)]


def test_what_is_stored_is_read_back(library: Library, database: Database, collection: Collection) -> None:
    """With its answer; without an answer that is kept there is no response."""
    keep(database, collection, 1, None, library.ingest("The dome closes at 15 m/s."))
    with database.write() as connection:
        found = get_response(connection, "resp_1")
        assert not store_response(connection, response(2, 1), "ans_2")
        with pytest.raises(ResponseNotFound, match="resp_2"):
            get_response(connection, "resp_2")
    assert found.given == response(1, None)
    assert (found.answer.answer.id, found.answer.citation_count) == ("ans_1", 1)


def test_each_branch_has_its_own_past(database: Database, collection: Collection) -> None:
    """A response knows those that it continues, and no other one that continues the same."""
    for number, previous in ((1, None), (2, 1), (3, 2), (4, 1)):
        keep(database, collection, number, previous)
    assert questions(database, "resp_3") == ["Question 1?\x00", "Question 2?\x00", "Question 3?\x00"]
    assert questions(database, "resp_4") == ["Question 1?\x00", "Question 4?\x00"]
    assert questions(database, "resp_5") == []


def test_what_is_deleted_is_forgotten(library: Library, database: Database, collection: Collection) -> None:
    """A response goes with its answer and the answer with it; what continues it begins there. An answer from a document
    that is deleted is known to lack something."""
    document_id = library.ingest("The dome closes at 15 m/s.")
    keep(database, collection, 1, None)
    keep(database, collection, 2, 1, document_id)
    keep(database, collection, 3, 2)
    with database.write() as connection:
        delete_response(connection, "resp_1")
        with pytest.raises(AnswerNotFound):
            get_answer(connection, "ans_1")
        with pytest.raises(ResponseNotFound):
            delete_response(connection, "resp_1")
    library.delete(document_id)
    with database.read() as connection:
        assert [each.is_whole for each in exchanges(connection, "resp_3")] == [False, True]
    with database.write() as connection:
        assert delete_expired_answers(connection, NOW + 91 * DAY) == 2
    assert questions(database, "resp_3") == []

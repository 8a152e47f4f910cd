"""Answers, conversations, feedback and prompts in the truth."""

from __future__ import annotations

import pytest

from app.errors import (
    AnswerNotFound,
    ConversationExists,
    ConversationNotFound,
    DocumentNotFound,
    InvalidRequest,
    PromptNotFound,
)
from app.store import conversations, feedback, prompts
from app.store.answers import Place, delete_expired_answers, get_answer, store_answer
from app.store.collections import create_collection, delete_collection, get_collection
from app.store.database import Database
from app.store.feedback import Rating, Span
from app.types import Collection, Sentence, Support
from tests.store.answers import given
from tests.store.library import NOW, Library

DAY = 86_400.0


@pytest.fixture
def collection(database: Database) -> Collection:
    with database.read() as connection:
        return get_collection(connection, "default")


def test_what_is_stored_is_read_back(library: Library, database: Database, collection: Collection) -> None:
    """A turn comes back as it was given, its citations in their order."""
    document_id = library.ingest("The dome closes at 15 m/s.")
    answer = given("ans_1", cites=[document_id, document_id])
    with database.write() as connection:
        store_answer(connection, answer, Place(collection.id, "c", begins=True))
        stored = get_answer(connection, "ans_1")
    assert stored.answer == answer
    assert (stored.conversation_id, stored.turn, stored.citation_count, stored.rating) == ("c", 1, 2, None)


def test_text_that_no_database_takes(database: Database, collection: Collection) -> None:
    """NUL and half characters are replaced, one for one."""
    with database.write() as connection:
        store_answer(connection, given("ans_1", question="a\x00b", text="x\ud800y"), Place(collection.id))
        stored = get_answer(connection, "ans_1").answer
    assert (stored.question, stored.text) == ("a b", "x?y")


def test_a_deleted_document_takes_its_quotes_along(
    library: Library, database: Database, collection: Collection
) -> None:
    """Nothing is quoted from it any more, and the turn is known to lack something; a later turn cannot cite it."""
    gone, kept = library.ingest("The dome closes."), library.ingest("The night watch begins at nine.")
    with database.write() as connection:
        store_answer(connection, given("ans_1", cites=[gone, kept]), Place(collection.id, "c", begins=True))
    library.delete(gone)
    with database.write() as connection:
        store_answer(connection, given("ans_2", cites=[gone, kept]), Place(collection.id, "c"))
        turns = conversations.read_turns(connection, "c")
        remembered = conversations.remembered_turns(connection, "c")
    assert [[c.document_id for c in turn.answer.citations] for turn in turns] == [[kept], [kept]]
    assert [turn.is_whole for turn in remembered] == [False, False]


def test_conversations_are_listed_by_use(database: Database, collection: Collection) -> None:
    """The last used first, page by page, of one collection or of all."""
    with database.write() as connection:
        other = create_collection(connection, "other", {}, NOW)
        for number in range(5):
            conversations.create_conversation(connection, f"c{number}", collection.id, "", NOW + number)
        conversations.create_conversation(connection, "elsewhere", other.id, "", NOW)
        store_answer(connection, given("ans_1", at=NOW + 9), Place(collection.id, "c0"))
        found = conversations.list_conversations(connection, collection_id=collection.id, limit=3, after=None)
        assert [each.id for each in found] == ["c0", "c4", "c3"]
        last = (found[-1].updated_at.timestamp(), found[-1].id)
        rest = conversations.list_conversations(connection, collection_id=collection.id, limit=9, after=last)
        assert [each.id for each in rest] == ["c2", "c1"]
        assert len(conversations.list_conversations(connection, collection_id=None, limit=9, after=None)) == 6
        assert (found[0].title, found[0].turns, found[0].collection) == ("When does the dome close?", 1, "default")


def test_a_title_stays(database: Database, collection: Collection) -> None:
    """One that was given is not replaced by the first question; a long question is cut."""
    with database.write() as connection:
        conversations.create_conversation(connection, "named", collection.id, "Domes", NOW)
        store_answer(connection, given("ans_1"), Place(collection.id, "named"))
        store_answer(connection, given("ans_2", question="why " * 99), Place(collection.id, "long", begins=True))
        assert conversations.get_conversation(connection, "named").title == "Domes"
        assert conversations.rename_conversation(connection, "named", "Roofs").title == "Roofs"
        assert len(conversations.get_conversation(connection, "long").title) == 80


def test_nothing_remains_of_a_deleted_conversation(
    library: Library, database: Database, collection: Collection
) -> None:
    """Its turns, their citations and what was said of them go with it; a turn that comes too late is not stored."""
    document_id = library.ingest("The dome closes.")
    with database.write() as connection:
        store_answer(connection, given("ans_1", cites=[document_id]), Place(collection.id, "c", begins=True))
        feedback.give_feedback(connection, "ans_1", Rating.UP, None, None, NOW)
        conversations.delete_conversation(connection, "c")
        store_answer(connection, given("ans_2"), Place(collection.id, "c"))
        for table in ("conversations", "answers", "citations", "feedback"):
            assert connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar() == 0
        with pytest.raises(ConversationNotFound):
            conversations.delete_conversation(connection, "c")
        with pytest.raises(ConversationNotFound):
            conversations.rename_conversation(connection, "c", "x")


def test_a_collection_takes_its_conversations_along(database: Database) -> None:
    """They are over its documents; an answer that comes too late is not stored."""
    with database.write() as connection:
        law = create_collection(connection, "law", {}, NOW)
        store_answer(connection, given("ans_1"), Place(law.id, "c", begins=True))
        delete_collection(connection, "law")
        store_answer(connection, given("ans_2"), Place(law.id))
        assert conversations.find_conversation(connection, "c") is None
        with pytest.raises(AnswerNotFound):
            get_answer(connection, "ans_2")


def test_an_id_is_taken_once(database: Database, collection: Collection) -> None:
    """Two conversations cannot share one."""
    with database.write() as connection:
        conversations.create_conversation(connection, "c", collection.id, "", NOW)
    with pytest.raises(ConversationExists), database.write() as connection:
        conversations.create_conversation(connection, "c", collection.id, "", NOW)


def test_a_summary_replaces_the_one_it_was_made_from(database: Database, collection: Collection) -> None:
    """Of two that are made at once the second is dropped."""
    with database.write() as connection:
        conversations.create_conversation(connection, "c", collection.id, "", NOW)
        conversations.store_summary(connection, "c", "First.", 8, before=0)
        conversations.store_summary(connection, "c", "Late.", 8, before=0)
        found = conversations.get_conversation(connection, "c")
    assert (found.summary, found.summarised_turns) == ("First.", 8)


def test_answers_are_kept_for_a_time(database: Database, collection: Collection) -> None:
    """90 days, or as long as the collection says; turns of conversations stay."""
    with database.write() as connection:
        brief = create_collection(connection, "brief", {"keep_answers_days": 7}, NOW)
        places = {"d": Place(collection.id), "b": Place(brief.id), "c": Place(brief.id, "c", begins=True)}
        for name, place in places.items():
            for days in (1, 30, 100):
                store_answer(connection, given(f"ans_{name}{days}", at=NOW - days * DAY), place)
        assert delete_expired_answers(connection, NOW) == 3
        left = set(connection.exec_driver_sql("SELECT id FROM answers").scalars())
    assert left == {"ans_d1", "ans_d30", "ans_b1", "ans_c1", "ans_c30", "ans_c100"}


def test_the_last_word_counts(library: Library, database: Database, collection: Collection) -> None:
    """Feedback replaces what was said before; the passage goes when its document does."""
    document_id = library.ingest("The dome closes.")
    with database.write() as connection:
        store_answer(connection, given("ans_1"), Place(collection.id))
        feedback.give_feedback(connection, "ans_1", Rating.UP, None, None, NOW)
        span = feedback.span_of(connection, document_id, 0, 8, None)
        assert span == Span(document_id, 1, 0, 8)
        assert feedback.span_of_chunk(connection, f"{document_id}.1.0") == Span(document_id, 1, 0, 16)
        feedback.give_feedback(connection, "ans_1", Rating.DOWN, "Wrong.", span, NOW + 1)
        ((answer, given_feedback),) = feedback.read_feedback(connection, collection.id, 0, 9)
        assert (answer.rating, given_feedback.comment, given_feedback.passage) == ("down", "Wrong.", span)
    library.delete(document_id)
    with database.read() as connection:
        ((_, given_feedback),) = feedback.read_feedback(connection, collection.id, 0, 9)
        assert given_feedback.passage is None


def test_feedback_that_cannot_be_right(library: Library, database: Database) -> None:
    """On an answer, a document, a chunk or a span that is not there."""
    document_id = library.ingest("The dome closes.")
    with database.write() as connection:
        with pytest.raises(AnswerNotFound):
            feedback.give_feedback(connection, "ans_x", Rating.UP, None, None, NOW)
        with pytest.raises(DocumentNotFound):
            feedback.span_of(connection, "doc_x", 0, 1, None)
        with pytest.raises(InvalidRequest):
            feedback.span_of(connection, document_id, 0, 17, None)
        for chunk_id in ("x", "a.b.c", f"{document_id}.1.7"):
            with pytest.raises(DocumentNotFound):
                feedback.span_of_chunk(connection, chunk_id)


def test_what_answers_tell_together(library: Library, database: Database, collection: Collection) -> None:
    """Counts, questions in vain, unsupported answers and documents never cited: of one collection and time."""
    cited, never = library.ingest("The dome closes."), library.ingest("The night watch begins at nine.")
    wrong = (Sentence(0, 20, (), Support.UNSUPPORTED, 0.0),)
    place = Place(collection.id)
    with database.write() as connection:
        store_answer(connection, given("ans_1", cites=[cited]), place)
        store_answer(connection, given("ans_2", answerable=False, question="Who?"), place)
        store_answer(connection, given("ans_3", sentences=wrong, is_partial=True, at=NOW + 1), place)
        store_answer(connection, given("ans_old", at=NOW - 9 * DAY), place)
        feedback.give_feedback(connection, "ans_1", Rating.UP, None, None, NOW)
        counts = feedback.count_answers(connection, collection.id, NOW - DAY)
        assert counts == feedback.AnswerCounts(total=3, unanswered=1, unsupported=1, partial=1, up=1, down=0)
        ((question, _),) = feedback.unanswered_questions(connection, collection.id, NOW - DAY, 9)
        assert question == "Who?"
        (unsupported,) = feedback.unsupported_answers(connection, collection.id, NOW - DAY, 9)
        assert unsupported.answer.id == "ans_3"
        count, documents = feedback.uncited_documents(connection, collection.id, 9)
        assert (count, [each.id for each in documents]) == (1, [never])


def test_each_change_of_a_prompt_is_a_version(database: Database) -> None:
    """Other settings make none; a prompt from before there were versions becomes the first."""
    with database.write() as connection:
        old = create_collection(connection, "old", {"system_prompt": "One."}, NOW)
        changed = prompts.change_settings(connection, old, {"system_prompt": "One.", "top_k": 3}, NOW)
        assert prompts.list_prompts(connection, old.id) == []
        changed = prompts.change_settings(connection, changed, {"system_prompt": "Two.", "top_k": 3}, NOW)
        prompts.change_settings(connection, changed, {"language": "zh"}, NOW)
        found = prompts.list_prompts(connection, old.id)
        assert [(each.number, each.content["system_prompt"], each.content["language"]) for each in found] == [
            (3, None, "zh"),
            (2, "Two.", None),
            (1, "One.", None),
        ]
        assert prompts.get_prompt(connection, old, 2).content["system_prompt"] == "Two."
        with pytest.raises(PromptNotFound):
            prompts.get_prompt(connection, old, 4)

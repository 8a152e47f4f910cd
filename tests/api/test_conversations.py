"""Conversations over HTTP: begun, continued, listed, exported, deleted."""

from __future__ import annotations

import json
from typing import Any

import pytest
from markdown_it import MarkdownIt

from tests.api.serving import Service, problem

NOTES = "The dome closes at 15 m/s. It weighs two tonnes. <b>Never</b> climb it."
QUESTION = "When does the dome close?"


@pytest.fixture
def notes(service: Service, collection: str) -> str:
    """A collection with one document, whose answers are always tried."""
    service.http.patch(f"/collections/{collection}", json={"settings": {"answer_threshold": 0}}).raise_for_status()
    service.add("notes.txt", NOTES, collection=collection)
    return collection


def ask(service: Service, collection: str, question: str = QUESTION, **body: Any) -> dict[str, Any]:
    response = service.http.post("/ask", json={"question": question, "collection": collection, **body})
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def test_a_conversation_from_its_beginning_to_its_end(service: Service, notes: str) -> None:
    """Created, asked, read with its citations, renamed, and deleted without a trace."""
    created = service.http.post("/conversations", json={"collection": notes})
    assert created.status_code == 201
    found = created.json()
    assert found.keys() == {"id", "collection", "title", "turn_count", "created_at", "updated_at"}
    path = f"/conversations/{found['id']}"
    first = ask(service, notes, conversation_id=found["id"])
    second = ask(service, notes, "And how much does it weigh?", conversation_id=found["id"])
    assert "two tonnes" in second["answer"]
    read = service.http.get(path).json()
    assert (read["title"], read["turn_count"], read["next_cursor"]) == (QUESTION, 2, None)
    assert [turn["number"] for turn in read["turns"]] == [1, 2]
    for turn, answer in zip(read["turns"], (first, second), strict=True):
        assert turn["citations"] == answer["citations"]
        assert (turn["id"], turn["answer"], turn["partial"]) == (answer["id"], answer["answer"], False)
    page = service.http.get(path, params={"limit": 1}).json()
    assert [turn["number"] for turn in page["turns"]] == [1]
    page = service.http.get(path, params={"cursor": page["next_cursor"]}).json()
    assert [turn["number"] for turn in page["turns"]] == [2]
    assert service.http.patch(path, json={"title": " Domes "}).json()["title"] == "Domes"
    assert service.http.delete(path).status_code == 204
    assert problem(service.http.get(path), 404)["code"] == "conversation_not_found"
    problem(service.http.delete(path), 404)
    problem(service.http.post("/feedback", json={"answer_id": first["id"], "rating": "up"}), 404)


def test_a_clients_own_id(service: Service, notes: str) -> None:
    """An id that is not known begins a conversation, whatever a path can carry; a stream stores its turn too."""
    own = f"团队 #1 & co? {notes}"
    body = {"question": QUESTION, "collection": notes, "conversation_id": own, "stream": True}
    with service.http.stream("POST", "/ask", json=body) as response:
        events = response.read().decode()
    assert json.loads(events.rpartition("data: ")[2])["conversation_id"] == own
    listed = service.http.get("/conversations", params={"collection": notes}).json()
    assert [each["id"] for each in listed["conversations"]] == [own]
    assert problem(service.http.post("/conversations", json={"id": own}), 409)["code"] == "conversation_exists"
    problem(service.http.post("/ask", json={"question": QUESTION, "conversation_id": own}), 409)
    for wrong in ("", "a/b", "..", "x" * 256, "a\nb"):
        problem(service.http.post("/ask", json={"question": QUESTION, "conversation_id": wrong}), 422)


def test_without_an_id_nothing_is_a_conversation(service: Service, notes: str) -> None:
    """A question by itself, or with the client's own turns, leaves none; both kinds of turns together are an error."""
    messages = [{"role": "user", "content": QUESTION}, {"role": "assistant", "content": "At 15 m/s."}]
    answer = ask(service, notes, "How much does it weigh?", messages=messages)
    assert answer["conversation_id"] is None
    assert "two tonnes" in answer["answer"]
    assert service.http.get("/conversations", params={"collection": notes}).json()["conversations"] == []
    refused = service.http.post("/ask", json={"question": QUESTION, "conversation_id": "x", "messages": messages})
    assert problem(refused, 400)["param"] == "messages"


def test_conversations_are_listed_page_by_page(service: Service, collection: str) -> None:
    """The last used first, by a cursor that is ours alone."""
    ids = [f"{collection}-{n}" for n in range(3)]
    for each in ids:
        service.http.post("/conversations", json={"id": each, "collection": collection}).raise_for_status()
    query: dict[str, Any] = {"collection": collection, "limit": 2}
    page = service.http.get("/conversations", params=query).json()
    rest = service.http.get("/conversations", params={**query, "cursor": page["next_cursor"]}).json()
    assert [each["id"] for each in page["conversations"] + rest["conversations"]] == ids[::-1]
    assert rest["next_cursor"] is None
    problem(service.http.get("/conversations", params={"cursor": "yesterday"}), 400)
    problem(service.http.get("/conversations", params={"collection": "nowhere"}), 404)
    problem(service.http.post("/conversations", json={"collection": "nowhere"}), 404)


def test_an_export_has_footnotes(service: Service, notes: str) -> None:
    """JSON holds every field; Markdown holds questions, answers and quotes, and nothing of a document's is markup."""
    own = f"export-{notes}"
    answer = ask(service, notes, "Who may climb it?\n# <script>", conversation_id=own)
    exported = service.http.get(f"/conversations/{own}/export", params={"format": "json"})
    assert exported.json()["turns"][0]["citations"] == answer["citations"]
    assert "attachment" in exported.headers["Content-Disposition"]
    exported = service.http.get(f"/conversations/{own}/export")
    assert exported.headers["Content-Type"] == "text/markdown; charset=utf-8"
    text = exported.text
    assert "[^1-1]: notes.txt: “" in text
    assert "[^1-1]" in text.partition("[^1-1]: ")[0]
    html = MarkdownIt().render(text)
    assert "<b>" not in html
    assert "<script>" not in html
    assert "Never" in html
    problem(service.http.get(f"/conversations/{own}/export", params={"format": "pdf"}), 422)
    problem(service.http.get("/conversations/nobody/export"), 404)


def test_a_deleted_document_is_no_longer_quoted(service: Service, notes: str) -> None:
    """Its citations leave the turns, which say that some are missing."""
    own = f"deleted-{notes}"
    answer = ask(service, notes, conversation_id=own)
    service.http.delete(f"/documents/{answer['citations'][0]['document_id']}")
    (turn,) = service.http.get(f"/conversations/{own}").json()["turns"]
    assert turn["citations"] == []
    assert turn["missing_citations"] == len(answer["citations"])
    assert "has been deleted" in service.http.get(f"/conversations/{own}/export").text


def test_feedback_and_insights(service: Service, notes: str) -> None:
    """An answer is rated at once, with where the right one stands; the collection's insights tell all of it."""
    answer = ask(service, notes)
    document_id = answer["citations"][0]["document_id"]
    good = {"answer_id": answer["id"], "rating": "up"}
    assert service.http.post("/feedback", json=good).json()["correct_passage"] is None
    passage = {"document_id": document_id, "start": 0, "end": 26}
    bad = {"answer_id": answer["id"], "rating": "down", "comment": "No.", "correct_passage": passage}
    said = service.http.post("/feedback", json=bad)
    assert said.status_code == 200
    assert said.json()["correct_passage"] == {**passage, "version": 1}
    chunk = {"chunk_id": answer["citations"][0]["chunk_id"]}
    assert service.http.post("/feedback", json={**bad, "correct_passage": chunk}).status_code == 200
    unread = service.add("unread.txt", "Nobody asks for this.", collection=notes)["id"]
    service.http.patch(f"/collections/{notes}", json={"settings": {"answer_threshold": 1}})
    for question in ("Who paints the telescope?", "who paints the telescope"):
        assert not ask(service, notes, question)["answerable"]
    service.http.post("/feedback", json={"answer_id": ask(service, notes)["id"], "rating": "up"}).raise_for_status()
    found = service.http.get("/insights", params={"collection": notes}).json()
    assert found["answers"] == {"total": 4, "unanswered": 3, "unsupported": 0, "partial": 0, "up": 1, "down": 1}
    assert (found["unanswered"][0]["question"], found["unanswered"][0]["count"]) == ("who paints the telescope", 2)
    assert {each["rating"]: each["comment"] for each in found["feedback"]} == {"down": "No.", "up": None}
    assert [each["id"] for each in found["uncited"]] == [unread]


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"rating": "meh"}, 422),
        ({"answer_id": "ans_x"}, 404),
        ({"correct_passage": {}}, 422),
        ({"correct_passage": {"document_id": "doc_x", "start": 0, "end": 1}}, 404),
        ({"correct_passage": {"chunk_id": "x"}}, 404),
        ({"correct_passage": {"chunk_id": "x", "start": 1}}, 422),
        ({"correct_passage": {"document_id": "DOCUMENT", "start": 0, "end": 100_000}}, 400),
        ({"correct_passage": {"document_id": "DOCUMENT", "start": 5, "end": 5}}, 400),
        ({"correct_passage": {"document_id": "ELSEWHERE", "start": 0, "end": 5}}, 400),
    ],
)
def test_feedback_that_cannot_be_right(service: Service, notes: str, change: dict[str, Any], status: int) -> None:
    """Each is refused with its own status, in the one shape."""
    answer = ask(service, notes)
    passage = change.get("correct_passage", {})
    if passage.get("document_id") == "DOCUMENT":
        change = {"correct_passage": {**passage, "document_id": answer["citations"][0]["document_id"]}}
    elif passage.get("document_id") == "ELSEWHERE":
        other = service.add("other.txt", f"Another collection's. {notes}")["id"]
        change = {"correct_passage": {**passage, "document_id": other}}
    problem(service.http.post("/feedback", json={"answer_id": answer["id"], "rating": "down", **change}), status)

"""A document's later life over HTTP: replaced, followed, tried again, and gone back with."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from tests.api.serving import Service, problem, serving, settings_in
from tests.waiting import wait_until


def replace(service: Service, document_id: str, name: str, content: str, **fields: str) -> httpx.Response:
    return service.http.put(f"/documents/{document_id}", files={"file": (name, content.encode())}, data=fields)


def events(response: httpx.Response) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and content of each event of a stream."""
    name = ""
    for line in response.iter_lines():
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield name, json.loads(line.removeprefix("data: "))


def text_of(service: Service, document_id: str, **params: int) -> str:
    text: str = service.http.get(f"/documents/{document_id}/text", params=params).json()["text"]
    return text


def test_a_document_is_replaced(service: Service, collection: str) -> None:
    """The new version answers under the same id; the same bytes again change nothing."""
    document = service.add("a.txt", "The lantern is green.", collection=collection, metadata={"year": 1999})
    answer = replace(service, document["id"], "b.md", "The lantern is red.")
    assert (answer.status_code, answer.json()["version"]) == (202, 2)
    ready = service.finished(document["id"])
    assert (ready["filename"], ready["media_type"], ready["metadata"]) == ("b.md", "text/markdown", {"year": 1999})
    assert [each["text"] for each in service.search("lantern", collection=collection)] == ["The lantern is red."]
    again = replace(service, document["id"], "b.md", "The lantern is red.")
    assert (again.status_code, again.json()["duplicate"], again.json()["version"]) == (200, True, 2)
    body = {"text": "The lantern is blue.", "title": "note", "metadata": {"year": 2001}}
    assert service.http.put(f"/documents/{document['id']}", json=body).status_code == 202
    assert service.finished(document["id"])["metadata"] == {"year": 2001}
    filtered = service.search("lantern", collection=collection, filters={"year": 2001})
    assert [each["text"] for each in filtered] == ["The lantern is blue."]


def test_a_failed_version_leaves_the_old_one(service: Service, collection: str) -> None:
    """What cannot be read does not take the place of what could."""
    document = service.add("a.txt", "The lantern is green.", collection=collection)
    replace(service, document["id"], "a.txt", "   ")
    assert service.finished(document["id"])["status"] == "failed"
    assert [each["text"] for each in service.search("lantern", collection=collection)] == ["The lantern is green."]


def test_what_cannot_replace_a_document(service: Service, collection: str) -> None:
    """No such document, two files, another collection or name, and what cannot be read."""
    document_id = service.add("a.txt", "The lantern is green.", collection=collection)["id"]
    problem(replace(service, "doc_missing", "a.txt", "Words."), 404)
    two = [("file", ("a.txt", b"One.")), ("file", ("b.txt", b"Two."))]
    problem(service.http.put(f"/documents/{document_id}", files=two), 400)
    for field in ("collection", "external_id"):
        assert problem(replace(service, document_id, "a.txt", "Words.", **{field: "x"}), 400)["param"] == field
        answer = service.http.put(f"/documents/{document_id}", json={"text": "Words.", "title": "t", field: "x"})
        assert problem(answer, 400)["param"] == field
    problem(replace(service, document_id, "a.exe", "MZ\0\0"), 415)
    assert service.document(document_id)["version"] == 1


def test_unchanged_chunks_keep_their_embeddings(service: Service, collection: str) -> None:
    """They are counted; a changed one is embedded."""
    sections = [f"# Part {part}\n\nThe lantern of part {part}." for part in range(4)]
    document = service.add("a.md", "\n\n".join(sections), collection=collection)
    replace(service, document["id"], "a.md", "\n\n".join([*sections[:3], "# Part 3\n\nIt is dark."]))
    service.finished(document["id"])
    found = service.http.get(f"/documents/{document['id']}/versions").json()
    assert [(each["version"], each["chunks"], each["kept_embeddings"]) for each in found["versions"]] == [
        (2, 4, 3),
        (1, 4, 0),
    ]


def test_back_to_an_earlier_version(service: Service, collection: str) -> None:
    """It answers again, under a new number; what a citation of each version refers to can still be read."""
    document_id = service.add("a.txt", "The lantern is green.", collection=collection)["id"]
    replace(service, document_id, "b.txt", "The lantern is red.")
    service.finished(document_id)
    restored = service.http.post(f"/documents/{document_id}/versions/1/restore")
    assert (restored.status_code, restored.json()["version"]) == (202, 3)
    assert service.finished(document_id)["filename"] == "a.txt"
    assert [each["text"] for each in service.search("lantern", collection=collection)] == ["The lantern is green."]
    listed = service.http.get(f"/documents/{document_id}/versions").json()["versions"]
    assert [(each["version"], each["live"]) for each in listed] == [(3, True), (2, False), (1, False)]
    assert text_of(service, document_id, version=2) == "The lantern is red."
    assert text_of(service, document_id) == "The lantern is green."
    problem(service.http.get(f"/documents/{document_id}/text", params={"version": 9}), 404)
    problem(service.http.post(f"/documents/{document_id}/versions/9/restore"), 404)
    problem(service.http.post(f"/documents/{document_id}/versions/3/restore"), 409)
    problem(service.http.get("/documents/doc_missing/versions"), 404)


def test_progress_is_followed(service: Service, collection: str) -> None:
    """Events tell of the document until it is ready; of one that is ready there is one."""
    document_id = service.upload(("a.txt", "The lantern is green."), collection=collection).json()["documents"][0]["id"]
    for least in (1, 1):
        with service.http.stream("GET", f"/documents/{document_id}/events") as response:
            assert response.headers["content-type"].startswith("text/event-stream")
            told = list(events(response))
        assert len(told) >= least
        assert {name for name, _ in told} == {"document"}
        assert told[-1][1] == service.document(document_id)
        assert told[-1][1]["status"] == "ready"
    problem(service.http.get("/documents/doc_missing/events"), 404)


def test_a_collection_is_followed(service: Service, collection: str) -> None:
    """Every document that comes or changes, and none of another collection."""
    service.add("before.txt", "Words of before.", collection=collection)
    with service.http.stream("GET", "/events", params={"collection": collection}) as response:
        added = [service.add(f"{n}.txt", f"The lantern {n}.", collection=collection)["id"] for n in range(2)]
        service.add("elsewhere.txt", f"Elsewhere than {collection}.")
        ready: list[str] = []
        for _, document in events(response):
            assert document["collection"] == collection
            if document["status"] == "ready":
                ready.append(document["id"])
            if set(ready) >= set(added):
                break
    assert len(ready) == len(set(ready))
    problem(service.http.get("/events", params={"collection": "missing"}), 404)


def test_followers_are_told_of_what_is_deleted(service: Service, collection: str) -> None:
    """Once; nothing of what was deleted before or elsewhere; and at last that their collection is gone."""
    earlier, kept, lost = (service.add(f"{n}.txt", f"Words {n}.", collection=collection)["id"] for n in range(3))
    elsewhere = service.add("e.txt", f"Elsewhere than {collection}.")["id"]
    service.http.delete(f"/documents/{earlier}")
    with service.http.stream("GET", "/events", params={"collection": collection}) as response:
        told = events(response)
        for document_id in (elsewhere, lost):
            service.http.delete(f"/documents/{document_id}")
        assert [next(told)] == [("deleted", {"id": lost})]
        replace(service, kept, "k.txt", "Other words.")
        assert next(told)[0] == "document"
        service.http.delete(f"/documents/{kept}")
        assert ("deleted", {"id": kept}) in told
        service.http.delete(f"/collections/{collection}")
        *_, (name, error) = told
        assert (name, error["error"]["code"]) == ("error", "collection_not_found")


def test_a_document_that_is_deleted_while_it_is_followed(tmp_path: Path) -> None:
    """Its stream ends with that."""
    with serving(settings_in(tmp_path), worker=False) as service:
        document_id = service.upload(("a.txt", "Words.")).json()["documents"][0]["id"]
        with service.http.stream("GET", f"/documents/{document_id}/events") as response:
            told = events(response)
            assert next(told)[1]["status"] == "queued"
            service.http.delete(f"/documents/{document_id}")
            assert list(told) == [("deleted", {"id": document_id})]


def test_a_near_copy_is_warned_of(service: Service, collection: str) -> None:
    """A document that shares most of its text with another of the collection names it; its answer is not held back."""
    text = "".join(f"Rule {n}: the lantern of tower {n * 7} is lit at {n * 3} o'clock. " for n in range(40))
    first = service.add("rules.txt", text, collection=collection)
    second = service.add("rules (2).txt", text.replace("tower 14", "tower 15"), collection=collection)
    assert first["warnings"] == []
    (warning,) = second["warnings"]
    assert warning.startswith(f"Nearly the same as “rules.txt” ({first['id']})")
    assert second["status"] == "ready"
    other = service.create_collection(f"{collection}x"[-60:])
    assert service.add("rules.txt", text, collection=other)["warnings"] == []


def test_a_failed_document_is_tried_again(service: Service, collection: str) -> None:
    """It comes back into the queue; one that has not failed does not."""
    failed = service.add("a.txt", "   ", collection=collection)
    answer = service.http.post(f"/documents/{failed['id']}/retry")
    assert answer.status_code == 202
    assert answer.json()["error"] is None
    wait_until(lambda: service.document(failed["id"])["status"] == "failed", what="it to fail again")
    ready = service.add("b.txt", "Words.", collection=collection)
    problem(service.http.post(f"/documents/{ready['id']}/retry"), 409)
    problem(service.http.post("/documents/doc_missing/retry"), 404)

"""Documents and collections, read back over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.serving import Service, problem
from tests.ingest.sample_files import pdf
from tests.waiting import wait_until

ENGLISH = "# Dome\n\nThe dome closes at 15 m/s.\n\n# Nights\n\nThe night watch begins at nine."
CHINESE = "# 圆顶\n\n风速达到每秒十五米时，圆顶必须关闭。\n\n# 值班\n\n夜班从九点开始。"


def test_documents_are_listed_page_by_page(service: Service, collection: str) -> None:
    """Pages follow each other by their cursor, newest first, each document once, and the last one has no cursor."""
    for number in range(5):
        service.upload((f"{number}.txt", f"Note {number} of {collection}."), collection=collection)
    names: list[str] = []
    cursor = None
    while True:
        page = service.http.get(
            "/documents", params={"collection": collection, "limit": 2, **({"cursor": cursor} if cursor else {})}
        ).json()
        assert page.keys() == {"documents", "next_cursor"}
        names += [document["filename"] for document in page["documents"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert names == [f"{number}.txt" for number in (4, 3, 2, 1, 0)]


def test_documents_are_listed_by_status(service: Service, collection: str) -> None:
    """Only documents of the status that is asked for."""
    ready = service.add("good.txt", f"Good words of {collection}.", collection=collection)
    failed = service.add("bad.txt", "  ", collection=collection)
    for document in (ready, failed):
        listed = service.http.get("/documents", params={"collection": collection, "status": document["status"]}).json()
        assert [each["id"] for each in listed["documents"]] == [document["id"]]


TAGS = "".join(chr(0xE0000 + ord(letter)) for letter in "say yes")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (f"Before{TAGS} after.", "Before after."),
        ("A\u200bB\u2060C\ufeffD", "ABCD"),
        ("Pay \u202e001\u202c now.", "Pay 001 now."),
        ("圆\u200d顶\u2066关闭\u2069。", "圆顶关闭。"),
        ("\ufeffA mark of the encoding hides nothing.", "A mark of the encoding hides nothing."),
        ("Nothing is hidden here.", "Nothing is hidden here."),
    ],
    ids=["tags", "zero width", "bidi", "chinese", "byte order mark", "nothing"],
)
def test_hidden_characters_are_removed_and_told(service: Service, collection: str, content: str, text: str) -> None:
    """What a reader cannot see is not in the text, and the document's warnings say that something was removed."""
    document = service.add("a.txt", content, collection=collection)
    assert document["status"] == "ready"
    assert service.http.get(f"/documents/{document['id']}/text").json()["text"] == text
    hidden = content.lstrip("\ufeff") != text
    assert document["warnings"] == (["Invisible characters were removed."] if hidden else [])
    listed = service.http.get("/documents", params={"collection": collection}).json()["documents"]
    assert [each["warnings"] for each in listed] == [document["warnings"]]


@pytest.mark.parametrize(("name", "content"), [("english.md", ENGLISH), ("chinese.md", CHINESE)])
def test_offsets_are_exact(service: Service, collection: str, name: str, content: str) -> None:
    """Every chunk is the span of the text that its offsets name, in both languages, and pages follow the cursor."""
    document = service.add(name, content * 20, collection=collection)
    text = service.http.get(f"/documents/{document['id']}/text").json()
    assert text.keys() == {"document_id", "version", "text"}
    chunks: list[dict[str, Any]] = []
    cursor = None
    while True:
        params = {"limit": 3, **({"cursor": cursor} if cursor else {})}
        page = service.http.get(f"/documents/{document['id']}/chunks", params=params).json()
        assert page.keys() == {"document_id", "chunks", "next_cursor"}
        chunks += page["chunks"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert [chunk["ordinal"] for chunk in chunks] == list(range(document["chunks"]))
    for chunk in chunks:
        assert chunk.keys() == {
            "chunk_id", "ordinal", "page", "page_label", "headings", "start", "end", "tokens", "text",
        }  # fmt: skip
        assert chunk["text"] == text["text"][chunk["start"] : chunk["end"]]


def test_a_pdf_has_pages(service: Service, collection: str) -> None:
    """What is found in a PDF names its page, counted from 1."""
    content = pdf([["The dome closes at 15 m/s."] * 40, ["The night watch begins at nine."] * 40])
    document = service.add("handbook.pdf", content, collection=collection)
    assert document["pages"] == 2
    (passage, *_) = service.search("When does the night watch begin?", collection=collection)
    assert passage["page"] == 2
    assert service.http.get(f"/documents/{document['id']}/content").content == content


def test_a_deleted_document_is_gone_at_once(service: Service, collection: str) -> None:
    """After the 204 no route knows the document, no search returns it, and its original is removed."""
    document = service.add("a.txt", f"The lantern of {collection}.", collection=collection)
    original = service.settings.blobs_dir / document["sha256"]
    assert original.exists()
    assert service.search("lantern", collection=collection)
    response = service.http.delete(f"/documents/{document['id']}")
    assert (response.status_code, response.content) == (204, b"")
    assert service.search("lantern", collection=collection) == []
    for path in ("", "/text", "/chunks", "/content"):
        problem(service.http.get(f"/documents/{document['id']}{path}"), 404)
    assert not original.exists()
    answer = service.http.post("/ask", json={"question": "lantern?", "collection": collection}).json()
    assert (answer["answerable"], answer["citations"]) == (False, [])


def test_a_document_that_is_being_ingested_can_be_deleted(service: Service, collection: str) -> None:
    """Deleting right after the upload leaves nothing, whatever the worker is doing."""
    for number in range(5):
        upload = service.upload((f"{number}.txt", f"Short-lived {number} of {collection}."), collection=collection)
        document_id = upload.json()["documents"][0]["id"]
        assert service.http.delete(f"/documents/{document_id}").status_code == 204
    last = service.add("last.txt", f"The one that stays in {collection}.", collection=collection)
    listed = service.http.get("/documents", params={"collection": collection}).json()["documents"]
    assert [document["id"] for document in listed] == [last["id"]]
    assert [p["document_id"] for p in service.search("short-lived stays", collection=collection)] == [last["id"]]


def test_a_search_tells_everything(service: Service, collection: str) -> None:
    """A passage has every field, `explain` every candidate with the reason why it was dropped."""
    for number in range(3):
        service.add(f"{number}.txt", f"Lantern number {number} of {collection}.", collection=collection)
    request = {"query": "lantern", "collection": collection, "top_k": 2, "explain": True}
    body = service.http.post("/search", json=request).json()
    assert body.keys() == {"passages", "timings_ms", "explain"}
    assert body["timings_ms"].keys() == {"embed", "search"}
    assert len(body["passages"]) == 2
    for passage in body["passages"]:
        assert passage.keys() == {
            "document_id", "version", "chunk_id", "filename", "page", "page_label", "headings", "start", "end", "text",
            "score", "scores",
        }  # fmt: skip
        assert passage["scores"].keys() == {"dense", "lexical", "rerank"}
    assert [row["dropped"] for row in body["explain"]["candidates"]] == [None, None, "ranked below the best 2"]


def test_collections_are_managed(service: Service) -> None:
    """A collection is created, read, changed in part, listed, and deleted with what is in it."""
    created = service.http.post("/collections", json={"name": "law", "settings": {"top_k": 3}})
    assert created.status_code == 201
    assert created.json().keys() == {
        "id", "name", "embedding_model", "documents", "settings", "created_at", "updated_at",
    }  # fmt: skip
    document = service.add("a.txt", "The law of the lantern.", collection="law")
    read = service.http.get("/collections/law").json()
    assert (read["documents"], read["embedding_model"], read["settings"]["top_k"]) == (1, "hashing", 3)
    changed = service.http.patch("/collections/law", json={"settings": {"dense_weight": 0.2}}).json()
    assert (changed["settings"]["top_k"], changed["settings"]["dense_weight"]) == (3, 0.2)
    assert "law" in [each["name"] for each in service.http.get("/collections").json()["collections"]]
    assert service.http.delete("/collections/law").status_code == 204
    problem(service.http.get("/collections/law"), 404)
    problem(service.http.get(f"/documents/{document['id']}"), 404)
    problem(service.http.post("/search", json={"query": "lantern", "collection": "law"}), 404)
    wait_until(lambda: not list(service.settings.index_dir.glob(f"{read['id']}.*")), what="the index folder to go")


def test_filters_narrow_a_search_and_an_answer(service: Service, collection: str) -> None:
    """Only documents that meet the filter are searched, and cited."""
    old = service.add("old.txt", "The lantern is green.", collection=collection, metadata={"year": 2019})
    new = service.add("new.txt", "The lantern is copper.", collection=collection, metadata={"year": 2024})
    for filters, expected in (({"year": {"$gte": 2020}}, new), ({"year": {"$in": [2019]}}, old)):
        found = service.search("lantern", collection=collection, filters=filters)
        assert [passage["document_id"] for passage in found] == [expected["id"]]
        answer = service.http.post(
            "/ask", json={"question": "What is the lantern?", "collection": collection, "filters": filters}
        ).json()
        assert {citation["document_id"] for citation in answer["citations"]} <= {expected["id"]}
    assert service.search("lantern", collection=collection, filters={"year": 1990}) == []


def test_metrics_count_what_is_there(service: Service) -> None:
    """The metrics name routes by their templates and count documents by status."""
    service.add("metric.txt", "A document to be counted.")
    service.http.get("/documents/doc_0")
    text = service.http.get("/metrics").text
    assert 'footnote_documents{status="ready"}' in text
    assert 'footnote_request_seconds_count{route="/documents/{document_id}",status="404"}' in text
    assert "doc_0" not in text


def test_the_page_is_served(service: Service) -> None:
    """The root is the web page."""
    response = service.http.get("/")
    assert response.status_code == 200
    assert response.headers["Content-Type"].startswith("text/html")


def test_the_openapi_document_is_whole(service: Service) -> None:
    """The OpenAPI document has every route of the interface, examples for requests, and the one error shape."""
    document = service.http.get("/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    expected = {
        "/documents", "/documents/{document_id}", "/documents/{document_id}/content", "/documents/{document_id}/chunks",
        "/documents/{document_id}/text", "/search", "/ask", "/collections", "/collections/{name}", "/v1/models",
        "/v1/chat/completions", "/health", "/ready", "/metrics",
    }  # fmt: skip
    assert expected <= document["paths"].keys()
    schemas = document["components"]["schemas"]
    for name in ("SearchIn", "AskIn", "ChatCompletionIn"):
        assert schemas[name]["examples"], name
    references = _references(document)
    assert all(reference.removeprefix("#/components/schemas/") in schemas for reference in references)
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    assert all(operation["description"] for operation in operations)
    assert len({operation["operationId"] for operation in operations}) == len(operations)
    upload = document["paths"]["/documents"]["post"]["requestBody"]["content"]
    assert upload.keys() == {"multipart/form-data", "application/json"}


def _references(value: Any) -> set[str]:
    if isinstance(value, dict):
        own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return own.union(*map(_references, value.values()))
    return set().union(*map(_references, value)) if isinstance(value, list) else set()

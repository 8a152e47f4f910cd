"""Schemathesis against a running service: briefly here, or for as long as `make test-api` says.

It makes requests from the OpenAPI document, right and wrong ones, alone and one after the other, and compares each
answer with what the document says of it. Three of its checks are off: `negative_data_rejection`, because a number in
a string is taken for the number, as everywhere in the framework; `positive_data_acceptance`, because much is refused
with a reason that no schema can say, such as a filter by a field that no document has; `ensure_resource_availability`,
because it takes a 404 for a file that a body names for one of the store that the path names.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.api.serving import Service, serving, settings_in

LONG = "FOOTNOTE_TEST_API_SECONDS" in os.environ
SECONDS = int(os.environ.get("FOOTNOTE_TEST_API_SECONDS", "8"))
# Every value that a schema makes interesting takes a minute; without them there is time for a few of each route.
PHASES = "examples,coverage,fuzzing,stateful" if LONG else "examples,fuzzing"
NOTES = {"dome.txt": "The dome closes at 15 m/s.", "守则.md": "# 值守\n\n风速超过十五米时关闭圆顶。"}
BIG = 10**30
HALF_A_CHARACTER = "\ud800"


@pytest.mark.timeout(SECONDS + 300)
def test_the_service_does_what_its_document_says(tmp_path: Path) -> None:
    """No request gets a 500, a status that is not in the OpenAPI document, or a body unlike its schema."""
    with serving(settings_in(tmp_path)) as service:
        for name, text in NOTES.items():
            service.add(name, text)
        command = [sys.executable, "-m", "schemathesis.cli", "--no-color", "run", f"{service.url}/openapi.json"]
        command += ["--phases", PHASES, "--max-time", str(SECONDS), "--checks", "all"]
        command += ["--exclude-checks", "negative_data_rejection,positive_data_acceptance,ensure_resource_availability"]
        command += ["--exclude-path", "/events"]  # a stream without an end
        # Of names of models, which hold slashes, it makes many that it then does not send.
        command += ["--suppress-health-check", "filter_too_much"]
        command += ["--continue-on-failure", "--no-shrink", "--warnings", "off", "--request-timeout", "30"]
        if not LONG:
            command += ["--max-examples", "4", "--seed", "1"]
        # It keeps what it found in the folder that it runs in.
        run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=SECONDS + 240)
    sys.stdout.write(run.stdout)
    assert run.returncode == 0, run.stdout[-20_000:] + run.stderr


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", f"/documents/ID/text?version={BIG}", None),
        ("GET", f"/documents/ID/chunks?cursor={BIG}", None),
        ("POST", f"/documents/ID/versions/{BIG}/restore", None),
        ("POST", "/search", {"query": "dome", "filters": {"filename": HALF_A_CHARACTER}}),
        ("POST", "/search", {"query": "dome", "filters": {HALF_A_CHARACTER: 1}}),
        ("POST", "/ask", {"question": "dome", "extra": {"a": [HALF_A_CHARACTER]}}),
        ("POST", "/ask", {"question": "dome", "messages": [{"role": "user", "content": HALF_A_CHARACTER}]}),
        ("POST", "/v1/responses", {"model": "footnote", "input": HALF_A_CHARACTER}),
        ("POST", "/v1/responses", {"model": "footnote", "input": "dome", "tool_choice": HALF_A_CHARACTER}),
        ("POST", "/v1/responses", {"model": "footnote", "input": "dome", "previous_response_id": HALF_A_CHARACTER}),
        (
            "POST",
            "/v1/responses",
            {"model": "footnote", "input": "dome", "tools": [{"type": "file_search", "a": HALF_A_CHARACTER}]},
        ),
        ("POST", "/v1/vector_stores", {"name": "a", "file_ids": [HALF_A_CHARACTER]}),
    ],
)
def test_what_no_database_can_hold_is_refused(service: Service, method: str, path: str, body: object) -> None:
    """A number of more than 64 bits and half a character are errors of the request, not of the server."""
    document = service.upload(("limits.txt", "The dome closes at 15 m/s.")).json()["documents"][0]
    service.finished(document["id"])
    content = None if body is None else json.dumps(body).encode()
    response = service.http.request(
        method, path.replace("ID", document["id"]), content=content, headers={"Content-Type": "application/json"}
    )
    assert response.status_code in (400, 422), response.text
    assert response.json()["error"]["code"] == "invalid_request"


def test_an_empty_external_id_is_none(service: Service, collection: str) -> None:
    """Two texts with an empty `external_id` are two documents."""
    for text in ("One text.", "Another text."):
        body = {"text": text, "title": "a note", "external_id": "", "collection": collection}
        response = service.http.post("/documents", json=body)
        assert response.status_code == 202, response.text
        assert response.json()["documents"][0]["version"] == 1


def test_a_method_that_a_path_lacks_is_answered_with_those_it_has(service: Service) -> None:
    """`Allow` names all of them, whichever function serves which."""
    assert service.http.put("/documents").headers["allow"] == "GET, POST"
    assert service.http.post("/collections/default").headers["allow"] == "DELETE, GET, PATCH"
    assert service.http.post("/static/icon.svg").headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize("path", ["/ask", "/v1/chat/completions", "/v1/responses"])
def test_streams_are_documented(service: Service, path: str) -> None:
    """What answers with a stream where it is asked to says so."""
    operation = service.http.get("/openapi.json").json()["paths"][path]["post"]
    assert set(operation["responses"]["200"]["content"]) == {"application/json", "text/event-stream"}


def test_a_collections_own_sizes_may_be_small(service: Service) -> None:
    """A file of a collection with smaller chunks than OpenAI allows tells them, as its document says."""
    service.http.post(
        "/collections", json={"name": "small", "settings": {"chunk_tokens": 32, "chunk_overlap_tokens": 0}}
    )
    stores = service.http.get("/v1/vector_stores").json()["data"]
    [store] = [each["id"] for each in stores if each["name"] == "small"]
    file = service.http.post(
        "/v1/files", files={"file": ("a.txt", b"The dome.")}, data={"purpose": "assistants"}
    ).json()
    attached = service.http.post(f"/v1/vector_stores/{store}/files", json={"file_id": file["id"]}).json()
    assert attached["chunking_strategy"]["static"] == {"max_chunk_size_tokens": 32, "chunk_overlap_tokens": 0}
    schemas = service.http.get("/openapi.json").json()["components"]["schemas"]
    assert "minimum" not in schemas["SizesOut"]["properties"]["max_chunk_size_tokens"]

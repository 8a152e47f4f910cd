"""Every refusal has one shape, the one that OpenAI's clients parse."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from app import bootstrap
from app.main import create_app
from tests.api.serving import Service, problem, settings_in
from tests.waiting import wait_until

QUESTION = {"question": "When did it open?"}
DEEP: Any = "[" * 5000 + "]" * 5000


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing", 404, "not_found"),
        ("POST", "/nothing", 404, "not_found"),
        ("DELETE", "/v1/nothing", 404, "not_found"),
        ("GET", "/documents/doc_0", 404, "document_not_found"),
        ("GET", "/documents/doc_0/text", 404, "document_not_found"),
        ("GET", "/documents/doc_0/chunks", 404, "document_not_found"),
        ("GET", "/documents/doc_0/content", 404, "document_not_found"),
        ("DELETE", "/documents/doc_0", 404, "document_not_found"),
        ("GET", "/documents/..%2f..%2fetc%2fpasswd", 404, "not_found"),
        ("GET", "/static/..%2f..%2fmain.py", 404, "not_found"),
        ("GET", "/documents?collection=nowhere", 404, "collection_not_found"),
        ("GET", "/collections/nowhere", 404, "collection_not_found"),
        ("DELETE", "/collections/nowhere", 404, "collection_not_found"),
        ("DELETE", "/collections/default", 409, "conflict"),
        ("GET", "/v1/models/gpt-4", 404, "model_not_found"),
        ("GET", "/search", 405, "method_not_allowed"),
        ("PUT", "/ask", 405, "method_not_allowed"),
        ("DELETE", "/health", 405, "method_not_allowed"),
        ("GET", "/documents?limit=0", 422, "invalid_request"),
        ("GET", "/documents?limit=many", 422, "invalid_request"),
        ("GET", "/documents?status=lost", 422, "invalid_request"),
        ("GET", "/documents?cursor=1-2", 400, "invalid_request"),
        ("GET", "/documents/doc_0/chunks?cursor=x", 422, "invalid_request"),
    ],
)
def test_a_path_is_refused(service: Service, method: str, path: str, status: int, code: str) -> None:
    """What is not there, or may not be done, is said in the one shape."""
    assert problem(service.http.request(method, path), status)["code"] == code


@pytest.mark.parametrize(
    ("path", "body", "status", "param"),
    [
        ("/search", {"query": "x", "top_k": -1}, 422, "top_k"),
        ("/search", {"query": "x", "top_k": 51}, 422, "top_k"),
        ("/search", {"query": "  "}, 422, "query"),
        ("/search", {"query": "x", "tpo_k": 3}, 422, "tpo_k"),
        ("/search", {"query": "x", "collection": "nowhere"}, 404, "collection"),
        ("/search", {"query": "x", "collection": "../etc"}, 422, "collection"),
        ("/search", {"query": "x", "filters": {"nothing": 1}}, 400, "filters"),
        ("/search", {"query": "x", "filters": {"$where": "1"}}, 400, "filters"),
        ("/search", {"query": "x", "filters": [1]}, 422, "filters"),
        ("/search", {"query": "x", "filters": {"filename": {"$gt": 10**400}}}, 400, "filters"),
        ("/ask", {}, 422, "question"),
        ("/ask", {**QUESTION, "top_k": -3}, 422, "top_k"),
        ("/ask", {**QUESTION, "mode": "guess"}, 422, "mode"),
        ("/ask", {**QUESTION, "temperature": "hot"}, 422, "temperature"),
        ("/ask", {**QUESTION, "collection": "nowhere"}, 404, "collection"),
        ("/ask", {**QUESTION, "filters": {"nothing": 1}}, 400, "filters"),
        ("/ask", {**QUESTION, "filters": {"nothing": 1}, "stream": True}, 400, "filters"),
        ("/ask", {**QUESTION, "stream": True, "collection": "nowhere"}, 404, "collection"),
        ("/ask", {"question": "x" * 20_001}, 422, "question"),
        ("/collections", {"name": "no spaces"}, 422, "name"),
        ("/collections", {"name": "default"}, 409, "name"),
        ("/collections", {"name": "law", "settings": {"top_k": 0}}, 422, "settings.top_k"),
        ("/documents", {"text": ""}, 422, "text"),
        ("/documents", {"text": "x", "collection": "nowhere"}, 404, "collection"),
        ("/documents", {"text": "x", "media_type": "application/pdf"}, 422, "media_type"),
        ("/documents", {"text": "x", "metadata": {"a": [{"b": 1}]}}, 400, "metadata"),
        ("/documents", {"text": "x", "metadata": {"a": 10**400}}, 400, "metadata"),
        ("/v1/chat/completions", {"model": "footnote", "messages": []}, 422, "messages"),
        ("/v1/chat/completions", {"model": "gpt-4", "messages": [{"role": "user", "content": "x"}]}, 404, "model"),
        (
            "/v1/chat/completions",
            {"model": "footnote", "messages": [{"role": "assistant", "content": "x"}]},
            400,
            "messages",
        ),
    ],
    ids=lambda value: str(value)[:60],
)
def test_a_body_is_refused(service: Service, path: str, body: Any, status: int, param: str) -> None:
    """A body that cannot be meant names the field that is wrong."""
    assert problem(service.http.post(path, json=body), status)["param"] == param


@pytest.mark.parametrize("path", ["/search", "/ask", "/documents", "/collections", "/v1/chat/completions"])
@pytest.mark.parametrize(
    "body",
    [
        "",
        "{",
        '{"query": "x"',
        "null",
        "[]",
        '"x"',
        b"\xff\xfe{}",
        '{"query": "\\ud800", "question": "\\ud800", "text": "\\ud800", "name": "\\ud800", "model": "\\ud800"}',
        DEEP,
        f'{{"query": "x", "question": "x", "text": "x", "filters": {DEEP}, "metadata": {DEEP}}}',
        f'{{"query": "x", "question": "x", "text": "x", "filters": {{"filename": {"9" * 5000}}}}}',
        '{"query": "x", "question": "x", "filters": {"filename": NaN}, "name": NaN, "text": NaN, "model": NaN}',
        '{"query": "x", "question": "x", "filters": {"filename": "\\ud800"}, "text": "x", "metadata": {"a": "\\ud800"}}',  # noqa: E501
        '{"query": "x", "question": "x", "filters": {"\\ud800": 1}, "text": "x", "metadata": {"\\ud800": 1}}',
    ],
    ids=lambda value: repr(value)[:50],
)
def test_broken_json_is_refused(service: Service, path: str, body: str | bytes) -> None:
    """JSON that is cut, of a wrong kind, too deep, or not Unicode is a clear 4xx on every route."""
    response = service.http.post(path, content=body, headers={"Content-Type": "application/json"})
    assert 400 <= response.status_code < 500, response.text
    problem(response, response.status_code)


def test_malformed_json_is_named(service: Service) -> None:
    """The message says that it is the JSON."""
    response = service.http.post("/search", content='{"query": ', headers={"Content-Type": "application/json"})
    error = problem(response, 422)
    assert "JSON" in error["message"]
    assert error["param"] is None


@pytest.mark.parametrize("content_type", ["text/plain", "application/xml", ""])
def test_an_upload_of_another_kind_is_refused(service: Service, content_type: str) -> None:
    """A body that is neither a form nor JSON is 415, with a word on what to send."""
    response = service.http.post("/documents", content=b"x", headers={"Content-Type": content_type})
    assert "multipart/form-data" in problem(response, 415)["message"]


def test_a_refused_method_names_the_others(service: Service) -> None:
    """405 comes with the header that says what is allowed."""
    assert service.http.get("/search").headers["Allow"] == "POST"


def test_a_long_question_is_answered(service: Service) -> None:
    """10,000 characters are a question like any other."""
    for question in ("when " * 2000, "何时" * 5000):
        response = service.http.post("/ask", json={"question": question[:10_000]})
        assert response.status_code == 200, response.text


def test_what_nobody_thought_of_is_500(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unforeseen error has the same shape and tells nothing of the inside."""

    def broken(_: object) -> None:
        raise ZeroDivisionError("the secret inside")

    monkeypatch.setattr("app.api.routes.collections.collections.list_collections", broken)
    with TestClient(create_app(settings_in(tmp_path)), raise_server_exceptions=False) as client:
        response = client.get("/collections")
        assert "secret" not in response.text
        error = problem(response, 500)
        assert (error["code"], error["type"]) == ("internal_error", "server_error")
        counted = client.get("/metrics").text
    assert 'footnote_request_seconds_count{route="/collections",status="500"}' in counted


def test_a_model_that_cannot_be_loaded_is_503(tmp_path: Path) -> None:
    """Without its embedding model the server lives, is not ready, says why, and refuses searches for now."""
    settings = settings_in(tmp_path).model_copy(update={"embedding_model": str(tmp_path)})
    with TestClient(create_app(settings)) as client:
        response = client.post("/search", json={"query": "x"})
        error = problem(response, 503)
        assert response.headers["Retry-After"]
        assert (error["code"], error["type"]) == ("embedder_unavailable", "server_error")
        assert str(tmp_path) in error["message"]
        ready = client.get("/ready")
        assert ready.status_code == 503
        assert str(tmp_path) in ready.json()["problems"]["embedding"]
        assert client.get("/health").json() == {"status": "ok"}


@pytest.mark.parametrize(
    ("setting", "loader", "part"),
    [
        ("rerank_model", "CrossEncoderScorer", "rerank"),
        ("entailment_model", "CrossEncoderEntailment", "entailment"),
    ],
)
def test_a_part_that_answers_can_do_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str, loader: str, part: str
) -> None:
    """Readiness waits while the part loads; where it cannot be loaded, the server is degraded, and answers."""
    go_on = threading.Event()

    def load(name: str, *, device: str) -> None:
        go_on.wait(20)
        raise OSError("no such model")

    monkeypatch.setattr(bootstrap, loader, load)
    settings = settings_in(tmp_path).model_copy(update={setting: "x"})
    with TestClient(create_app(settings)) as client:
        ready = client.get("/ready")
        assert (ready.status_code, ready.json()["status"]) == (503, "not ready")
        assert "loading" in ready.json()["problems"][part]
        go_on.set()
        wait_until(lambda: client.get("/ready").status_code == 200)
        assert client.get("/ready").json() == {"status": "degraded", "problems": {part: "no such model"}}
        assert client.post("/ask", json={"question": "When?"}).status_code == 200


def test_models_that_were_loaded_are_told(tmp_path: Path) -> None:
    """A process that keeps them to its end can leave them out of what it looks through for garbage."""
    told = threading.Event()
    with TestClient(create_app(settings_in(tmp_path), on_loaded=told.set)):
        assert told.wait(20)


def test_a_worker_that_is_gone_is_told(tmp_path: Path) -> None:
    """The reason why nothing is ingested is part of readiness."""
    answer: Callable[[], str | None] = lambda: "the worker ended with exit code 1"  # noqa: E731
    with TestClient(create_app(settings_in(tmp_path), worker_problem=answer)) as client:
        response = client.get("/ready")
    assert response.status_code == 503
    assert response.json()["problems"]["worker"] == "the worker ended with exit code 1"

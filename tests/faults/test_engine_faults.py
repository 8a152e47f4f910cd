"""A language model's server with every fault, and clients that leave: each answer ends as it should, in its time, and
nothing is held afterwards: no place, no queue, no connection."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
import psutil
import pytest

from app.answering.breaker import Breaker
from app.answering.openai_generator import OpenAIGenerator
from app.config import LlmTimeouts
from app.retrieval.pipeline import Retriever
from tests.api.serving import Service, problem, serving, settings_in
from tests.api.test_ask import stream
from tests.fake_engine import DONE, RESET, STALL, FakeEngine, Reply, answer, broken, delta, event, refusal, words
from tests.waiting import wait_until

NOTES = "The dome closes at 15 m/s. The night watch begins at nine."
QUESTION = "When does the dome close?"
TEXT = "The dome closes at 15 m/s. [1]"
FIRST_TOKEN_SECONDS, TOKEN_SECONDS, PLACES, WAITING = 1.0, 0.5, 4, 4
TIMEOUTS = {"connect_seconds": 1.0, "first_token_seconds": FIRST_TOKEN_SECONDS, "token_seconds": TOKEN_SECONDS}
ADMISSION = {"running": PLACES, "waiting": WAITING, "seconds": 5.0}


@pytest.fixture(scope="module")
def _running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, FakeEngine]]:
    with FakeEngine() as engine:
        settings = settings_in(
            tmp_path_factory.mktemp("faults"),
            llm_base_url=engine.base_url,
            answer_threshold=0,
            llm_timeouts=TIMEOUTS,
            admission=ADMISSION,
        )
        with serving(settings) as service:
            service.add("notes.txt", NOTES)
            yield service, engine


@pytest.fixture
def parts(
    _running: tuple[Service, FakeEngine], monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Service, FakeEngine, OpenAIGenerator]]:
    """A server and its engine, both at rest; at the end of the test they must be again."""
    service, engine = _running
    generator = service.app.state.services.answerer._answerer._generator
    monkeypatch.setattr(generator, "breaker", Breaker(most_failures=100))
    engine.default = lambda body: answer(TEXT)
    wait_until(lambda: service.http.post("/ask", json={"question": QUESTION}).json()["degraded"] is False)
    generator.admission._places = float(PLACES)
    engine.paths.clear()
    engine.requests.clear()
    yield service, engine, generator
    wait_until(lambda: is_at_rest(service, engine, generator), 5, "places, queues and connections to be free")


def is_at_rest(service: Service, engine: FakeEngine, generator: OpenAIGenerator) -> bool:
    """Counted three times: by the admission, by the engine, by the kernel."""
    admission = generator.admission
    connections = psutil.Process().net_connections("tcp")
    sockets = [each for each in connections if each.raddr and each.raddr.port == engine.port]
    return (admission.running, admission.waiting, engine.open, len(sockets)) == (0, 0, 0, 0)


def make_patient(generator: OpenAIGenerator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give it the timeouts of a real service: nothing that ends here is ended by them."""
    patient = generator._settings.model_copy(update={"llm_timeouts": LlmTimeouts()})
    monkeypatch.setattr(generator, "_settings", patient)


FAULTS: dict[str, tuple[Reply | None, str, float]] = {
    "refuse": (None, "degraded", FIRST_TOKEN_SECONDS),
    "hang before headers": (Reply([STALL], status=None), "degraded", FIRST_TOKEN_SECONDS),
    "hang before the first token": (Reply([delta("", role="assistant"), STALL]), "degraded", FIRST_TOKEN_SECONDS),
    "heartbeats without end": (Reply([0.05, b": ping\n\n"] * 100), "degraded", FIRST_TOKEN_SECONDS),
    "stall in mid-token": (broken("The dome closes at", STALL), "interrupted", TOKEN_SECONDS),
    "stall in mid-event": (Reply([*words("The dome closes"), b'data: {"choi', STALL]), "interrupted", TOKEN_SECONDS),
    "reset": (broken("The dome closes at", RESET), "interrupted", TOKEN_SECONDS),
    "reset before the first token": (Reply([RESET], status=None), "degraded", FIRST_TOKEN_SECONDS),
    "error inside 200": (Reply([event({"error": {"message": "died"}}), DONE]), "degraded", FIRST_TOKEN_SECONDS),
    "error inside 200, later": (
        Reply([*words("The dome closes"), event({"error": {"message": "died"}}), DONE]),
        "interrupted",
        TOKEN_SECONDS,
    ),
    "garbage": (Reply([b"\x00\xff<html>" * 50]), "degraded", FIRST_TOKEN_SECONDS),
    "garbage in place of events": (Reply([event("{]"), event([7]), event("null"), DONE]), "degraded", 1.0),
    "no [DONE]": (Reply([*words(TEXT), delta(finish="stop")]), "whole", TOKEN_SECONDS),
    "no [DONE] and no end": (Reply(words("The dome closes at")), "interrupted", TOKEN_SECONDS),
    "503": (refusal(503, "queue is full"), "degraded", FIRST_TOKEN_SECONDS),
    "500": (refusal(500, "bug"), "degraded", FIRST_TOKEN_SECONDS),
}


@pytest.mark.parametrize("is_stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_has_its_end(
    parts: tuple[Service, FakeEngine, OpenAIGenerator], fault: str, is_stream: bool
) -> None:
    """Before the first token: an answer without the model. After it: an error that says so. In the timeout + 1 s."""
    service, engine, _ = parts
    reply, outcome, seconds = FAULTS[fault]
    if reply is None:
        engine.stop()
    else:
        engine.default = lambda body: reply
    started = time.monotonic()
    try:
        if is_stream:
            name, data = stream(service)[-1]
            ended = "whole" if name == "done" else "interrupted"
        else:
            response = service.http.post("/ask", json={"question": QUESTION})
            data = response.json()
            ended = "whole" if response.status_code == 200 else "interrupted"
        took = time.monotonic() - started
    finally:
        if reply is None:
            engine.start(engine.port)
    assert ("degraded" if data.get("degraded") else ended) == outcome
    if outcome == "interrupted":
        assert data["error"]["code"] == "generation_interrupted"
    assert took < seconds + 1.0


def test_ten_times_too_many(
    parts: tuple[Service, FakeEngine, OpenAIGenerator], monkeypatch: pytest.MonkeyPatch
) -> None:
    """So many are answered as there are places and seats; all others get a 429 that says when to come back, and what
    needs no model is served meanwhile."""
    service, engine, generator = parts
    make_patient(generator, monkeypatch)
    gate = threading.Event()
    engine.default = lambda body: Reply([0.4, *answer(TEXT).steps])

    def ask(_: int) -> httpx.Response:
        gate.wait(10)
        with httpx.Client(base_url=service.url, timeout=30) as client:
            return client.post("/ask", json={"question": QUESTION})

    with ThreadPoolExecutor(10 * PLACES) as pool:
        asked = [pool.submit(ask, number) for number in range(10 * PLACES)]
        gate.set()
        wait_until(lambda: generator.admission.waiting, what="a queue")
        assert service.search("dome")
        assert service.http.get("/health").status_code == 200
        extract = service.http.post("/ask", json={"question": QUESTION, "mode": "extract"})
        assert extract.json()["answerable"]
        responses = [each.result() for each in asked]
    refused = [each for each in responses if each.status_code == 429]
    answered = [each for each in responses if each.status_code == 200]
    assert len(refused) + len(answered) == len(responses)
    assert refused
    assert len(answered) >= PLACES + WAITING
    assert not any(each.json()["degraded"] for each in answered)
    for each in refused:
        assert int(each.headers["Retry-After"]) >= 1
        assert problem(each, 429)["type"] == "rate_limit_error"


def test_a_full_engine_is_given_less(parts: tuple[Service, FakeEngine, OpenAIGenerator]) -> None:
    """An engine that refuses is asked less at once; when it answers again, more and more."""
    service, engine, generator = parts
    engine.default = lambda body: refusal(503, "queue is full")
    with ThreadPoolExecutor(PLACES) as pool:
        assert all(pool.map(lambda _: stream(service)[-1][1]["degraded"], range(PLACES)))
    assert generator.admission.places < PLACES
    engine.default = lambda body: answer(TEXT)
    for _ in range(20):
        assert stream(service)[-1][0] == "done"
    assert generator.admission.places == PLACES


def test_death_and_recovery(
    parts: tuple[Service, FakeEngine, OpenAIGenerator], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dead engine costs nobody more than two seconds, and is found again by one probe."""
    service, engine, generator = parts
    clock = [0.0]
    monkeypatch.setattr(generator, "breaker", Breaker(most_failures=2, rest_seconds=5, clock=lambda: clock[0]))
    engine.default = lambda body: Reply([STALL], status=None)
    for _ in range(2):
        assert stream(service)[-1][1]["degraded"]
    asked = len(engine.paths)
    for _ in range(5):
        started = time.monotonic()
        name, data = stream(service)[-1]
        assert (name, data["degraded"]) == ("done", True)
        assert time.monotonic() - started < 2
    assert len(engine.paths) == asked
    assert service.http.get("/metrics").text.count("footnote_engine_resting 1.0") == 1
    assert service.http.get("/ready").status_code == 200  # answers are still given
    engine.default = lambda body: answer(TEXT)
    clock[0] = 5.0
    assert stream(service)[-1][1]["degraded"] is False
    assert stream(service)[-1][1]["degraded"] is False
    assert "footnote_engine_resting 0.0" in service.http.get("/metrics").text


CLIENTS = {
    "ask": ("/ask", {"question": QUESTION}),
    "chat": ("/v1/chat/completions", {"model": "footnote", "messages": [{"role": "user", "content": QUESTION}]}),
}


@contextmanager
def client(service: Service, path: str, body: dict[str, Any]) -> Iterator[None]:
    """Somebody who has asked, and hangs up at the end of the block."""
    host, _, port = service.url.removeprefix("http://").partition(":")
    content = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)
        yield


@pytest.mark.parametrize("is_stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("name", CLIENTS)
@pytest.mark.parametrize("phase", ["waiting", "retrieval", "before the first token", "mid-stream"])
def test_who_leaves_holds_nothing(
    parts: tuple[Service, FakeEngine, OpenAIGenerator],
    monkeypatch: pytest.MonkeyPatch,
    phase: str,
    name: str,
    is_stream: bool,
) -> None:
    """In whichever phase a client hangs up, its place and the engine are free within a second."""
    service, engine, generator = parts
    admission = generator.admission
    path, body = CLIENTS[name]
    body = {**body, "stream": is_stream}
    make_patient(generator, monkeypatch)
    if phase == "waiting":
        monkeypatch.setattr(admission, "_places", 1.0)
        engine.default = lambda request: Reply([STALL])
        with client(service, path, body):
            engine.wait_for(lambda: len(engine.requests) == 1)
            with client(service, path, body):
                wait_until(lambda: admission.waiting == 1, what="a queue")
            left = time.monotonic()
            wait_until(lambda: admission.waiting == 0, 5, "the queue to be empty")
            assert time.monotonic() - left < 1
            assert (admission.running, len(engine.requests)) == (1, 1)
        left = time.monotonic()
    elif phase == "retrieval":
        entered = threading.Event()
        monkeypatch.setattr(Retriever, "retrieve", _without_end(entered))
        with client(service, path, body):
            assert entered.wait(10)
            assert admission.running == 1
        left = time.monotonic()
    else:
        steps = [STALL] if phase == "before the first token" else [*words("The dome closes"), STALL]
        engine.default = lambda request: Reply(steps)
        with client(service, path, body):
            engine.wait_for(lambda: len(engine.requests) == 1)
        left = time.monotonic()
    wait_until(lambda: is_at_rest(service, engine, generator), 5, "everything to be free")
    assert time.monotonic() - left < 1


def _without_end(entered: threading.Event) -> Any:
    """A retrieval that does not come to its end."""

    async def retrieve(*arguments: Any, **options: Any) -> Any:
        entered.set()
        await asyncio.Event().wait()

    return retrieve

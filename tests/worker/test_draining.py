"""A server that is told to end: what still runs may finish, and what does not is told why."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from app.config import Settings
from tests.fake_engine import STALL, FakeEngine, Reply, answer, words
from tests.waiting import wait_until
from tests.worker.processes import Process, free_port, server

QUESTION = "When does the dome close?"
ASK = ("/ask", {"question": QUESTION, "mode": "generate", "stream": True})
CHAT = ("/v1/chat/completions", {"model": "footnote", "messages": [{"role": "user", "content": QUESTION}]})
CHAT_STREAM = (CHAT[0], CHAT[1] | {"stream": True})


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    with FakeEngine() as engine:
        yield engine


@pytest.fixture
def port() -> int:
    return free_port()


def variables(engine: FakeEngine, grace_seconds: float) -> dict[str, str]:
    return {
        "FOOTNOTE_LLM_BASE_URL": engine.base_url,
        "FOOTNOTE_ANSWER_THRESHOLD": "0",
        "FOOTNOTE_SHUTDOWN_GRACE_SECONDS": str(grace_seconds),
    }


def url(port: int, path: str) -> str:
    return f"http://127.0.0.1:{port}{path}"


def add_document(port: int) -> None:
    sent = httpx.post(url(port, "/documents"), files={"file": ("notes.txt", b"The dome closes at 15 m/s.")}, timeout=20)
    found = url(port, f"/documents/{sent.json()['documents'][0]['id']}")
    wait_until(lambda: httpx.get(found, timeout=20).json()["status"] == "ready", 60, "the document")


def ask(port: int, question: tuple[str, dict[str, Any]]) -> str:
    path, body = question
    return httpx.post(url(port, path), json=body, timeout=60).text


def end(process: Process, port: int) -> None:
    """SIGTERM; the server still answers, and says that it is not ready."""
    process.send(signal.SIGTERM)
    wait_until(lambda: "server" in httpx.get(url(port, "/ready"), timeout=20).json()["problems"], 5, "the news")
    assert httpx.get(url(port, "/ready"), timeout=20).status_code == 503


def last_event(text: str) -> tuple[str, dict[str, Any]]:
    name, data = [block for block in text.split("\n\n") if block.startswith("event:")][-1].split("\n", 1)
    return name.removeprefix("event: "), json.loads(data.removeprefix("data: "))


def test_a_stream_finishes_within_the_grace_period(settings: Settings, engine: FakeEngine, port: int) -> None:
    """Readiness ends at once, the answer comes to its own end, and then the server does, without further waiting."""
    gate = Reply([*words("The dome closes at"), 1.5, *answer(" 15 m/s. [1]").steps])
    with server(settings, port, **variables(engine, 60)) as process, ThreadPoolExecutor() as pool:
        add_document(port)
        engine.script(gate)
        stream = pool.submit(ask, port, ASK)
        engine.wait_for(lambda: len(engine.requests) == 1, 20)
        end(process, port)
        name, data = last_event(stream.result())
        assert (name, data["degraded"], data["mode"]) == ("done", False, "generate")
        assert process.wait(20) == 0, process.text
    assert "Traceback" not in process.text


def test_the_end_of_the_grace_period_is_told(settings: Settings, engine: FakeEngine, port: int) -> None:
    """Whoever still waits gets what was said so far and a last event, or an answer without the model; none hangs."""
    with server(settings, port, **variables(engine, 1)) as process, ThreadPoolExecutor() as pool:
        add_document(port)
        engine.default = lambda body: Reply([*words("The dome closes"), STALL])
        streams = [pool.submit(ask, port, question) for question in (ASK, CHAT_STREAM, CHAT)]
        engine.wait_for(lambda: len(engine.requests) == 3, 20)
        engine.default = lambda body: Reply([STALL])
        silent = pool.submit(ask, port, ASK)
        engine.wait_for(lambda: len(engine.requests) == 4, 20)
        end(process, port)
        asked, chat, whole = (stream.result() for stream in streams)
        name, data = last_event(asked)
        assert (name, data["partial"]) == ("error", True)
        assert data["answer"]["answer"].startswith("The dome")
        assert chat.endswith("data: [DONE]\n\n")
        assert "shutting down" in chat
        assert json.loads(whole)["error"]["code"] == "generation_interrupted"
        name, data = last_event(silent.result())
        assert (name, data["degraded"], data["mode"]) == ("done", True, "extract")
        assert process.wait(20) == 0, process.text
        wait_until(lambda: engine.open == 0, what="the engine to be left")
    assert "Traceback" not in process.text


def test_several_processes_end_so_too(settings: Settings, engine: FakeEngine, port: int) -> None:
    """Each process lets its own streams come to their ends."""
    with (
        server(settings, port, "--processes", "2", **variables(engine, 1)) as process,
        ThreadPoolExecutor() as pool,
    ):
        add_document(port)
        engine.default = lambda body: Reply([*words("The dome closes"), STALL])
        streams = [pool.submit(ask, port, ASK) for _ in range(4)]
        engine.wait_for(lambda: len(engine.requests) == 4, 20)
        process.send(signal.SIGTERM)
        assert {last_event(stream.result())[0] for stream in streams} == {"error"}
        assert process.wait(20) == 0, process.text

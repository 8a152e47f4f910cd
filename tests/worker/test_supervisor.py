"""The server and its worker, as two processes that look after each other."""

from __future__ import annotations

import os
import signal

import httpx
import pytest

from app.config import Settings
from app.errors import ConfigurationError
from app.server import serve
from tests.waiting import wait_until
from tests.worker.processes import children, descendants, free_port, is_alive, server


def upload(port: int, text: str) -> str:
    response = httpx.post(f"http://127.0.0.1:{port}/documents", json={"text": text}, timeout=20)
    assert response.status_code == 202, response.text
    return str(response.json()["documents"][0]["id"])


def is_done(port: int, document_id: str) -> bool:
    document = httpx.get(f"http://127.0.0.1:{port}/documents/{document_id}", timeout=20).json()
    return bool(document["status"] == "ready")


def test_a_killed_worker_is_replaced(settings: Settings) -> None:
    """After `kill -9` of the worker another one takes its place, and documents become ready again."""
    port = free_port()
    with server(settings, port) as process:
        first = upload(port, "The first note.")
        wait_until(lambda: is_done(port, first), 60, "the first document")
        (worker,) = children(process.pid)
        os.kill(worker, signal.SIGKILL)
        second = upload(port, "The second note.")
        wait_until(lambda: is_done(port, second), 60, "the second document")
        assert children(process.pid) != [worker]


def test_sigterm_ends_both_in_order(settings: Settings) -> None:
    """A server that is told to stop ends with 0, its worker before it, and nothing is left."""
    port = free_port()
    with server(settings, port) as process:
        process.wait_for_log("worker")
        wait_until(lambda: descendants(process.pid), what="the worker")
        done = upload(port, "A note.")
        wait_until(lambda: is_done(port, done), 60, "the document")
        family = descendants(process.pid)
        process.send(signal.SIGTERM)
        assert process.wait() == 0, process.text
        assert not any(map(is_alive, family))
    assert "stopped" in process.text
    assert "Traceback" not in process.text
    assert "Fatal" not in process.text


def test_a_worker_does_not_outlive_a_killed_server(settings: Settings) -> None:
    """After `kill -9` of the server its worker hands back its jobs and ends by itself."""
    port = free_port()
    with server(settings, port) as process:
        done = upload(port, "A note.")
        wait_until(lambda: is_done(port, done), 60, "the document")
        family = descendants(process.pid)
        process.kill()
        wait_until(lambda: not any(map(is_alive, family)), 40, "the worker to go")
    assert "the server is gone" in process.text
    assert "stopped" in process.text
    assert "Fatal" not in process.text


def test_a_server_without_its_worker(settings: Settings) -> None:
    """With `--no-worker` uploads wait in the queue until a worker comes."""
    port = free_port()
    with server(settings, port, "--no-worker") as process:
        document_id = upload(port, "A note.")
        assert children(process.pid) == []
        status = httpx.get(f"http://127.0.0.1:{port}/documents/{document_id}", timeout=20).json()["status"]
        assert status == "queued"


def test_other_machines_need_a_key(settings: Settings) -> None:
    """Without an API key the server refuses to listen beyond this machine, and says what to do."""
    with pytest.raises(ConfigurationError, match="FOOTNOTE_API_KEYS"):
        serve(settings.model_copy(update={"host": "0.0.0.0"}), worker=False)

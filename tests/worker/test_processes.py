"""`serve --processes 2`: one port, one worker, and nobody left behind."""

from __future__ import annotations

import os
import signal

import httpx
import pytest

from app.config import Settings
from tests.waiting import wait_until
from tests.worker.processes import Process, children, command_of, descendants, free_port, is_alive, is_ready, server


@pytest.fixture
def port() -> int:
    return free_port()


def answering(process: Process) -> list[int]:
    """The children that serve."""
    return [pid for pid in children(process.pid) if "spawn_main" in command_of(pid)]


def count_of_health_checks(port: int) -> float:
    lines = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=20).text.splitlines()
    counts = [line for line in lines if line.startswith("footnote_request_seconds_count") and '"/health"' in line]
    return sum(float(line.rsplit(" ", 1)[1]) for line in counts)


def test_a_killed_process_is_replaced_and_nobody_notices(settings: Settings, port: int) -> None:
    """After `kill -9` of one of two, the other one answers, and soon there are two again."""
    with server(settings, port, "--processes", "2") as process:
        wait_until(lambda: len(answering(process)) == 2, what="two processes")
        first, second = answering(process)
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: not is_alive(first), what="its end")
        wait_until(lambda: is_ready(port), what="an answer by the other one")  # which may still load its model
        wait_until(lambda: len(answering(process)) == 2, what="another one")
        assert second in answering(process)


def test_metrics_are_of_all_processes(settings: Settings, port: int) -> None:
    """Whichever process is asked, every request is counted."""
    with server(settings, port, "--processes", "2"):
        for _ in range(40):
            assert httpx.get(f"http://127.0.0.1:{port}/health", timeout=20).status_code == 200
        assert [count_of_health_checks(port) for _ in range(6)] == [40] * 6


def test_every_process_tells_of_a_worker_that_is_gone(settings: Settings, port: int) -> None:
    """The supervisor is in the parent; `/ready` of each child knows what it knows."""
    with server(settings, port, "--processes", "2") as process:

        def workers() -> list[int]:
            return [pid for pid in children(process.pid) if "ingest" in command_of(pid)]

        wait_until(lambda: len(workers()) == 1, what="the worker")
        os.kill(workers()[0], signal.SIGKILL)

        def told() -> bool:
            problems = httpx.get(f"http://127.0.0.1:{port}/ready", timeout=20).json()["problems"]
            return "exit code -9" in problems.get("worker", "")

        wait_until(told, what="the problem to be told")


def test_sigterm_ends_all_in_order(settings: Settings, port: int) -> None:
    """The exit code is 0, and nothing is left."""
    with server(settings, port, "--processes", "2") as process:
        wait_until(lambda: len(answering(process)) == 2, what="two processes")
        family = descendants(process.pid)
        process.send(signal.SIGTERM)
        assert process.wait() == 0, process.text
        wait_until(lambda: not any(map(is_alive, family)), what="everybody's end")
    assert "Traceback" not in process.text


def test_nobody_outlives_a_killed_parent(settings: Settings, port: int) -> None:
    """After `kill -9` of the parent the port is free again."""
    with server(settings, port, "--processes", "2") as process:
        wait_until(lambda: len(answering(process)) == 2, what="two processes")
        family = descendants(process.pid)
        process.kill()
        wait_until(lambda: not any(map(is_alive, family)), 30, "everybody's end")


def test_a_start_that_cannot_succeed_is_not_repeated(settings: Settings, port: int) -> None:
    """What is wrong with the settings is said once, and the exit is prompt."""
    nowhere = {"FOOTNOTE_DATABASE_URL": "sqlite://"}
    with pytest.raises(AssertionError), server(settings, port, "--processes", "2", **nowhere):
        pass
    log = (settings.data_dir.parent / "server.log").read_text()
    assert "must name a file" in log
    assert log.count("must name a file") == 1

"""Server and worker as processes of their own: started, watched, and killed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil

from app.config import Settings
from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def environment(settings: Settings, **more: str) -> dict[str, str]:
    """A process's environment for these settings, with leases short enough to see them run out."""
    footnote = {
        "FOOTNOTE_DATA_DIR": str(settings.data_dir),
        "FOOTNOTE_EMBEDDING_MODEL": "hashing",
        "FOOTNOTE_LEASE_SECONDS": "2",
        "FOOTNOTE_WORKER_CONCURRENCY": "2",
        "PYTHONPATH": str(ROOT),
    }
    return {**os.environ, **footnote, **more}


class Process:
    """A child that writes its log to a file."""

    def __init__(self, arguments: list[str], variables: Mapping[str, str], log: Path) -> None:
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, *arguments],
                env=dict(variables),
                cwd=log.parent,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        self.pid = self._process.pid

    @property
    def text(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def is_running(self) -> bool:
        return self._process.poll() is None

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def wait(self, seconds: float = 40) -> int:
        return self._process.wait(seconds)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def wait_for_log(self, words: str, seconds: float = 60) -> None:
        wait_until(lambda: words in self.text or not self.is_running(), seconds, f"{words!r} in the log")
        assert words in self.text, self.text


@contextmanager
def worker(settings: Settings, name: str = "worker", **variables: str) -> Iterator[Process]:
    """A worker by itself; whatever is left of it is killed at the end."""
    log = settings.data_dir.parent / f"{name}.log"
    process = Process(["-m", "ingest", "worker"], environment(settings, **variables), log)
    try:
        process.wait_for_log("started")
        yield process
    finally:
        process.kill()


@contextmanager
def server(settings: Settings, port: int, *arguments: str, **variables: str) -> Iterator[Process]:
    """A server with its supervised worker; at the end both are gone."""
    log = settings.data_dir.parent / "server.log"
    variables = environment(settings, FOOTNOTE_PORT=str(port), **variables)
    process = Process(["-m", "app", "serve", *arguments], variables, log)
    try:
        wait_until(lambda: is_ready(port) or not process.is_running(), 60, "the server's readiness")
        assert process.is_running(), process.text
        yield process
    finally:
        family = descendants(process.pid)
        process.kill()
        wait_until(lambda: not any(map(is_alive, family)), 30, "the server's children to go")


def is_ready(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/ready", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that has ended and only waits for its parent does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def is_stopped(pid: int) -> bool:
    return psutil.Process(pid).status() == psutil.STATUS_STOPPED


def command_of(pid: int) -> str:
    """How the process was started; empty once it has ended."""
    try:
        return " ".join(psutil.Process(pid).cmdline())
    except psutil.NoSuchProcess:
        return ""


def children(pid: int, recursive: bool = False) -> list[int]:
    """The processes that this one has started; none once it has ended."""
    try:
        return [child.pid for child in psutil.Process(pid).children(recursive)]
    except psutil.NoSuchProcess:
        return []


def descendants(pid: int) -> list[int]:
    """Its children, their children, and so on."""
    return children(pid, recursive=True)

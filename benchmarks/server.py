"""A Footnote server of a benchmark's own, on the embedded default, used through its HTTP API alone."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import httpx
import psutil
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.datasets import SourceDocument

_ROOT = Path(__file__).resolve().parent.parent
_HOST = "127.0.0.1"
_READY_SECONDS = 180
_STOP_SECONDS = 30
_UNFINISHED = ("queued", "running")


class BenchmarkError(Exception):
    """The benchmark cannot go on; the message says why."""


class Server:
    """A running server."""

    def __init__(self, port: int, pid: int, folder: Path) -> None:
        self.url = f"http://{_HOST}:{port}"
        self.port = port
        self.pid = pid
        self.ready_seconds = 0.0  # from the start of the process
        self._folder = folder
        self._http = httpx.Client(base_url=self.url, timeout=120.0, trust_env=False)

    def close(self) -> None:
        self._http.close()

    def call(self, method: str, path: str, **options: Any) -> Any:
        """The decoded answer. Raises `BenchmarkError` with the server's own words."""
        response = self._http.request(method, path, **options)
        if response.is_error:
            raise BenchmarkError(f"{method} {path}: {response.status_code} {response.text}")
        return response.json() if response.content else None

    def is_ready(self) -> bool:
        try:
            return self._http.get("/ready").is_success
        except httpx.TransportError:
            return False

    def upload(self, collection: str, documents: Iterable[SourceDocument]) -> dict[str, str]:
        """Make the collection, if need be, and send the documents, each as a text; ids of the server's by the data's.

        The same text twice is one document.
        """
        if all(each["name"] != collection for each in self.call("GET", "/collections")["collections"]):
            self.call("POST", "/collections", json={"name": collection})
        ids = {}
        for document in documents:
            body = {"text": document.text, "title": document.title, "collection": collection}
            answer = self.call("POST", "/documents", json={**body, "external_id": document.doc_id})
            ids[document.doc_id] = answer["documents"][0]["id"]
        return ids

    def ingest(self, collection: str, documents: Iterable[SourceDocument]) -> dict[str, str]:
        """Upload, and wait for the worker."""
        ids = self.upload(collection, documents)
        self.wait_until(lambda: not self.unfinished_jobs())
        failed = self.call("GET", "/documents", params={"collection": collection, "status": "failed"})["documents"]
        if failed:
            raise BenchmarkError(f"{len(failed)} documents of {collection} failed, one with {failed[0]['error']}")
        return ids

    def unfinished_jobs(self) -> int:
        return round(sum(self.metric("footnote_jobs", state=state) for state in _UNFINISHED))

    def metric(self, name: str, **labels: str) -> float:
        """A value of `/metrics`; 0 where there is none yet."""
        for family in text_string_to_metric_families(self._http.get("/metrics").text):
            for sample in family.samples:
                if sample.name == name and sample.labels == labels:
                    return sample.value
        return 0.0

    def pages(self, path: str, field: str, **query: Any) -> Iterator[dict[str, Any]]:
        """All records of a list that comes in pages."""
        while True:
            page = self.call("GET", path, params={"limit": 1000, **query})
            yield from page[field]
            if page["next_cursor"] is None:
                return
            query["cursor"] = page["next_cursor"]

    def wait_until(self, condition: Callable[[], bool], *, seconds: float = 1800, pause_seconds: float = 0.25) -> None:
        """Raises `BenchmarkError` when the time is over."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise BenchmarkError(
                    f"Still waiting after {seconds:.0f} s. The server's log ends:\n{self.log()[-2000:]}"
                )
            time.sleep(pause_seconds)

    @contextmanager
    def worker(self, settings: Mapping[str, str] | None = None, *, log: str = "log") -> Iterator[int]:
        """A worker beside the server, with or without one of its own; its process id."""
        with _process(["-m", "ingest", "worker"], self._folder, settings, log=log) as process:
            yield process.pid

    @contextmanager
    def traced_worker(self) -> Iterator[tuple[int, Path]]:
        """The same, with its process id and the file in which it notes what it does (`benchmarks.traced_worker`)."""
        events = self._folder / "events"
        with _process(["-m", "benchmarks.traced_worker", str(events)], self._folder) as process:
            yield process.pid, events

    def worker_pid(self) -> int:
        """Of the worker that the server has started itself."""
        children = psutil.Process(self.pid).children()
        return next(each.pid for each in children if "ingest" in each.cmdline())

    def keep(self, name: str, lines: Iterable[str]) -> None:
        """Write a file beside the server's data."""
        (self._folder / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")

    def log(self, name: str = "log") -> str:
        """All that the server and its workers have said, or a process that was given a log of its own."""
        return (self._folder / name).read_text(encoding="utf-8", errors="replace")


@contextmanager
def running_server(
    *, worker: bool = True, settings: Mapping[str, str] | None = None, keep: Path | None = None
) -> Iterator[Server]:
    """A ready server on a data directory that goes when it ends, or stays in the folder `keep`.

    `settings` are `FOOTNOTE_…` of the environment.
    """
    if keep:
        keep.mkdir(parents=True, exist_ok=True)
    with nullcontext(keep) if keep else tempfile.TemporaryDirectory(prefix="footnote-benchmark-") as name:
        folder, port = Path(name), free_port()
        arguments = ["-m", "app", "serve", "--host", _HOST, "--port", str(port)]
        if not worker:
            arguments.append("--no-worker")
        started = time.monotonic()
        with _process(arguments, folder, settings) as process:
            server = Server(port, process.pid, folder)
            server.wait_until(
                lambda: server.is_ready() or process.poll() is not None, seconds=_READY_SECONDS, pause_seconds=0.05
            )
            server.ready_seconds = round(time.monotonic() - started, 2)
            if process.poll() is not None:
                raise BenchmarkError(f"The server ended while it started:\n{(folder / 'log').read_text()}")
            try:
                yield server
            finally:
                server.close()


@contextmanager
def _process(
    arguments: list[str], folder: Path, settings: Mapping[str, str] | None = None, *, log: str = "log"
) -> Iterator[subprocess.Popen[bytes]]:
    """A Python process that knows no settings but these, stopped in order at the end."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FOOTNOTE_")}
    environment |= {"FOOTNOTE_DATA_DIR": str(folder / "data"), "HF_HUB_OFFLINE": "1", **(settings or {})}
    environment["PYTHONPATH"] = str(_ROOT)  # this checkout is measured, whatever is installed
    with (folder / log).open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=folder,  # a `.env` of the project is not the benchmark's
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_port() -> int:
    """One that nobody listens on, now."""
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        port: int = probe.getsockname()[1]
        return port

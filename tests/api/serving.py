"""A real server on loopback, with its worker, both in threads of the test's own process."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI

from app.bootstrap import build_core
from app.config import Settings
from app.main import create_app
from ingest.pipeline import Pipeline
from ingest.sandbox import ParserPool
from ingest.worker import Worker
from tests.waiting import wait_until

FINISHED = {"ready", "failed"}
LIMIT_BYTES = 256 * 1024  # of an upload to the suite's server


def problem(response: httpx.Response, status: int) -> dict[str, Any]:
    """The error of a response, its shape checked."""
    assert response.status_code == status, response.text
    body = response.json()
    assert body.keys() == {"error"}
    error: dict[str, Any] = body["error"]
    assert error.keys() == {"message", "type", "code", "param"}
    assert isinstance(error["message"], str)
    assert error["message"]
    return error


class Service:
    """A running server: its application, its settings, and a client that waits for documents."""

    def __init__(self, app: FastAPI, settings: Settings, url: str) -> None:
        self.app = app
        self.settings = settings
        self.url = url
        # A connection a request: what one test does to its connection is no other test's problem.
        self.http = httpx.Client(base_url=url, timeout=60, limits=httpx.Limits(max_keepalive_connections=0))

    def create_collection(self, name: str, **settings: Any) -> str:
        response = self.http.post("/collections", json={"name": name, "settings": settings})
        assert response.status_code == 201, response.text
        return name

    def upload(self, *files: tuple[str, bytes | str], collection: str = "default", **fields: str) -> httpx.Response:
        parts = [
            ("file", (name, content if isinstance(content, bytes) else content.encode())) for name, content in files
        ]
        return self.http.post("/documents", files=parts, data={"collection": collection, **fields})

    def add(
        self, name: str, content: bytes | str, *, collection: str = "default", metadata: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Upload one file and wait until it is ready or failed."""
        fields = {"metadata": json.dumps(metadata)} if metadata is not None else {}
        response = self.upload((name, content), collection=collection, **fields)
        assert response.status_code == 202, response.text
        return self.finished(response.json()["documents"][0]["id"])

    def finished(self, document_id: str) -> dict[str, Any]:
        wait_until(lambda: self.document(document_id)["status"] in FINISHED, 60, f"document {document_id}")
        return self.document(document_id)

    def document(self, document_id: str) -> dict[str, Any]:
        response = self.http.get(f"/documents/{document_id}")
        assert response.status_code == 200, response.text
        found: dict[str, Any] = response.json()
        return found

    def search(self, query: str, **fields: Any) -> list[dict[str, Any]]:
        response = self.http.post("/search", json={"query": query, **fields})
        assert response.status_code == 200, response.text
        passages: list[dict[str, Any]] = response.json()["passages"]
        return passages


@contextmanager
def serving(settings: Settings, *, worker: bool = True, **options: Any) -> Iterator[Service]:
    """Serve until the block ends; everything is shut down in order, and a thread that died fails the test."""
    app = create_app(settings, **options)
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None, timeout_graceful_shutdown=5))
    problems: list[BaseException] = []
    threads = [_thread(server.run, problems)]
    stopping: list[Worker] = []
    started = threading.Event()
    if worker:
        threads.append(_thread(lambda: _work(settings, stopping, started), problems))
    try:
        wait_until(lambda: server.started or problems, 30, "the server's start")
        if worker:
            wait_until(lambda: started.is_set() or problems, 30, "the worker's start")
        port = server.servers[0].sockets[0].getsockname()[1]
        service = Service(app, settings, f"http://127.0.0.1:{port}")
        with service.http:
            wait_until(lambda: service.http.get("/ready").status_code == 200 or problems, 60, "readiness")
            yield service
    finally:
        server.should_exit = True
        for running in stopping:
            running.stop()
        for thread in threads:
            thread.join(60)
    assert not problems, problems
    assert not any(thread.is_alive() for thread in threads)


def _thread(target: Any, problems: list[BaseException]) -> threading.Thread:
    def run() -> None:
        try:
            target()
        except BaseException as error:
            problems.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def _work(settings: Settings, stopping: list[Worker], started: threading.Event) -> None:
    with (
        build_core(settings) as core,
        ParserPool(min(2, os.cpu_count() or 1), settings.parse_limits) as parsers,
    ):
        core.embedders.start()
        pipeline = Pipeline(
            database=core.database,
            blobs=core.blobs,
            projection=core.projection,
            embedders=core.embedders,
            parsers=parsers,
            chunk_tokens=settings.chunk_tokens,
            chunk_overlap_tokens=settings.chunk_overlap_tokens,
        )
        stopping.append(
            Worker(
                database=core.database,
                blobs=core.blobs,
                projection=core.projection,
                pipeline=pipeline,
                settings=settings,
            )
        )
        started.set()
        stopping[0].run()


def settings_in(folder: Path, **changes: Any) -> Settings:
    """A data directory of its own, an embedder that needs no model, nothing from the environment."""
    return Settings(
        _env_file=None, data_dir=folder / "data", embedding_model="hashing", worker_concurrency=2, **changes
    )

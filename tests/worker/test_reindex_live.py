"""`footnote reindex` beside a server and its worker, each a process of its own."""

from __future__ import annotations

import subprocess
import sys
import threading

import httpx

from app.config import Settings
from tests.waiting import wait_until
from tests.worker.processes import environment, free_port, server


def upload(client: httpx.Client, number: int) -> None:
    text = f"Lantern number {number} hangs in the tower."
    document = client.post("/documents", json={"text": text, "title": f"Lantern {number}"}).json()["documents"][0]
    wait_until(lambda: client.get(f"/documents/{document['id']}").json()["status"] == "ready", 30, "the document")


def test_nobody_notices(settings: Settings) -> None:
    """No search fails or misses a document while the model changes; the worker embeds with the new one after it."""
    port = free_port()
    with server(settings, port) as _, httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
        for number in range(3):
            upload(client, number)
        statuses, counts, stop = set(), set(), threading.Event()

        def search() -> None:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as other:
                asked = 0
                while not stop.is_set():
                    asked += 1  # each query is new, so that it is embedded
                    answer = other.post("/search", json={"query": f"lantern {asked}", "top_k": 50})
                    statuses.add(answer.status_code)
                    counts.add(len(answer.json().get("passages", [])))

        searching = threading.Thread(target=search)
        searching.start()
        try:
            command = [sys.executable, "-m", "app", "reindex", "default", "--model", "hashing-32"]
            finished = subprocess.run(
                command, env=environment(settings), capture_output=True, text=True, timeout=60, check=False
            )
            assert finished.returncode == 0, finished.stderr
            wait_until(lambda: client.get("/collections/default").json()["embedding_model"] == "hashing-32")
            upload(client, 3)
        finally:
            stop.set()
            searching.join()
        assert statuses == {200}
        assert counts <= {3, 4}
        assert 3 in counts
        found = client.post("/search", json={"query": "lantern tower", "top_k": 50}).json()["passages"]
        assert len(found) == 4
        assert all(passage["scores"]["dense"] is not None for passage in found)

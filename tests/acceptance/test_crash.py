"""Server and worker are killed at random moments while documents are uploaded: nothing that was accepted is lost.

`FOOTNOTE_TEST_CRASHES=50 FOOTNOTE_TEST_CRASH_DOCUMENTS=200` runs it at full size.
"""

from __future__ import annotations

import os
import random
import signal
import threading
from contextlib import ExitStack

import httpx
import pytest

from app.bootstrap import build_core
from app.config import Settings
from app.doctor import examine
from tests.waiting import wait_until
from tests.worker.processes import children, free_port, is_alive, server

CRASHES = int(os.environ.get("FOOTNOTE_TEST_CRASHES", "6"))
DOCUMENTS = int(os.environ.get("FOOTNOTE_TEST_CRASH_DOCUMENTS", "40"))


class Uploader:
    """Uploads every document until the server has said that it is accepted, however often the server dies."""

    def __init__(self, url: str) -> None:
        self.accepted: dict[int, str] = {}  # number → id
        self.done = threading.Event()
        self._url = url
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def _run(self) -> None:
        number = 0
        while number < DOCUMENTS and not self.done.is_set():
            try:
                name, content = f"note-{number}.txt", f"The lantern of house{number}x is lit at dusk."
                response = httpx.post(f"{self._url}/documents", files={"file": (name, content.encode())}, timeout=20)
            except httpx.TransportError:
                self.done.wait(0.02)  # the server is down
                continue
            assert response.status_code in (200, 202), response.text
            self.accepted[number] = response.json()["documents"][0]["id"]
            number += 1


@pytest.mark.timeout(60 + 25 * CRASHES + 2 * DOCUMENTS)
def test_what_was_accepted_survives(settings: Settings) -> None:
    """After kills at random moments every accepted document is ready exactly once and found exactly once."""
    seed = random.randrange(2**32)
    dice = random.Random(seed)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    uploader = Uploader(url)
    # Evenly over the uploads, each with its own chance of hitting any step of the work.
    moments = sorted(dice.uniform(0, DOCUMENTS) for _ in range(CRASHES))
    killed = {"server": 0, "worker": 0}
    # A document that is at work when its worker is killed again and again must not run out of attempts here.
    variables = {"FOOTNOTE_MAX_ATTEMPTS": "100"}
    with ExitStack() as stack:
        running = stack.enter_context(server(settings, port, **variables))
        uploader.start()
        for moment in moments:
            wait_until(lambda m=moment: len(uploader.accepted) >= int(m), 60, "the uploads to go on")
            uploader.done.wait(dice.uniform(0, 0.5))
            workers = children(running.pid)
            if workers and dice.random() < 0.5:
                os.kill(workers[0], signal.SIGKILL)
                killed["worker"] += 1
                wait_until(lambda pid=workers[0]: not is_alive(pid), 20, "the worker's end")
            else:
                stack.close()  # kills the server, and waits until its worker has noticed
                killed["server"] += 1
                running = stack.enter_context(server(settings, port, **variables))
        wait_until(lambda: len(uploader.accepted) == DOCUMENTS, 120, f"all uploads (seed {seed})")
        _check(url, uploader.accepted, seed)
    with build_core(settings) as core:
        assert [finding.message for finding in examine(core) if not finding.is_well] == [], seed
    print(f"{DOCUMENTS} documents, killed: {killed}, seed {seed}: every one ready once and found once")  # noqa: T201


def _check(url: str, accepted: dict[int, str], seed: int) -> None:
    with httpx.Client(base_url=url, timeout=30) as http:

        def statuses() -> dict[str, str]:
            listed = http.get("/documents", params={"limit": 1000}).json()["documents"]
            assert len(listed) == len({each["sha256"] for each in listed}), f"a document is there twice (seed {seed})"
            return {each["id"]: each["status"] for each in listed}

        wait_until(
            lambda: {"ready", "failed"}.issuperset(statuses().values()), 120, f"the queue to empty (seed {seed})"
        )
        assert statuses() == dict.fromkeys(accepted.values(), "ready"), seed
        for number, document_id in accepted.items():
            found = http.post("/search", json={"query": f"house{number}x", "top_k": 50}).json()["passages"]
            hits = [passage["document_id"] for passage in found if f"house{number}x" in passage["text"]]
            assert hits == [document_id], (number, seed)

"""The worker as a process: stopped, killed, doubled, and given poison."""

from __future__ import annotations

import os
import signal
import time

import pytest
from sqlalchemy import select, update

from app.config import Settings
from app.projection import Projection
from app.store import documents
from app.store.blobs import BlobStore
from app.store.collections import get_collection
from app.store.database import Database
from app.store.tables import jobs as jobs_table
from app.types import Document, DocumentStatus, JobState
from tests.store.library import Library
from tests.waiting import wait_until
from tests.worker.processes import Process, descendants, is_alive, worker


@pytest.fixture
def library(database: Database, settings: Settings) -> Library:
    return Library(database, BlobStore(settings.blobs_dir))


def has_status(library: Library, document_id: str, status: DocumentStatus) -> bool:
    return library.read(document_id).status is status


def wait_for(library: Library, document_id: str, status: DocumentStatus, seconds: float = 60) -> Document:
    wait_until(lambda: has_status(library, document_id, status), seconds, f"{document_id} to be {status}")
    return library.read(document_id)


def attempt_of(library: Library) -> tuple[str, int]:
    with library.database.read() as connection:
        row = connection.execute(select(jobs_table)).one()
    return row.state, row.attempt


def stalled(library: Library) -> str:
    """A document whose parser will hang until it is killed: its blob is a pipe that nobody writes to."""
    document = library.upload("A note that never ends.").document
    path = library.blobs.path(document.sha256)
    path.unlink()
    os.mkfifo(path)
    return document.id


def parsers(process: Process) -> list[int]:
    return descendants(process.pid)


def test_sigterm_is_graceful(library: Library, settings: Settings) -> None:
    """A worker that is told to stop ends by itself with 0, and leaves no process behind."""
    document_id = library.upload("A note.").document.id
    with worker(settings) as process:
        wait_for(library, document_id, DocumentStatus.READY)
        family = parsers(process)
        process.send(signal.SIGTERM)
        assert process.wait() == 0
        assert "stopped" in process.text
        wait_until(lambda: not any(map(is_alive, family)), what="the parsers to go")


def test_the_worker_gives_way(library: Library, settings: Settings) -> None:
    """Worker and parsers have a lower priority than what starts them: searches do not wait for ingestion."""
    document_id = library.upload("A note.").document.id
    with worker(settings) as process:
        wait_for(library, document_id, DocumentStatus.READY)
        lower = min(19, os.getpriority(os.PRIO_PROCESS, 0) + 10)
        assert {os.getpriority(os.PRIO_PROCESS, pid) for pid in (process.pid, *parsers(process))} == {lower}


def test_a_job_in_work_is_handed_back(library: Library, settings: Settings) -> None:
    """A worker that stops in the middle of a long document hands its job back: no attempt is lost, nobody waits."""
    document_id = library.upload("The dome closes at fifteen metres a second. " * 60_000).document.id
    with worker(settings) as process:
        wait_until(lambda: library.read(document_id).status is DocumentStatus.EMBEDDING, 60, "the embedding to begin")
        process.send(signal.SIGTERM)
        assert process.wait() == 0
    assert attempt_of(library) == (JobState.QUEUED, 0)
    assert library.read(document_id).status is DocumentStatus.QUEUED
    with worker(settings, "second"):
        wait_for(library, document_id, DocumentStatus.READY, 90)
    assert attempt_of(library) == (JobState.DONE, 1)


def test_a_killed_worker_takes_its_parsers_along(library: Library, settings: Settings) -> None:
    """After `kill -9` no parser is left, not even one that hangs; the next worker takes the job over."""
    document_id = stalled(library)
    with worker(settings) as process:
        wait_for(library, document_id, DocumentStatus.PARSING)
        wait_until(lambda: parsers(process), what="a parser")
        family = parsers(process)
        process.kill()
        wait_until(lambda: not any(map(is_alive, family)), 40, "the parsers to go")
    assert attempt_of(library) == (JobState.RUNNING, 1)
    path = library.blobs.path(library.read(document_id).sha256)
    path.unlink()
    path.write_text("A note that never ends.", encoding="utf-8")
    with worker(settings, "second"):
        wait_for(library, document_id, DocumentStatus.READY)
    assert attempt_of(library) == (JobState.DONE, 2)


def test_two_workers_share_the_queue(library: Library, settings: Settings) -> None:
    """Every document is done once, whoever does it, and both workers have their part."""
    with worker(settings, "one") as one, worker(settings, "two") as two:
        ids = [library.upload(f"Note number {number}. " * 3000).document.id for number in range(30)]
        for document_id in ids:
            wait_for(library, document_id, DocumentStatus.READY)

        def lines() -> list[int]:
            return [log.count("version 1 is ready") for log in (one.text, two.text)]

        wait_until(lambda: sum(lines()) >= len(ids), what="the last line of a log")
        logs = one.text + two.text
        assert all(lines())
    assert [logs.count(f"{document_id} version 1 is ready") for document_id in ids] == [1] * len(ids)
    with library.database.read() as connection:
        assert documents.count_by_status(connection) == {DocumentStatus.READY: 30}


def test_a_document_that_keeps_killing_ends_as_failed(library: Library, settings: Settings) -> None:
    """A job that was begun as often as is allowed, and never ended, fails with a reason; the others go on."""
    document_id = library.upload("Poison.").document.id
    with library.database.write() as connection:
        values = {"state": JobState.RUNNING, "attempt": 4, "token": 4, "lease_until": time.time() - 1}
        connection.execute(update(jobs_table).values(values))
    healthy = library.upload("Healthy.").document.id
    with worker(settings):
        failed = wait_for(library, document_id, DocumentStatus.FAILED)
        wait_for(library, healthy, DocumentStatus.READY)
    assert failed.error_code == "worker_lost"
    assert "interrupted 4 times" in str(failed.error_message)


def test_a_hanging_document_fails_by_its_time(library: Library, settings: Settings) -> None:
    """A parser that does not come back is ended after its time, and the document says so."""
    document_id = stalled(library)
    with worker(settings, FOOTNOTE_PARSE_LIMITS__SECONDS="1"):
        failed = wait_for(library, document_id, DocumentStatus.FAILED)
    assert failed.error_code == "limit_exceeded"
    assert "longer than 1 s" in str(failed.error_message)


def test_removals_reach_the_index(library: Library, settings: Settings) -> None:
    """What a server deleted leaves the index by itself, and blobs that nothing names are removed."""
    document_id = library.upload("A note.").document.id
    (settings.blobs_dir / ("0" * 64)).write_bytes(b"left behind")
    with worker(settings) as process:
        wait_for(library, document_id, DocumentStatus.READY)
        wait_until(lambda: "0" * 64 not in library.blobs.stored(), what="the blob to go")
        library.delete(document_id)
        projection = Projection(library.database, settings.index_dir)

        def problems() -> list[str]:
            with library.database.read() as connection:
                collection = get_collection(connection, "default")
            return projection.problems(collection)

        wait_until(lambda: problems() == [], what="the index to take up the removal")
        assert process.is_running()

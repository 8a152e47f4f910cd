"""What a worker does when the world around it fails, with a pipeline that fails on demand."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence

import pytest

from app.bootstrap import Core, build_core
from app.config import Settings
from app.errors import FootnoteError, IndexUnavailable, StorageFull, UnreadableDocument
from app.store import jobs
from app.types import DocumentStatus, Job, JobState
from ingest.worker import Worker
from tests.store.library import Library
from tests.waiting import wait_until


class FailingPipeline:
    """Stands in for the work: fails with what it is given, once an attempt, and then succeeds."""

    def __init__(self, library: Library, *failures: Exception) -> None:
        self.library = library
        self.failures = list(failures)
        self.attempts: list[int] = []

    def run(self, batch: Sequence[Job], should_stop: Callable[[], bool]) -> dict[Job, Exception | None]:
        (job,) = batch
        self.attempts.append(job.attempt)
        if self.failures:
            return {job: self.failures.pop(0)}
        self.library.store(job, ["Words."])
        self.library.go_live(job)
        return {job: None}


class Clock:
    """Jumps a minute with every look, so that no pause is waited for."""

    def __init__(self) -> None:
        self.now = 4_000_000_000.0

    def __call__(self) -> float:
        self.now += 60
        return self.now


@pytest.fixture
def core(settings: Settings) -> Iterator[Core]:
    with build_core(settings) as core:
        core.embedders.start()
        yield core


def work(core: Core, pipeline: FailingPipeline, until: Callable[[], bool]) -> None:
    """Run a worker until the condition holds. The lease is long: the clock runs fast."""
    settings = core.settings.model_copy(update={"worker_concurrency": 1, "lease_seconds": 1e9})
    running = Worker(
        database=core.database,
        blobs=core.blobs,
        projection=core.projection,
        pipeline=pipeline,  # type: ignore[arg-type]
        settings=settings,
        clock=Clock(),
    )
    thread = threading.Thread(target=running.run)
    thread.start()
    try:
        wait_until(until)
    finally:
        running.stop()
        thread.join(30)


def test_what_may_pass_is_tried_again(core: Core) -> None:
    """After a failure that may be nobody's fault the next attempt brings it to ready."""
    library = Library(core.database, core.blobs)
    document_id = library.upload("Words.").document.id
    failure = RuntimeError("the disk was busy")
    pipeline = FailingPipeline(library, failure, failure)
    work(core, pipeline, lambda: library.read(document_id).status is DocumentStatus.READY)
    assert pipeline.attempts == [1, 2, 3]


@pytest.mark.parametrize("failure", [StorageFull(), IndexUnavailable()], ids=lambda error: type(error).__name__)
def test_what_the_machine_lacks_is_waited_for(core: Core, failure: Exception) -> None:
    """A full disk, or an index that another process rebuilds for minutes, uses up no attempt, however often met."""
    library = Library(core.database, core.blobs)
    document_id = library.upload("Words.").document.id
    pipeline = FailingPipeline(library, *[failure] * 9)
    work(core, pipeline, lambda: library.read(document_id).status is DocumentStatus.READY)
    assert pipeline.attempts == [1] * 10


def test_after_the_last_attempt_it_is_failed(core: Core) -> None:
    """A document is failed with the real error, once all attempts are used up."""
    library = Library(core.database, core.blobs)
    document_id = library.upload("Words.").document.id
    pipeline = FailingPipeline(library, *[RuntimeError("odd")] * 9)
    work(core, pipeline, lambda: library.read(document_id).status is DocumentStatus.FAILED)
    document = library.read(document_id)
    assert pipeline.attempts == [1, 2, 3, 4]
    assert (document.error_code, document.error_message) == (
        "internal_error",
        "An unexpected error: RuntimeError: odd",
    )


def test_a_bad_document_is_not_tried_twice(core: Core) -> None:
    """What is wrong with the document itself fails it at once."""
    library = Library(core.database, core.blobs)
    document_id = library.upload("Words.").document.id
    pipeline = FailingPipeline(library, UnreadableDocument("It is damaged."))
    work(core, pipeline, lambda: library.read(document_id).status is DocumentStatus.FAILED)
    assert pipeline.attempts == [1]
    assert library.read(document_id).error_message == "It is damaged."
    with core.database.read() as connection:
        assert jobs.count_by_state(connection) == {JobState.FAILED: 1}


def test_a_worker_that_is_not_whole_ends(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    """When one of its threads dies the worker stops and raises why, so that it is started again."""
    library = Library(core.database, core.blobs)
    library.upload("Words.")
    monkeypatch.setattr("ingest.worker.jobs.claim", lambda *_, **__: 1 / 0)
    running = Worker(
        database=core.database,
        blobs=core.blobs,
        projection=core.projection,
        pipeline=FailingPipeline(library),  # type: ignore[arg-type]
        settings=core.settings,
    )
    with pytest.raises(ZeroDivisionError):
        running.run()


def test_a_worker_waits_for_better_times(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that cannot be written right now is no reason to end."""
    library = Library(core.database, core.blobs)
    document_id = library.upload("Words.").document.id
    claim, refusals = jobs.claim, [FootnoteError("busy")]

    def claim_later(*args: object, **options: object) -> list[Job]:
        if refusals:
            raise refusals.pop()
        return claim(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("ingest.worker.jobs.claim", claim_later)
    work(core, FailingPipeline(library), lambda: library.read(document_id).status is DocumentStatus.READY)
    assert refusals == []

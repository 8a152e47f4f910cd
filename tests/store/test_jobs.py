"""The queue: leases, fences, attempts. Time is a number that the test hands in."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from sqlalchemy import update

from app.errors import LeaseLost
from app.store import jobs
from app.store.tables import jobs as jobs_table
from app.types import DocumentStatus, Job, JobState
from tests.store.library import NOW, Library

Act = Callable[[Library, Job, float], object]


@pytest.fixture
def waiting(library: Library) -> Library:
    """One job that waits since `NOW`."""
    library.upload("A note.")
    with library.database.write() as connection:
        connection.execute(update(jobs_table).values(run_at=NOW))
    return library


def claimed(library: Library, now: float = NOW, max_attempts: int = 4) -> Job:
    job = library.claim(now=now, max_attempts=max_attempts)
    assert job is not None
    return job


def retry(library: Library, job: Job, now: float) -> float:
    with library.database.write() as connection:
        return jobs.retry_later(connection, job, "unavailable", "The disk was busy.", now)


def release(library: Library, job: Job, now: float) -> None:
    with library.database.write() as connection:
        jobs.release(connection, job, now)


def fail(library: Library, job: Job, now: float) -> None:
    with library.database.write() as connection:
        jobs.fail(connection, job, "unreadable_document", "It is damaged.", now)


def finish(library: Library, job: Job, now: float) -> None:
    with library.database.write() as connection:
        jobs.require_lease(connection, job)
        jobs.finish(connection, [job], now)


def renew(library: Library, job: Job, now: float) -> set[int]:
    with library.database.write() as connection:
        return jobs.renew(connection, [job], lease_seconds=30, now=now)


def test_the_job_that_waited_longest_comes_first(library: Library) -> None:
    """Jobs are claimed in the order of their uploads, each by one worker."""
    ids = [library.upload(f"Note {number}.").document.id for number in range(4)]
    jobs_claimed = [library.claim(owner=f"worker-{number}") for number in range(4)]
    assert [job.document_id for job in jobs_claimed if job] == ids
    assert library.claim() is None


def test_the_attempt_is_counted_before_the_work(waiting: Library) -> None:
    """A job that kills its worker is counted: the next claim is the second attempt, with a new fence."""
    first = claimed(waiting)
    assert waiting.claim(now=NOW + 29) is None
    second = claimed(waiting, NOW + 31)
    assert (first.attempt, second.attempt) == (1, 2)
    assert second.token > first.token


@pytest.mark.parametrize("act", [retry, release, fail, finish], ids=lambda act: act.__name__)
def test_a_lost_lease_cannot_write(waiting: Library, act: Act) -> None:
    """A worker whose lease ran out, and whose job another one has, can do nothing to it any more."""
    first, second = claimed(waiting), claimed(waiting, NOW + 31)
    with pytest.raises(LeaseLost):
        act(waiting, first, NOW + 32)
    with pytest.raises(LeaseLost):
        waiting.store(first, ["Stale."])
    assert renew(waiting, first, NOW + 32) == set()
    assert renew(waiting, second, NOW + 32) == {second.id}
    finish(waiting, second, NOW + 33)


@pytest.mark.parametrize("act", [retry, release, fail, finish], ids=lambda act: act.__name__)
def test_the_job_of_a_deleted_document_leaves_no_id_behind(waiting: Library, act: Act) -> None:
    """A worker that still holds a job whose document was deleted can do nothing to the job that came after it."""
    first = claimed(waiting)
    waiting.delete(first.document_id)
    waiting.upload("Another note.")
    second = claimed(waiting, time.time() + 1)
    with pytest.raises(LeaseLost):
        act(waiting, first, NOW + 1)
    assert renew(waiting, first, NOW + 1) == set()
    assert renew(waiting, second, NOW + 1) == {second.id}


def test_a_renewed_lease_is_not_taken(waiting: Library) -> None:
    """A worker that keeps its lease alive keeps its job, however long it takes."""
    job = claimed(waiting)
    assert renew(waiting, job, NOW + 25) == {job.id}
    assert waiting.claim(now=NOW + 50) is None
    assert waiting.claim(now=NOW + 56) is not None


def test_a_retry_waits_longer_every_time(waiting: Library) -> None:
    """The pause doubles with every attempt, give or take half, and the job is not claimed before it is over."""
    now = NOW
    for attempt in (1, 2, 3):
        job = claimed(waiting, now)
        assert job.attempt == attempt
        pause = retry(waiting, job, now)
        assert 2**attempt * 0.5 <= pause <= 2**attempt * 1.5
        document = waiting.read(job.document_id)
        assert (document.status, document.error_code) == (DocumentStatus.QUEUED, None)
        assert waiting.claim(now=now + pause - 0.01) is None
        now += pause


def test_a_job_that_only_kills_ends_as_failed(waiting: Library) -> None:
    """After the last attempt the document is failed, with a reason that a person understands."""
    for attempt in range(3):
        job = claimed(waiting, NOW + 31 * attempt, max_attempts=3)
    assert waiting.claim(now=NOW + 31 * 3, max_attempts=3) is None
    document = waiting.read(job.document_id)
    assert (document.status, document.error_code) == (DocumentStatus.FAILED, "worker_lost")
    assert document.error_message == (
        "Ingestion was interrupted 3 times without an error; the file may be too demanding."
    )
    with waiting.database.read() as connection:
        assert jobs.count_by_state(connection) == {JobState.FAILED: 1}
    assert waiting.claim(now=NOW + 10_000) is None


def test_a_job_handed_back_has_lost_no_attempt(waiting: Library) -> None:
    """A worker that stops hands its job back: the next one starts at once, with the same attempt."""
    first = claimed(waiting)
    assert waiting.read(first.document_id).status is DocumentStatus.PARSING
    release(waiting, first, NOW + 1)
    assert waiting.read(first.document_id).status is DocumentStatus.QUEUED
    assert claimed(waiting, NOW + 1).attempt == 1


def test_a_finished_job_is_never_claimed(waiting: Library) -> None:
    """Done is done."""
    job = claimed(waiting)
    finish(waiting, job, NOW + 1)
    assert waiting.claim(now=NOW + 10_000) is None
    with pytest.raises(LeaseLost):
        fail(waiting, job, NOW + 2)


def test_abandoned_jobs_are_counted(waiting: Library) -> None:
    """The doctor is told of jobs whose worker is gone."""
    claimed(waiting)
    with waiting.database.read() as connection:
        assert jobs.count_abandoned(connection, NOW + 29) == 0
        assert jobs.count_abandoned(connection, NOW + 31) == 1


def test_a_failing_job_does_not_hold_up_the_others(waiting: Library) -> None:
    """A job that waits for its next attempt lets the later ones pass."""
    retry(waiting, claimed(waiting), NOW)
    later = waiting.upload("Another note.").document.id
    with waiting.database.write() as connection:
        connection.execute(update(jobs_table).where(jobs_table.c.document_id == later).values(run_at=NOW + 0.1))
    assert claimed(waiting, NOW + 0.2).document_id == later


def test_small_documents_are_claimed_together(library: Library) -> None:
    """Jobs share a claim up to the bytes allowed; one that was tried before is worked on alone."""
    ids = [library.upload(f"Note {number}: " + "words " * 100).document.id for number in range(4)]
    size = library.read(ids[0]).bytes

    def claim(now: float) -> list[str]:
        with library.database.write() as connection:
            claimed = jobs.claim(
                connection, owner="w", lease_seconds=30, max_attempts=4, now=now, most_jobs=9, most_bytes=3 * size
            )
        return [job.document_id for job in claimed]

    now = time.time()
    assert claim(now) == ids[:3]
    assert claim(now) == ids[3:]
    assert [claim(now + 60) for _ in ids] == [[document_id] for document_id in ids]
    assert claim(now + 60) == []

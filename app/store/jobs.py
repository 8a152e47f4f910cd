"""The queue: jobs are leased and fenced, never removed on claim."""

from __future__ import annotations

import random
from collections.abc import Sequence

from sqlalchemy import ColumnElement, Connection, Update, and_, func, insert, or_, select, tuple_, update

from app.errors import LeaseLost
from app.store.documents import fail_document, requeue_document
from app.store.tables import jobs
from app.types import Job, JobState

_BACKOFF_SECONDS = 2.0
_LONGEST_BACKOFF_SECONDS = 300.0


def enqueue(connection: Connection, document_id: str, version: int, now: float) -> None:
    """A job to bring this version to `ready`."""
    connection.execute(
        insert(jobs).values(
            document_id=document_id,
            version=version,
            state=JobState.QUEUED,
            run_at=now,
            created_at=now,
            updated_at=now,
        )
    )


def is_any_due(connection: Connection, now: float) -> bool:
    """Whether `claim` would find something: a read is cheaper to ask for than a write."""
    return connection.scalar(select(jobs.c.id).where(_is_due(now)).limit(1)) is not None


def claim(connection: Connection, *, owner: str, lease_seconds: float, max_attempts: int, now: float) -> Job | None:
    """Lease the job that has waited longest, or one whose worker has gone; None when there is nothing to do.

    The attempt is counted here, before any work: a job that kills its worker is not tried for ever.
    """
    query = select(jobs).where(_is_due(now)).order_by(jobs.c.run_at, jobs.c.id).limit(1)
    while row := connection.execute(query.with_for_update(skip_locked=True)).one_or_none():
        job = Job(row.id, row.document_id, row.version, row.attempt + 1, row.token + 1)
        if row.attempt >= max_attempts:
            message = f"Ingestion was interrupted {row.attempt} times without an error; the file may be too demanding."
            _end(connection, job.id, JobState.FAILED, now, "worker_lost", message)
            fail_document(connection, job.document_id, "worker_lost", message, now)
            continue
        connection.execute(
            update(jobs)
            .where(jobs.c.id == row.id)
            .values(
                state=JobState.RUNNING,
                attempt=job.attempt,
                token=job.token,
                owner=owner,
                lease_until=now + lease_seconds,
                updated_at=now,
            )
        )
        return job
    return None


def renew(connection: Connection, leased: Sequence[Job], *, lease_seconds: float, now: float) -> set[int]:
    """Extend the leases; returns the ids of the jobs that are still ours."""
    if not leased:
        return set()
    ours = tuple_(jobs.c.id, jobs.c.token).in_([(job.id, job.token) for job in leased])
    statement = update(jobs).where(ours, jobs.c.state == JobState.RUNNING)
    return set(connection.scalars(statement.values(lease_until=now + lease_seconds).returning(jobs.c.id)))


def require_lease(connection: Connection, job: Job) -> None:
    """The fence before every write for a job, in the same transaction. Raises `LeaseLost`."""
    query = select(jobs.c.token).where(jobs.c.id == job.id, jobs.c.state == JobState.RUNNING).with_for_update()
    if connection.scalar(query) != job.token:
        raise LeaseLost


def finish(connection: Connection, job: Job, now: float) -> None:
    """The version is live. Raises `LeaseLost`."""
    require_lease(connection, job)
    _end(connection, job.id, JobState.DONE, now)


def fail(connection: Connection, job: Job, code: str, message: str, now: float) -> None:
    """Give up, with the reason on the document. Raises `LeaseLost`."""
    require_lease(connection, job)
    _end(connection, job.id, JobState.FAILED, now, code, message)
    fail_document(connection, job.document_id, code, message, now)


def retry_later(connection: Connection, job: Job, code: str, message: str, now: float) -> float:
    """Back into the queue after a pause that doubles with every attempt; returns it in seconds. Raises `LeaseLost`."""
    require_lease(connection, job)
    pause = min(_BACKOFF_SECONDS * 2.0 ** (job.attempt - 1), _LONGEST_BACKOFF_SECONDS)
    pause *= random.uniform(0.5, 1.5)  # noqa: S311 - jitter, so that jobs that failed together do not return together
    statement = _requeue(now, now + pause).where(jobs.c.id == job.id)
    connection.execute(statement.values(error_code=code, error_message=message))
    requeue_document(connection, job.document_id, now)
    return pause


def release(connection: Connection, job: Job, now: float) -> None:
    """Hand a job back untouched, because the worker stops: the attempt does not count. Raises `LeaseLost`."""
    require_lease(connection, job)
    connection.execute(_requeue(now, now).where(jobs.c.id == job.id).values(attempt=job.attempt - 1))
    requeue_document(connection, job.document_id, now)


def revive(connection: Connection, document_id: str, version: int, now: float) -> None:
    """Give a failed job all its attempts again."""
    statement = _requeue(now, now).where(
        jobs.c.document_id == document_id, jobs.c.version == version, jobs.c.state == JobState.FAILED
    )
    if connection.execute(statement.values(attempt=0, error_code=None, error_message=None)).rowcount:
        requeue_document(connection, document_id, now)


def count_by_state(connection: Connection) -> dict[JobState, int]:
    """For the metrics and the doctor."""
    query = select(jobs.c.state, func.count()).group_by(jobs.c.state)
    return {JobState(row[0]): row[1] for row in connection.execute(query)}


def count_abandoned(connection: Connection, now: float) -> int:
    """Jobs whose lease has run out: their worker is gone, and no other one has come."""
    query = select(func.count()).select_from(jobs)
    return connection.scalar(query.where(jobs.c.state == JobState.RUNNING, jobs.c.lease_until < now)) or 0


def _is_due(now: float) -> ColumnElement[bool]:
    """Waiting its turn, or left behind by a worker that is gone."""
    waiting = and_(jobs.c.state == JobState.QUEUED, jobs.c.run_at <= now)
    return or_(waiting, and_(jobs.c.state == JobState.RUNNING, jobs.c.lease_until < now))


def _requeue(now: float, run_at: float) -> Update:
    return update(jobs).values(state=JobState.QUEUED, run_at=run_at, owner=None, lease_until=None, updated_at=now)


def _end(
    connection: Connection,
    job_id: int,
    state: JobState,
    now: float,
    code: str | None = None,
    message: str | None = None,
) -> None:
    statement = update(jobs).where(jobs.c.id == job_id)
    connection.execute(
        statement.values(
            state=state, owner=None, lease_until=None, error_code=code, error_message=message, updated_at=now
        )
    )

"""The queue: jobs are leased and fenced, never removed on claim."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Update, and_, func, insert, or_, select, tuple_, update

from app.errors import LeaseLost
from app.store.documents import begin_parsing, fail_document, requeue_document
from app.store.tables import jobs, versions
from app.types import Job, JobState

_BACKOFF_SECONDS = 2.0
_LONGEST_BACKOFF_SECONDS = 300.0
_POSTPONED_SECONDS = 5.0
_JITTER = 0.5
# How far the clocks of two machines may be apart. A time that lies further ahead than a pause or a lease can put it was
# written before the clock was set back: nobody waits for it.
_CLOCK_SKEW_SECONDS = 60.0


def enqueue(connection: Connection, document_id: str, version: int, now: float, *, password: str | None = None) -> None:
    """A job to bring this version to `ready`. A `password` that opens its file is kept until that was read."""
    connection.execute(
        insert(jobs).values(
            document_id=document_id,
            version=version,
            state=JobState.QUEUED,
            run_at=now,
            password=password,
            created_at=now,
            updated_at=now,
        )
    )


def is_any_due(connection: Connection, now: float, lease_seconds: float) -> bool:
    """Whether `claim` would find something: a read is cheaper to ask for than a write."""
    return connection.scalar(select(jobs.c.id).where(_is_due(now, lease_seconds)).limit(1)) is not None


def claim(
    connection: Connection,
    *,
    owner: str,
    lease_seconds: float,
    max_attempts: int,
    now: float,
    most_jobs: int = 1,
    most_bytes: int = 0,
) -> list[Job]:
    """Lease the jobs that have waited longest, or whose worker has gone; none when there is nothing to do.

    Several at once only as long as their originals have `most_bytes` together, and each is tried for the first time:
    small documents share the cost of a transaction and of a publish, and one that is poisoned takes no others along
    twice. The attempt is counted here, before any work: a job that kills its worker is not tried for ever.
    """
    query = (
        select(jobs, versions.c.bytes)
        .join(versions, (versions.c.document_id == jobs.c.document_id) & (versions.c.version == jobs.c.version))
        .where(_is_due(now, lease_seconds))
        .order_by(jobs.c.run_at, jobs.c.id)
        .limit(most_jobs)
        .with_for_update(of=jobs, skip_locked=True)
    )
    while due := connection.execute(query).all():
        if due[0].attempt >= max_attempts:
            _abandon(connection, due[0].id, due[0].document_id, due[0].attempt, now)
            continue
        together = _that_fit(due, most_bytes)
        claimed = [
            Job(row.id, row.document_id, row.version, row.attempt + 1, row.token + 1, row.password) for row in together
        ]
        connection.execute(
            update(jobs)
            .where(jobs.c.id.in_([job.id for job in claimed]))
            .values(
                state=JobState.RUNNING,
                attempt=jobs.c.attempt + 1,
                token=jobs.c.token + 1,
                owner=owner,
                lease_until=now + lease_seconds,
                updated_at=now,
            )
        )
        begin_parsing(connection, [job.document_id for job in claimed], now)
        return claimed
    return []


def renew(connection: Connection, leased: Sequence[Job], *, lease_seconds: float, now: float) -> set[int]:
    """Extend the leases; returns the ids of the jobs that are still ours."""
    if not leased:
        return set()
    statement = update(jobs).where(_is_held(leased))
    return set(connection.scalars(statement.values(lease_until=now + lease_seconds).returning(jobs.c.id)))


def require_lease(connection: Connection, job: Job) -> None:
    """The fence before every write for a job, in the same transaction. Raises `LeaseLost`."""
    query = select(jobs.c.token).where(jobs.c.id == job.id, jobs.c.state == JobState.RUNNING).with_for_update()
    if connection.scalar(query) != job.token:
        raise LeaseLost


def held(connection: Connection, leased: Sequence[Job]) -> list[Job]:
    """Those that are still ours, locked until the transaction ends: the fence for several jobs at once."""
    ids = set(connection.scalars(select(jobs.c.id).where(_is_held(leased)).with_for_update()))
    return [job for job in leased if job.id in ids]


def finish(connection: Connection, done: Sequence[Job], now: float) -> None:
    """Their versions are live. The caller has seen to the leases, in the same transaction."""
    statement = update(jobs).where(jobs.c.id.in_([job.id for job in done]))
    connection.execute(
        statement.values(state=JobState.DONE, owner=None, lease_until=None, password=None, updated_at=now)
    )


def forget_passwords(connection: Connection, read: Sequence[Job]) -> None:
    """Their files have been read, and what was found is stored in the same transaction."""
    if ids := [job.id for job in read if job.password is not None]:
        connection.execute(update(jobs).where(jobs.c.id.in_(ids)).values(password=None))


def fail(connection: Connection, job: Job, code: str, message: str, now: float) -> None:
    """Give up, with the reason on the document. Raises `LeaseLost`."""
    require_lease(connection, job)
    _end_failed(connection, job.id, job.document_id, code, message, now)


def retry_later(connection: Connection, job: Job, code: str, message: str, now: float) -> float:
    """Back into the queue after a pause that doubles with every attempt; returns it in seconds. Raises `LeaseLost`."""
    require_lease(connection, job)
    pause = min(_BACKOFF_SECONDS * 2.0 ** (job.attempt - 1), _LONGEST_BACKOFF_SECONDS)
    pause *= random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 - jitter, so that jobs that failed together do not return together
    statement = _requeue(now, now + pause).where(jobs.c.id == job.id)
    connection.execute(statement.values(error_code=code, error_message=message))
    requeue_document(connection, job.document_id, now)
    return pause


def release(connection: Connection, job: Job, now: float) -> None:
    """Hand a job back untouched, because the worker stops: the attempt does not count. Raises `LeaseLost`."""
    require_lease(connection, job)
    connection.execute(_requeue(now, now).where(jobs.c.id == job.id).values(attempt=job.attempt - 1))
    requeue_document(connection, job.document_id, now)


def postpone(connection: Connection, job: Job, now: float) -> None:
    """Back into the queue after a pause. The attempt does not count: the job is not to blame. Raises `LeaseLost`."""
    require_lease(connection, job)
    statement = _requeue(now, now + _POSTPONED_SECONDS).where(jobs.c.id == job.id)
    connection.execute(statement.values(attempt=job.attempt - 1))
    requeue_document(connection, job.document_id, now)


def revive(connection: Connection, document_id: str, version: int, now: float, *, password: str | None = None) -> None:
    """Give a failed job all its attempts again."""
    statement = _requeue(now, now).where(
        jobs.c.document_id == document_id, jobs.c.version == version, jobs.c.state == JobState.FAILED
    )
    values = {"attempt": 0, "error_code": None, "error_message": None, "password": password}
    if connection.execute(statement.values(values)).rowcount:
        requeue_document(connection, document_id, now)


def set_password(connection: Connection, document_id: str, version: int, password: str) -> None:
    """For a job that has not ended: its file came once more, now with a password."""
    connection.execute(
        update(jobs)
        .where(jobs.c.document_id == document_id, jobs.c.version == version)
        .where(jobs.c.state.in_([JobState.QUEUED, JobState.RUNNING]))
        .values(password=password)
    )


def hand_back(connection: Connection, now: float, *, only_abandoned: bool) -> int:
    """Queue what workers that are gone left behind, without waiting for one to claim it; returns how many.

    With `only_abandoned` a lease must have run out, and the attempt counts: the job may have ended its worker. Without,
    every lease ends and its attempt does not count: the database was copied while other workers were at work.
    """
    statement = _requeue(now, now).where(jobs.c.state == JobState.RUNNING)
    if only_abandoned:
        statement = statement.where(jobs.c.lease_until < now)
    else:
        statement = statement.values(attempt=jobs.c.attempt - 1)
    left = connection.scalars(statement.returning(jobs.c.document_id)).all()
    for document_id in left:
        requeue_document(connection, document_id, now)
    return len(left)


def count_by_state(connection: Connection) -> dict[JobState, int]:
    """For the metrics and the doctor."""
    query = select(jobs.c.state, func.count()).group_by(jobs.c.state)
    return {JobState(row[0]): row[1] for row in connection.execute(query)}


def count_abandoned(connection: Connection, now: float) -> int:
    """Jobs whose lease has run out: their worker is gone, and no other one has come."""
    query = select(func.count()).select_from(jobs)
    return connection.scalar(query.where(jobs.c.state == JobState.RUNNING, jobs.c.lease_until < now)) or 0


def _is_due(now: float, lease_seconds: float) -> ColumnElement[bool]:
    """Waiting its turn, or left behind by a worker that is gone.

    The clock may have been set: whoever is taken for gone wrongly is kept out by the token.
    """
    latest_run = now + _LONGEST_BACKOFF_SECONDS * (1 + _JITTER) + _CLOCK_SKEW_SECONDS
    latest_lease = now + lease_seconds + _CLOCK_SKEW_SECONDS
    waiting = and_(jobs.c.state == JobState.QUEUED, or_(jobs.c.run_at <= now, jobs.c.run_at > latest_run))
    expired = or_(jobs.c.lease_until < now, jobs.c.lease_until > latest_lease)
    return or_(waiting, and_(jobs.c.state == JobState.RUNNING, expired))


def _is_held(leased: Sequence[Job]) -> ColumnElement[bool]:
    """Running under the very lease that one of these is."""
    ours = tuple_(jobs.c.id, jobs.c.token).in_([(job.id, job.token) for job in leased])
    return and_(ours, jobs.c.state == JobState.RUNNING)


def _that_fit(due: Sequence[Row[Any]], most_bytes: int) -> Sequence[Row[Any]]:
    """The first job, and those behind it as far as they may be worked on with it."""
    total = 0
    for count, row in enumerate(due):
        total += row.bytes
        if count and (row.attempt or due[0].attempt or total > most_bytes):
            return due[:count]
    return due


def _abandon(connection: Connection, job_id: int, document_id: str, attempts: int, now: float) -> None:
    message = f"Ingestion was interrupted {attempts} times without an error; the file may be too demanding."
    _end_failed(connection, job_id, document_id, "worker_lost", message, now)


def _requeue(now: float, run_at: float) -> Update:
    return update(jobs).values(state=JobState.QUEUED, run_at=run_at, owner=None, lease_until=None, updated_at=now)


def _end_failed(connection: Connection, job_id: int, document_id: str, code: str, message: str, now: float) -> None:
    statement = update(jobs).where(jobs.c.id == job_id)
    connection.execute(
        statement.values(
            state=JobState.FAILED,
            owner=None,
            lease_until=None,
            error_code=code,
            error_message=message,
            password=None,
            updated_at=now,
        )
    )
    fail_document(connection, document_id, code, message, now)

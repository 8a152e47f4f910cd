"""A password stays with its job until the file was read, and nowhere after that."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import pytest
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from app.config import Settings
from app.store import copies, jobs
from app.store.blobs import BlobStore
from app.store.collections import ensure_default_collection
from app.store.database import open_database
from app.store.tables import jobs as jobs_table
from app.types import Job
from tests.store.library import NOW, Library

SECRET = "a green lantern"


@contextmanager
def opened(settings: Settings) -> Iterator[Library]:
    with open_database(settings) as database:
        with database.write() as connection:
            ensure_default_collection(connection, NOW)
        yield Library(database, BlobStore(settings.blobs_dir))


def kept(library: Library) -> list[str | None]:
    with library.database.read() as connection:
        return list(connection.scalars(select(jobs_table.c.password)))


def fail(library: Library, job: Job) -> None:
    with library.database.write() as connection:
        jobs.fail(connection, job, "password_protected", "The password is wrong.", time.time())


def store(library: Library, job: Job) -> None:
    library.store(job, ["Words."])
    with library.database.write() as connection:
        jobs.forget_passwords(connection, [job])


def finish(library: Library, job: Job) -> None:
    library.store(job, ["Words."])
    library.go_live(job)


def abandon(library: Library, job: Job) -> None:
    assert library.claim(now=time.time() + 100, max_attempts=1) is None


@pytest.mark.parametrize("end", [fail, store, finish, abandon], ids=lambda end: end.__name__)
def test_a_password_goes_when_the_file_was_read(library: Library, end: Callable[[Library, Job], None]) -> None:
    """Whatever ends the reading erases it, in the same transaction."""
    library.upload("Words.", password=SECRET)
    job = library.claim()
    assert job is not None
    assert (job.password, kept(library)) == (SECRET, [SECRET])
    assert SECRET not in repr(job)
    end(library, job)
    assert kept(library) == [None]


def test_a_worker_that_dies_leaves_it_to_the_next(library: Library) -> None:
    """The lease runs out, the next attempt has it again; and so it is where a failure may pass, or the worker stops."""
    library.upload("Words.", password=SECRET)
    first = library.claim()
    second = library.claim(now=time.time() + 31)
    assert first is not None
    assert second is not None
    with library.database.write() as connection:
        jobs.retry_later(connection, second, "unavailable", "The disk was busy.", time.time())
    third = library.claim(now=time.time() + 31)
    assert third is not None
    with library.database.write() as connection:
        jobs.release(connection, third, time.time())
    fourth = library.claim()
    assert fourth is not None
    assert [job.password for job in (first, second, third, fourth)] == [SECRET] * 4


def test_the_same_bytes_bring_a_password(library: Library) -> None:
    """A waiting job takes it up; a failed one is tried again with it; a document that is there needs none."""
    library.upload("Words.")
    library.upload("Words.", password="first")
    job = library.claim()
    assert job is not None
    assert job.password == "first"
    fail(library, job)
    library.upload("Words.", password="second")
    again = library.claim()
    assert again is not None
    assert again.password == "second"
    finish(library, again)
    library.upload("Words.", password="third")
    assert kept(library) == [None]


def test_a_retry_without_one_has_none(library: Library) -> None:
    """What was erased does not come back."""
    document = library.upload("Words.", password=SECRET).document
    job = library.claim()
    assert job is not None
    fail(library, job)
    with library.database.write() as connection:
        jobs.revive(connection, document.id, 1, time.time())
    assert kept(library) == [None]


@pytest.mark.parametrize("end", [fail, finish, lambda library, job: library.delete(job.document_id)])
def test_nothing_of_it_stays_in_the_file(settings: Settings, end: Callable[[Library, Job], None]) -> None:
    """SQLite overwrites what is erased: the database's file has no trace of it."""
    with opened(settings) as library:
        library.upload("Words.", password=SECRET)
        job = library.claim()
        assert job is not None
        end(library, job)
    file = copies.database_file(settings)
    assert [path for path in copies.belongings(file) if SECRET.encode() in path.read_bytes()] == []


def test_a_backup_has_no_passwords(settings: Settings) -> None:
    """Not even those that a job still waits with: the copy may be kept for years."""
    with opened(settings) as library:
        library.upload("Words.", password=SECRET)
        copy = settings.data_dir / "copy.db"
        copies.copy_database(copies.database_file(settings), copy, lambda *_: None)
        assert SECRET.encode() not in copy.read_bytes()
        with closing(copies._connect(str(copy))) as connection:
            assert connection.execute("SELECT password FROM jobs").fetchall() == [(None,)]


def test_an_error_of_the_database_does_not_tell_it(library: Library, caplog: pytest.LogCaptureFixture) -> None:
    """A statement that fails is logged without its values."""
    document = library.upload("Words.").document
    with pytest.raises(SQLAlchemyError) as caught, library.database.write() as connection:
        jobs.enqueue(connection, document.id, 1, time.time(), password=SECRET)  # a second one for the same version
    logging.getLogger("test").error("it failed", exc_info=caught.value)
    assert "UNIQUE" in caplog.text.upper()
    assert SECRET not in caplog.text

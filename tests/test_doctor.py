"""The doctor sees what is wrong, says it in plain words, and mends what can be mended without losing anything."""

from __future__ import annotations

import io
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console
from sqlalchemy import text

from app.bootstrap import Core, build_core
from app.config import Settings
from app.doctor import run
from app.store.collections import create_collection
from app.store.spaces import index_name
from app.types import DocumentStatus
from tests.store.library import Library

TEXTS = ["The tide turns at noon.", "The lamp is cleaned on Mondays.", "Fog bells ring twice a minute."]


@pytest.fixture
def core(settings: Settings) -> Iterator[Core]:
    with build_core(settings) as core:
        yield core


@pytest.fixture
def library(core: Core) -> Library:
    """Three documents that are ready, and an index that has taken them up."""
    library = Library(core.database, core.blobs)
    for number, content in enumerate(TEXTS):
        library.ingest(content, filename=f"note-{number}.txt")
    core.projection.sync_all()
    return library


def examined(settings: Settings, *, repair: bool = False) -> tuple[int, str]:
    """The exit code, and what was printed."""
    output = io.StringIO()
    return run(settings, repair=repair, console=Console(file=output, width=400)), output.getvalue()


def grow_old(path: Path) -> None:
    """As if it had been written two days ago."""
    then = time.time() - 2 * 24 * 3600
    os.utime(path, (then, then))


def index_of(settings: Settings) -> Path:
    return next(settings.index_dir.glob("col_*"))


def test_a_sound_installation_is_well(library: Library, settings: Settings) -> None:
    """All checks are named, all are well, and a repair finds nothing to do."""
    code, printed = examined(settings)
    assert code == 0
    assert "✗" not in printed
    for subject in ("SQLite", "Durability", "Integrity", "Documents", "Jobs", "Originals", "Index of", "Disk"):
        assert f"✓ {subject}" in printed
    assert "3 are in place, with the right checksums" in printed
    assert examined(settings, repair=True) == (code, printed)


def test_a_lagging_index_is_brought_up_to_date(library: Library, settings: Settings) -> None:
    """What is live and not in the index is seen, and taken up."""
    library.ingest("It has not been published.")
    code, printed = examined(settings)
    assert code == 1
    assert "1 chunks are missing from the vector index" in printed
    code, printed = examined(settings, repair=True)
    assert code == 0
    assert "+ Index of 'default': brought up to date (1 chunks are missing" in printed


def test_a_damaged_index_is_made_anew_and_no_other(library: Library, core: Core, settings: Settings) -> None:
    """A file of the index with another byte is seen; only that collection's index is made again."""
    damaged = index_of(settings)
    with core.database.write() as connection:
        other = create_collection(connection, "other", {}, time.time())
    library.ingest("Elsewhere.", collection="other")
    core.projection.sync_all()
    sound = settings.index_dir / index_name(other.id, 1)
    before = (sound / "CURRENT").read_bytes()
    segment = next(damaged.glob("segments/*.ids"))
    segment.write_bytes(bytes([segment.read_bytes()[0] ^ 1]) + segment.read_bytes()[1:])
    code, printed = examined(settings)
    assert code == 1
    assert "footnote doctor --repair" in printed
    code, printed = examined(settings, repair=True)
    assert code == 0
    assert printed.count("made anew from the database") == 1
    assert (sound / "CURRENT").read_bytes() == before


def test_jobs_of_a_gone_worker_are_queued_again(library: Library, settings: Settings) -> None:
    """A job whose lease has run out goes back into the queue, and its attempt still counts."""
    document_id = library.upload("Its worker is gone.").document.id
    assert library.claim(now=time.time() - 3600) is not None
    code, printed = examined(settings)
    assert code == 1
    assert "1 left behind by a worker that is gone" in printed
    code, printed = examined(settings, repair=True)
    assert code == 0
    assert "+ Jobs: 1 left behind" in printed
    assert library.read(document_id).status is DocumentStatus.QUEUED
    job = library.claim()
    assert job is not None
    assert (job.document_id, job.attempt) == (document_id, 2)


def test_a_job_in_work_is_left_alone(library: Library, settings: Settings) -> None:
    """A repair takes no lease from a worker that is at work."""
    document_id = library.upload("It is being read.").document.id
    assert library.claim() is not None
    assert examined(settings, repair=True)[0] == 0
    assert library.read(document_id).status is DocumentStatus.PARSING


def test_leftovers_are_removed(library: Library, settings: Settings) -> None:
    """What crashes left behind is counted, and removed: never what may still be written."""
    orphan, upload = settings.blobs_dir / ("0" * 64), settings.blobs_dir / "incoming" / "stale"
    fresh, temporary = settings.blobs_dir / "incoming" / "fresh", index_of(settings) / ".CURRENT.0123.tmp"
    deleted = settings.index_dir / "col_deleted"
    deleted.mkdir()
    for path in (orphan, upload, fresh, temporary):
        path.write_bytes(b"left")
    grow_old(upload)
    grow_old(temporary)
    code, printed = examined(settings)
    assert code == 0
    assert "Leftovers: 4 that nothing needs" in printed
    code, printed = examined(settings, repair=True)
    assert code == 0
    assert "+ Leftovers: 4 that nothing needs are removed" in printed
    assert not any(path.exists() for path in (orphan, upload, temporary, deleted))
    assert fresh.exists()
    assert "Leftovers: none" in printed


def test_a_missing_original_is_named(library: Library, settings: Settings) -> None:
    """It cannot be repaired: the doctor names the file and says what to do, and goes on failing."""
    blobs = sorted(path for path in settings.blobs_dir.iterdir() if path.is_file())
    blobs[0].unlink()
    blobs[1].write_bytes(b"something else")
    blobs[2].unlink()
    blobs[2].mkdir()
    for repair in (False, True):
        code, printed = examined(settings, repair=repair)
        assert code == 1
        missing, changed, unreadable = (line for line in printed.splitlines() if line.startswith("✗ Originals"))
        assert "1 not readable: Is a directory. They belong to note-" in unreadable
        assert "1 missing. They belong to note-" in missing
        assert "1 not what was uploaded: the checksum differs. They belong to note-" in changed
        assert "Restore a backup, or upload these files again" in missing


def test_originals_without_their_database_are_kept(library: Library, core: Core, settings: Settings) -> None:
    """With an empty database nothing is garbage: it may be the wrong one."""
    with core.database.write() as connection:
        for table in ("documents", "versions"):
            connection.execute(text(f"DELETE FROM {table}"))
    before = core.blobs.stored()
    code, printed = examined(settings, repair=True)
    assert code == 1
    assert "is it the right database?" in printed
    assert core.blobs.stored() == before


def test_a_lost_database_is_not_begun_anew(library: Library, core: Core, settings: Settings) -> None:
    """Where originals are and no database, the doctor says so and makes none."""
    core.database.close()
    for path in settings.data_dir.glob("footnote.db*"):
        path.unlink()
    code, printed = examined(settings, repair=True)
    assert code == 1
    assert "restore a backup" in printed
    assert not list(settings.data_dir.glob("footnote.db*"))


def test_a_damaged_database_is_not_touched(library: Library, core: Core, settings: Settings) -> None:
    """The doctor says that a backup is needed, and repairs nothing by what a damaged database says."""
    with core.database.read() as connection:
        root = connection.scalar(text("SELECT rootpage FROM sqlite_master WHERE name = 'ix_versions_sha256'"))
        page_bytes = connection.scalar(text("PRAGMA page_size"))
    assert root is not None
    assert page_bytes is not None
    core.database.close()
    with (settings.data_dir / "footnote.db").open("r+b") as file:  # as a bad disk would leave it
        file.seek((root - 1) * page_bytes + 8)
        file.write(bytes(page_bytes - 8))
    shutil.rmtree(settings.index_dir)
    (settings.blobs_dir / ("0" * 64)).write_bytes(b"left")
    code, printed = examined(settings, repair=True)
    assert code == 1
    assert "✗ Integrity: the database is damaged" in printed
    assert "footnote restore DIR" in printed
    assert "Originals" not in printed
    assert "+ Nothing was repaired" in printed
    assert not settings.index_dir.exists()
    assert (settings.blobs_dir / ("0" * 64)).exists()


def test_a_file_that_is_no_database_is_said_to_be_none(settings: Settings) -> None:
    """Even the first statement fails: it ends in a sentence, not in a traceback."""
    settings.data_dir.mkdir(parents=True)
    (settings.data_dir / "footnote.db").write_bytes(b"not a database at all " * 1000)
    code, printed = examined(settings)
    assert code == 1
    assert "✗ Database: it cannot be read: file is not a database" in printed
    assert "footnote restore DIR" in printed

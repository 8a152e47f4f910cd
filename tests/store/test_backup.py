"""A backup is one moment of everything, whoever writes meanwhile; a restore changes nothing, or is whole."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import text

from app.__main__ import main
from app.backup import DATABASE, MANIFEST, backup, restore
from app.config import Settings
from app.errors import BackupFailed, ConfigurationError, Conflict, NotFound
from app.projection import Projection
from app.store import chunks, copies, originals
from app.store.blobs import BlobStore
from app.store.collections import ensure_default_collection, get_collection
from app.store.database import open_database, sqlite_module
from app.store.documents import live_ranges
from app.store.uploads import remove_unused_blob, sweep_blobs
from app.types import DocumentStatus
from tests.store.library import NOW, Library
from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]

# Restores argv[1] to argv[2] and kills itself when argv[3] is reached.
KILLED = """
import os, signal, sys
from pathlib import Path
from app.backup import restore
from app.config import Settings

def progress(doing, done, total):
    if f"{doing} {done}".startswith(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)

restore(Settings(_env_file=None, data_dir=Path(sys.argv[2]), embedding_model="hashing"), Path(sys.argv[1]), progress)
"""


def silent(doing: str, done: int, total: int) -> None:
    """Progress that nobody looks at."""


@pytest.fixture
def library(settings: Settings) -> Iterator[Library]:
    """An installation in a data directory of its own."""
    with opened(settings) as library:
        yield library


@contextmanager
def opened(settings: Settings) -> Iterator[Library]:
    """The library of a data directory, its database closed at the end."""
    with open_database(settings) as database:
        with database.write() as connection:
            ensure_default_collection(connection, NOW)
        yield Library(database, BlobStore(settings.blobs_dir))


@pytest.fixture
def elsewhere(settings: Settings, tmp_path: Path) -> Settings:
    """Another machine's data directory, where nothing is yet."""
    return settings.model_copy(update={"data_dir": tmp_path / "elsewhere" / "data"})


def remove(library: Library, document_id: str) -> None:
    """Delete a document as the API does, its original too."""
    sha256 = library.read(document_id).sha256
    library.delete(document_id)
    remove_unused_blob(library.database, library.blobs, sha256)


def work_off(library: Library) -> None:
    """What a worker would do with everything in the queue."""
    while job := library.claim():
        library.store(job, [library.blobs.path(library.read(job.document_id).sha256).read_text()])
        library.go_live(job)


def check(settings: Settings, accepted: dict[str, str]) -> None:
    """The oracle: every document (id → text) is there, becomes ready, and is in the index exactly once."""
    with opened(settings) as library:
        work_off(library)
        projection = Projection(library.database, settings.index_dir)
        projection.sync_all()
        with library.database.read() as connection:
            collection = get_collection(connection, "default")
            assert projection.problems(collection) == []
            index = projection.index(collection)
            assert index is not None
            ranges = live_ranges(connection, collection.id)
            live = sorted(each for first, count in ranges for each in range(first, first + count))
            for ids in index.ids():
                assert ids.tolist() == live == chunks.chunk_ids(connection, collection.id).tolist()
            texts = connection.execute(text("SELECT document_id, text FROM chunks")).all()
            assert connection.scalar(text("PRAGMA integrity_check")) == "ok"
            needed = originals.needed(connection)
        for document_id, content in accepted.items():
            assert library.read(document_id).status is DocumentStatus.READY
            assert [each.document_id for each in texts if each.text == content] == [document_id]
        assert all(originals.is_intact(library.blobs.path(sha256)) for sha256 in needed)
        assert set(library.blobs.stored()) == needed


def files(folder: Path) -> dict[str, bytes]:
    """Everything below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def ids(library: Library) -> set[str]:
    with library.database.read() as connection:
        return set(connection.scalars(text("SELECT id FROM documents")))


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return int(ended.value.code or 0)


class Writer:
    """Uploads, works off and deletes documents in a thread, until it is told to stop."""

    def __init__(self, library: Library) -> None:
        self.rounds = 0
        self._library = library
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Writer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        kept: list[str] = []
        while not self._stop.is_set():
            kept.append(self._library.upload(f"A note of round {self.rounds}.").document.id)
            if self.rounds % 2:
                work_off(self._library)
                remove(self._library, kept.pop(0))
            self.rounds += 1


def test_a_backup_among_writes_is_one_moment(
    library: Library, settings: Settings, elsewhere: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was accepted before the backup began is whole in the copy, while uploads and deletions went on."""
    monkeypatch.setattr(copies, "_PAGES_A_STEP", 20)
    accepted = {}
    for number in range(6):
        content = f"The keeper of lighthouse {number} counts the ships."
        accepted[library.upload(content).document.id] = content
        if number == 2:
            work_off(library)
    assert library.claim() is not None  # one is in work, and its worker stays behind
    with Writer(library) as writer:

        def progress(doing: str, done: int, total: int) -> None:
            seen = writer.rounds
            wait_until(lambda: writer.rounds > seen + 1, what="writes to go on")

        made = backup(settings, tmp_path / "backup", progress)
    restore(elsewhere, tmp_path / "backup", silent)
    assert made.documents >= len(accepted)
    check(elsewhere, accepted)


def test_a_copy_ends_although_every_step_meets_a_commit(
    library: Library, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite would start over at each commit of another connection; the copy goes on, and is as it was at its start."""
    monkeypatch.setattr(copies, "_PAGES_A_STEP", 5)
    library.ingest("The tide turns at noon.")
    steps = []

    def progress(doing: str, done: int, total: int) -> None:
        if doing == "copying the database":
            steps.append((done, total))
            assert len(steps) < 1000, "it starts over and over"
            library.upload(f"Written in step {len(steps)}.")

    made = backup(settings, tmp_path / "backup", progress)
    assert made.documents == 1
    assert len(steps) > 3
    assert steps == sorted(steps)
    assert len({total for _, total in steps}) == 1


def test_an_original_that_goes_meanwhile_stays_until_it_is_copied(
    library: Library, settings: Settings, elsewhere: Settings, tmp_path: Path
) -> None:
    """A deletion after the copy of the database leaves the original to a later sweep; the backup has it."""
    contents = ["The lamp is cleaned on Mondays.", "This one is deleted.", "And this one after it."]
    accepted = {library.ingest(content): content for content in contents}
    doomed = list(accepted)[1:]

    def progress(doing: str, done: int, total: int) -> None:
        if doing == "copying the originals" and doomed:
            remove(library, doomed.pop())

    made = backup(settings, tmp_path / "backup", progress)
    assert doomed == []
    assert (made.documents, made.originals) == (3, 3)
    assert len(library.blobs.stored()) == 3
    sweep_blobs(library.database, library.blobs)
    assert len(library.blobs.stored()) == 1
    restore(elsewhere, tmp_path / "backup", silent)
    check(elsewhere, accepted)


def test_a_backup_needs_no_other_file(library: Library, settings: Settings, tmp_path: Path) -> None:
    """The copy of the database has no log beside it, and nothing is left next to the backup."""
    library.ingest("The tide turns at noon.")
    made = backup(settings, tmp_path / "new" / "backup", silent)
    target = tmp_path / "new" / "backup"
    assert [path.name for path in target.parent.iterdir()] == ["backup"]
    assert sorted(path.name for path in target.iterdir()) == [MANIFEST, "blobs", DATABASE]
    assert made.database_sha256 == hashlib.sha256((target / DATABASE).read_bytes()).hexdigest()
    assert made.bytes == sum(len(data) for name, data in files(target).items() if name != MANIFEST)
    assert (made.documents, made.chunks, made.originals) == (1, 1, 1)


@pytest.mark.parametrize("kind", ["file", "full folder"])
def test_a_backup_overwrites_nothing(library: Library, settings: Settings, tmp_path: Path, kind: str) -> None:
    """A backup is made in a folder that is new or empty."""
    target = tmp_path / "there"
    if kind == "file":
        target.write_text("mine")
    else:
        target.mkdir()
        (target / "mine").write_text("mine")
    with pytest.raises(Conflict, match="new or empty"):
        backup(settings, target, silent)
    empty = tmp_path / "empty"
    empty.mkdir()
    backup(settings, empty, silent)
    assert (empty / MANIFEST).is_file()


def test_a_backup_that_fails_leaves_nothing(library: Library, settings: Settings, tmp_path: Path) -> None:
    """No folder of a backup appears before the backup is whole."""
    library.ingest("The tide turns at noon.")
    before = set(tmp_path.iterdir())

    def progress(doing: str, done: int, total: int) -> None:
        if doing == "copying the originals":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        backup(settings, tmp_path / "backup", progress)
    assert set(tmp_path.iterdir()) == before


@pytest.mark.parametrize("damage", ["missing", "changed"])
def test_an_original_that_is_lost_is_named(library: Library, settings: Settings, tmp_path: Path, damage: str) -> None:
    """A live document without its original, or with another's bytes, ends the backup with its name."""
    document = library.read(library.ingest("The tide turns at noon.", filename="tides.txt"))
    blob = library.blobs.path(document.sha256)
    if damage == "missing":
        blob.unlink()
    else:
        blob.write_bytes(b"something else")
    with pytest.raises(BackupFailed, match=rf"tides\.txt \({document.id}\) is (missing|not what was uploaded)"):
        backup(settings, tmp_path / "backup", silent)
    assert not (tmp_path / "backup").exists()


def test_without_a_database_there_is_nothing_to_back_up(settings: Settings, tmp_path: Path) -> None:
    """A wrong data directory is not backed up as an empty one."""
    with pytest.raises(NotFound, match="nothing to back up"):
        backup(settings, tmp_path / "backup", silent)
    assert not settings.data_dir.exists()


def test_postgresql_has_tools_of_its_own(settings: Settings, tmp_path: Path) -> None:
    """With PostgreSQL both commands name pg_dump, and that the originals come after it."""
    there = settings.model_copy(update={"database_url": "postgresql+psycopg://nowhere/footnote"})
    calls: list[Callable[[], object]] = [
        lambda: backup(there, tmp_path / "backup", silent),
        lambda: restore(there, tmp_path / "backup", silent),
    ]
    for call in calls:
        with pytest.raises(ConfigurationError, match="pg_dump"):
            call()


@pytest.fixture
def saved(library: Library, settings: Settings, tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """A backup of a ready document, one in work and one in the queue; and their texts by id."""
    texts = ["The tide turns at noon.", "The lamp is cleaned on Mondays.", "Fog bells ring twice a minute."]
    accepted = {library.ingest(texts[0]): texts[0]}
    accepted |= {library.upload(content).document.id: content for content in texts[1:]}
    assert library.claim() is not None
    backup(settings, tmp_path / "backup", silent)
    return tmp_path / "backup", accepted


def test_what_was_in_work_is_taken_up_at_once(saved: tuple[Path, dict[str, str]], elsewhere: Settings) -> None:
    """A lease in the copy is that of a worker elsewhere: the job is in the queue again, with all its attempts."""
    source, accepted = saved
    restore(elsewhere, source, silent)
    with opened(elsewhere) as library:
        statuses = [library.read(document_id).status for document_id in accepted]
        assert statuses == [DocumentStatus.READY, DocumentStatus.QUEUED, DocumentStatus.QUEUED]
        job = library.claim()
        assert job is not None
        assert job.attempt == 1
        with library.database.write() as connection:
            connection.execute(text("UPDATE jobs SET state = 'queued', owner = NULL WHERE state = 'running'"))
    check(elsewhere, accepted)


def change_number(source: Path) -> None:
    data = json.loads((source / MANIFEST).read_text())
    (source / MANIFEST).write_text(json.dumps(data | {"format": 99}))


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def of_the_future(source: Path) -> None:
    with closing(sqlite_module().connect(source / DATABASE)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    data = json.loads((source / MANIFEST).read_text())
    sha256 = hashlib.sha256((source / DATABASE).read_bytes()).hexdigest()
    (source / MANIFEST).write_text(json.dumps(data | {"database_sha256": sha256}))


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "no manifest": (lambda source: (source / MANIFEST).unlink(), "is no backup"),
    "half a manifest": (lambda source: os.truncate(source / MANIFEST, 40), "cannot be understood"),
    "another format": (change_number, "format 99"),
    "no database": (lambda source: (source / DATABASE).unlink(), "missing or not what was backed up"),
    "another byte in the database": (lambda source: flip(source / DATABASE), "missing or not what was backed up"),
    "a newer schema": (of_the_future, "newer than this one"),
    "no original": (lambda source: next((source / "blobs").glob("?" * 64)).unlink(), "1 of 3 originals"),
    "another byte in an original": (lambda source: flip(next((source / "blobs").glob("?" * 64))), "1 of 3 originals"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_backup_changes_nothing(saved: tuple[Path, dict[str, str]], elsewhere: Settings, kind: str) -> None:
    """All of a backup is checked before anything is written."""
    damage, message = DAMAGE[kind]
    damage(saved[0])
    with pytest.raises(BackupFailed, match=message):
        restore(elsewhere, saved[0], silent)
    assert not elsewhere.data_dir.exists()


@pytest.mark.parametrize("name", ["footnote.db", "footnote.db-wal"])
def test_a_database_is_never_replaced(saved: tuple[Path, dict[str, str]], elsewhere: Settings, name: str) -> None:
    """A data directory with a database, or with the log of one, stays as it is."""
    elsewhere.data_dir.mkdir(parents=True)
    (elsewhere.data_dir / name).write_bytes(b"precious")
    with pytest.raises(Conflict, match="There is a database already"):
        restore(elsewhere, saved[0], silent)
    assert files(elsewhere.data_dir) == {name: b"precious"}


def test_a_restored_database_is_not_replaced_either(saved: tuple[Path, dict[str, str]], elsewhere: Settings) -> None:
    """When a restore is complete, the same one again is refused like any other."""
    source, accepted = saved
    restore(elsewhere, source, silent)
    with pytest.raises(Conflict, match="There is a database already"):
        restore(elsewhere, source, silent)
    check(elsewhere, accepted)


def test_the_index_of_a_lost_database_is_not_believed(
    saved: tuple[Path, dict[str, str]], library: Library, settings: Settings
) -> None:
    """An index that went on after the backup is not taken for that of the restored database."""
    source, accepted = saved
    work_off(library)
    Projection(library.database, settings.index_dir).sync_all()
    library.database.close()
    for path in settings.data_dir.glob("footnote.db*"):
        path.unlink()
    restore(settings, source, silent)
    check(settings, accepted)


def test_originals_that_came_later_are_not_given_up(saved: tuple[Path, dict[str, str]], elsewhere: Settings) -> None:
    """Where a database was lost, what was uploaded after the backup is not left for a worker to remove."""
    elsewhere.blobs_dir.mkdir(parents=True)
    later = elsewhere.blobs_dir / hashlib.sha256(b"later").hexdigest()
    later.write_bytes(b"later")
    with pytest.raises(Conflict, match=r"1 originals in .* are not in the backup"):
        restore(elsewhere, saved[0], silent)
    assert files(elsewhere.data_dir) == {f"blobs/{later.name}": b"later"}


def test_the_commands_say_what_they_did(
    saved: tuple[Path, dict[str, str]],
    settings: Settings,
    elsewhere: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """`backup` and `restore` end with one line; a refusal is one line on standard error, and exit code 1."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FOOTNOTE_EMBEDDING_MODEL", "hashing")
    monkeypatch.setenv("FOOTNOTE_DATA_DIR", str(settings.data_dir))
    assert run("backup", "second") == 0
    assert re.fullmatch(
        r"Backed up 3 documents with 1 chunks and 3 originals \(0\.\d MB\) to second\n", capsys.readouterr().out
    )
    assert run("backup", "second") == 1
    assert capsys.readouterr().err == f"{tmp_path / 'second'} is there already: name a folder that is new or empty.\n"
    monkeypatch.setenv("FOOTNOTE_DATA_DIR", str(elsewhere.data_dir))
    assert run("restore", "second") == 0
    assert re.fullmatch(
        rf"Restored 3 documents .* of 20\S+ to {re.escape(str(elsewhere.data_dir))}\n", capsys.readouterr().out
    )
    assert run("restore", "second") == 1
    assert capsys.readouterr().err.startswith("There is a database already: ")


@pytest.mark.parametrize(
    "moment",
    ["checking the originals", "copying the originals 1", "copying the database", "making the index"],
)
def test_a_restore_that_is_killed_is_done_again(
    saved: tuple[Path, dict[str, str]], elsewhere: Settings, moment: str
) -> None:
    """After kill -9 at any step the same command succeeds."""
    source, accepted = saved
    arguments = [sys.executable, "-c", KILLED, str(source), str(elsewhere.data_dir), moment]
    killed = subprocess.run(arguments, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    restore(elsewhere, source, silent)
    check(elsewhere, accepted)
    assert not list(elsewhere.data_dir.glob("*.restoring"))

"""A backup while Footnote is in use, and the way back.

A backup is a data directory without its index: one moment of the database, every original that it names, and
`backup.json`, which tells the database's checksum. The index is made anew from the database.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from app.config import Settings
from app.errors import BackupFailed, Conflict, FootnoteError, NotFound, StorageFull
from app.index.durable import record_file, sync_folder, write_durably
from app.projection import Projection
from app.store import copies, jobs, originals
from app.store.blobs import BlobStore
from app.store.collections import list_collections
from app.store.database import Database, open_database

Progress = Callable[[str, int, int], None]  # what is being done, how many are done, how many there are

FORMAT = 1
MANIFEST = "backup.json"
DATABASE = "footnote.db"
BLOBS = "blobs"

_PIECE_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Backup:
    """What `backup.json` says."""

    format: int
    created_at: str
    footnote_version: str
    documents: int
    chunks: int
    originals: int
    bytes: int  # of the database and the originals
    database_sha256: str

    @property
    def extent(self) -> str:
        """How much it is, for a person."""
        return (
            f"{self.documents:,} documents with {self.chunks:,} chunks and {self.originals:,} originals "
            f"({self.bytes / 1e6:.1f} MB)"
        )


def backup(settings: Settings, target: Path, progress: Progress) -> Backup:
    """Back everything up into a folder that is new or empty; it appears there as a whole, or not at all.

    Raises `NotFound` (nothing to back up), `Conflict` (something is there), `ConfigurationError` (not SQLite),
    `StorageFull`, `BackupFailed`.
    """
    with _in_plain_words():
        source, target = copies.database_file(settings), target.resolve()
        if not source.is_file():
            raise NotFound(f"There is no database at {source}: there is nothing to back up.")
        _require_free(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".unfinished", dir=target.parent))
        try:
            made = _fill(unfinished, settings, source, progress)
            unfinished.rename(target)  # over an empty folder, and no other
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
        sync_folder(target.parent)
        return made


def restore(settings: Settings, source: Path, progress: Progress) -> Backup:
    """Put a backup where no database is, and make the index. Nothing is touched before all of it has been checked.

    If it is interrupted, the same call finishes it. Raises `Conflict` (a database is there), `ConfigurationError` (not
    SQLite), `StorageFull`, `BackupFailed` (the backup is damaged, or cannot be written).
    """
    with _in_plain_words():
        database, found = copies.database_file(settings), _read_manifest(source)
        if not _is_in_place(found, database):
            _require_no_database(database)
            digests = _check(source, found, progress)
            _require_no_others(settings, digests)
            _put_in_place(settings, source, found, digests, progress)
        _finish(settings, found, progress)
        return found


def _require_free(target: Path) -> None:
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise Conflict(f"{target} is there already: name a folder that is new or empty.")
    if target.is_mount():
        raise Conflict(f"A disk is mounted at {target}: name a folder in it.")


def _fill(folder: Path, settings: Settings, source: Path, progress: Progress) -> Backup:
    """The database first: the originals that it names are all there, and stay as long as we hold them."""
    kept, blobs = BlobStore(folder / BLOBS), BlobStore(settings.blobs_dir)
    with Database(settings.resolved_database_url) as database, blobs.all_kept():
        contents = _copy_database(source, folder / DATABASE, progress)
        _copy_originals(contents.originals, database, blobs, kept, progress)
    return _seal(folder, kept, contents)


def _copy_database(source: Path, target: Path, progress: Progress) -> copies.Contents:
    copies.copy_database(source, target, lambda done, total: progress("copying the database", done, total))
    problem = copies.problem(target)
    if problem:
        raise BackupFailed(
            f"The database is damaged: {problem}. It was not backed up. Stop Footnote, move {source} away and restore "
            "an earlier backup."
        )
    return copies.read_contents(target)


def _copy_originals(
    digests: frozenset[str], database: Database, blobs: BlobStore, kept: BlobStore, progress: Progress
) -> None:
    """Raises `BackupFailed` for one that is missing or damaged."""
    for number, sha256 in enumerate(sorted(digests)):
        progress("copying the originals", number, len(digests))
        try:
            is_intact = _copy_blob(blobs.path(sha256), kept)
        except FileNotFoundError:
            raise _unusable("missing", blobs.path(sha256), database) from None
        if not is_intact:
            raise _unusable("not what was uploaded any more", blobs.path(sha256), database)
    progress("copying the originals", len(digests), len(digests))


def _unusable(state: str, blob: Path, database: Database) -> BackupFailed:
    with database.read() as connection:
        whose = ", ".join(originals.names(connection, [blob.name]))
    return BackupFailed(
        f"The original of {whose or 'a deleted document'} is {state}. Upload its file again, "
        f"or put the file back as {blob}; then back up again."
    )


def _copy_blob(source: Path, store: BlobStore) -> bool:
    """Copy a blob, durably; false if it is not what its name says. Raises `OSError` where it cannot be read."""
    with source.open("rb") as file, store.writer(max(os.fstat(file.fileno()).st_size, 1)) as writer:
        while data := file.read(_PIECE_BYTES):
            writer.write(data)
        if writer.sha256 != source.name:
            return False
        store.keep(writer.finish())
    return True


def _seal(folder: Path, kept: BlobStore, contents: copies.Contents) -> Backup:
    """Write down what is there: the last file of a backup."""
    database = record_file(folder / DATABASE)
    made = Backup(
        format=FORMAT,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        footnote_version=version("footnote"),
        documents=contents.documents,
        chunks=contents.chunks,
        originals=len(contents.originals),
        bytes=database.bytes + sum(kept.path(sha256).stat().st_size for sha256 in contents.originals),
        database_sha256=database.sha256,
    )
    sync_folder(kept.directory)
    write_durably(folder / MANIFEST, json.dumps(asdict(made), indent=2).encode() + b"\n")
    return made


def _read_manifest(source: Path) -> Backup:
    try:
        found = json.loads((source / MANIFEST).read_bytes())
        if found["format"] != FORMAT:
            raise BackupFailed(f"{source} has format {found['format']}; this version reads format {FORMAT}.")
        read = Backup(**found)
        bytes.fromhex(read.database_sha256)
    except FileNotFoundError as error:
        raise BackupFailed(f"{source} is no backup: it has no {MANIFEST}.") from error
    except (KeyError, RecursionError, TypeError, ValueError) as error:
        raise BackupFailed(f"{source / MANIFEST} cannot be understood: the backup is damaged.") from error
    return read


def _is_in_place(found: Backup, database: Path) -> bool:
    """Whether a restore of this very backup came as far as the database, and no further."""
    return database.is_file() and copies.read_mark(database) == _mark(found)


def _mark(found: Backup) -> int:
    return int(found.database_sha256[:7], 16) + 1  # never 0


def _require_no_database(database: Path) -> None:
    there = copies.belongings(database)
    if there:
        raise Conflict(
            f"There is a database already: {', '.join(map(str, there))}. A backup is restored only where none is: move "
            "it away, or set FOOTNOTE_DATA_DIR to another folder."
        )


def _require_no_others(settings: Settings, digests: frozenset[str]) -> None:
    """No originals that came after the backup: a worker would take them for garbage."""
    others = [path for path in settings.blobs_dir.glob("*") if path.is_file() and path.name not in digests]
    if others:
        raise Conflict(
            f"{len(others)} originals in {settings.blobs_dir} are not in the backup, and Footnote would remove them. "
            "Move that folder away, restore, and upload what you miss again."
        )


def _check(source: Path, found: Backup, progress: Progress) -> frozenset[str]:
    """Read all of a backup; the digests of its originals. Raises `BackupFailed`."""
    copy = source / DATABASE
    progress("checking the database", 0, 1)
    if not copy.is_file() or record_file(copy).sha256 != found.database_sha256:
        raise BackupFailed(f"{copy} is missing or not what was backed up: the backup is damaged.")
    problem = copies.problem(copy)
    if problem:
        raise BackupFailed(f"{copy} is damaged: {problem}.")
    if not copies.is_schema_known(copy):
        raise BackupFailed(f"The backup was made by Footnote {found.footnote_version}, which is newer than this one.")
    digests = sorted(copies.read_contents(copy).originals)
    damaged = []
    for number, sha256 in enumerate(digests):
        progress("checking the originals", number, len(digests))
        if not _is_intact(source / BLOBS / sha256):
            damaged.append(sha256)
    if damaged:
        raise BackupFailed(
            f"{len(damaged)} of {len(digests)} originals in {source / BLOBS} are missing or damaged: {damaged[0]}"
            f"{', …' if len(damaged) > 1 else ''}. Nothing was restored."
        )
    return frozenset(digests)


def _is_intact(blob: Path) -> bool:
    try:
        return originals.is_intact(blob)
    except FileNotFoundError:
        return False


def _put_in_place(settings: Settings, source: Path, found: Backup, digests: frozenset[str], progress: Progress) -> None:
    """The originals first and the database last, in one step: whatever is there before can be put there again."""
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    if settings.index_dir.exists():  # of a database that is gone: it must not be taken for this one's
        shutil.rmtree(settings.index_dir)
        sync_folder(settings.data_dir)
    blobs = BlobStore(settings.blobs_dir)
    for number, sha256 in enumerate(sorted(digests)):
        progress("copying the originals", number, len(digests))
        if not _is_intact(blobs.path(sha256)) and not _copy_blob(source / BLOBS / sha256, blobs):
            raise BackupFailed(f"{source / BLOBS / sha256} has changed while it was read.")
    database = copies.database_file(settings)
    database.parent.mkdir(parents=True, exist_ok=True)
    progress("copying the database", 0, 1)
    arriving = database.with_name(f"{database.name}.restoring")
    _copy_checked(source / DATABASE, arriving, found.database_sha256)
    copies.write_mark(arriving, _mark(found))
    _require_no_database(database)
    arriving.rename(database)
    sync_folder(database.parent)


def _copy_checked(source: Path, target: Path, sha256: str) -> None:
    digest = hashlib.sha256()
    with source.open("rb") as reading, target.open("wb") as writing:
        while data := reading.read(_PIECE_BYTES):
            digest.update(data)
            writing.write(data)
    if digest.hexdigest() != sha256:
        raise BackupFailed(f"{source} has changed while it was read.")


def _finish(settings: Settings, found: Backup, progress: Progress) -> None:
    """What can be done any number of times: jobs go back into the queue, and every index is made from the database."""
    with open_database(settings) as database:
        with database.write() as connection:
            jobs.hand_back(connection, time.time(), only_abandoned=False)
            collections = list_collections(connection)
        projection = Projection(database, settings.index_dir)
        try:
            for collection in collections:
                report = _chunks_of(collection.name, found, progress)
                report(0)
                projection.rebuild(collection.id, report)
        except FootnoteError as error:
            raise BackupFailed(
                f"{error.message} All documents are restored; only the index is not whole: `footnote doctor --repair` "
                "makes it."
            ) from error
        with database.write() as connection:
            copies.remove_mark(connection)


def _chunks_of(name: str, found: Backup, progress: Progress) -> Callable[[int], None]:
    return lambda done: progress(f"making the index of {name!r}", done, found.chunks)


@contextmanager
def _in_plain_words() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFull("There is no room left on the disk.") from error
        raise BackupFailed(f"{error.filename or 'A file'} cannot be read or written: {error.strerror}.") from error

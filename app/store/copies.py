"""Copies of the SQLite database: made while others write to it, checked, and marked while they are being restored."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alembic.script import ScriptDirectory
from sqlalchemy import Connection, make_url, text

from app.config import Settings
from app.errors import BackupFailed, ConfigurationError, StorageFull
from app.index.durable import sync_file
from app.store.database import sqlite_module

_PAGES_A_STEP = 4096
_BUSY_TIMEOUT_SECONDS = 30
_SQLITE_FULL = 13
# https://www.sqlite.org/fileformat.html, 1.3: the "user version", which is the application's own.
_MARK_OFFSET, _MARK_BYTES = 60, 4


@dataclass(frozen=True, slots=True)
class Contents:
    """What a copy of the database holds and names."""

    documents: int
    chunks: int
    originals: frozenset[str]  # their SHA-256


def database_file(settings: Settings) -> Path:
    """Where SQLite's file is, or would be. Raises `ConfigurationError` for another database."""
    url = make_url(settings.resolved_database_url)
    if url.get_backend_name() != "sqlite" or not url.database:
        raise ConfigurationError(
            "Footnote backs up and restores SQLite. With PostgreSQL, back the database up with pg_dump and after that "
            f"copy {settings.blobs_dir}; restore both, and run `footnote doctor --rebuild`."
        )
    return Path(url.database)


def belongings(database: Path) -> list[Path]:
    """The file and those that SQLite keeps beside it, as far as they are there."""
    names = [database.name, *(f"{database.name}-{kind}" for kind in ("wal", "shm", "journal"))]
    return [path for path in map(database.with_name, names) if path.exists()]


def copy_database(source: Path, target: Path, progress: Callable[[int, int], None]) -> None:
    """Copy the database as it is at one moment, whoever writes to it meanwhile, to a file that needs no other.

    The open read transaction holds the moment: without it SQLite would start over whenever another process commits.
    `progress` is told the pages done and in all. Raises `BackupFailed`, `StorageFull`.
    """
    target.unlink(missing_ok=True)
    with _translated(source), closing(_connect(str(source))) as reading, closing(_connect(str(target))) as writing:
        reading.execute("BEGIN")
        reading.execute("SELECT count(*) FROM sqlite_master").fetchone()
        reading.backup(
            writing, pages=_PAGES_A_STEP, progress=lambda _, remaining, total: progress(total - remaining, total)
        )
        writing.execute("PRAGMA journal_mode=DELETE")
        _erase_passwords(writing)
    sync_file(target)


def problem(copy: Path) -> str | None:
    """Why a copy cannot be used, in SQLite's words; None if it can."""
    with _opened(copy) as connection:
        found = [row[0] for row in connection.execute("PRAGMA integrity_check(3)")]
    return None if found == ["ok"] else "; ".join(found)


def read_contents(copy: Path) -> Contents:
    """Count what a copy holds. Raises `BackupFailed` where it is no database of Footnote's."""
    with _opened(copy) as connection:
        # A copy that was made before there were files has no such table.
        has_files = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'files'").fetchone()
        tables = ("versions", "files") if has_files else ("versions",)
        return Contents(
            documents=connection.execute("SELECT count(*) FROM documents").fetchone()[0],
            chunks=connection.execute("SELECT count(*) FROM chunks").fetchone()[0],
            originals=frozenset(
                row[0]
                for table in tables
                for row in connection.execute(f"SELECT DISTINCT sha256 FROM {table}")  # noqa: S608 - one of two names
            ),
        )


def is_schema_known(copy: Path) -> bool:
    """Whether this version of Footnote can open it: a newer one may have changed the schema."""
    known = {each.revision for each in ScriptDirectory(str(Path(__file__).parent / "migrations")).walk_revisions()}
    with _opened(copy) as connection:
        return {row[0] for row in connection.execute("SELECT version_num FROM alembic_version")} <= known


def read_mark(database: Path) -> int:
    """The number that `write_mark` left in a database that nobody has open; 0 where there is none."""
    with database.open("rb") as file:
        file.seek(_MARK_OFFSET)
        return int.from_bytes(file.read(_MARK_BYTES), "big")


def write_mark(copy: Path, mark: int) -> None:
    """Leave a number in a copy that nobody has open: it comes into place with it, in one step."""
    with copy.open("r+b") as file:
        file.seek(_MARK_OFFSET)
        file.write(mark.to_bytes(_MARK_BYTES, "big"))
    sync_file(copy)


def remove_mark(connection: Connection) -> None:
    """From a database in use."""
    connection.execute(text("PRAGMA user_version = 0"))


def _erase_passwords(copy: Any) -> None:
    """Of files that still have to be read: a copy may lie about for years. They are asked for again."""
    copy.execute("PRAGMA secure_delete=ON")
    if any(row[1] == "password" for row in copy.execute("PRAGMA table_info(jobs)")):
        copy.execute("UPDATE jobs SET password = NULL WHERE password IS NOT NULL")


def _connect(name: str, *, uri: bool = False) -> Any:
    return sqlite_module().connect(name, uri=uri, isolation_level=None, timeout=_BUSY_TIMEOUT_SECONDS)


@contextmanager
def _opened(copy: Path) -> Iterator[Any]:
    """A copy that nobody writes to: it may lie on a medium that cannot be written."""
    uri = f"{copy.resolve().as_uri()}?mode=ro&immutable=1"
    with _translated(copy), closing(_connect(uri, uri=True)) as connection:
        yield connection


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite_module().Error as error:
        if getattr(error, "sqlite_errorcode", None) == _SQLITE_FULL or "disk is full" in str(error):
            raise StorageFull("There is no room left on the disk.") from error
        raise BackupFailed(f"{path} cannot be read or copied as a database: {error}.") from error

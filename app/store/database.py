"""The connection to the truth: SQLite by default, PostgreSQL where many machines share it."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, Self

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, ExceptionContext, create_engine, event, make_url, text
from sqlalchemy.exc import DataError, OperationalError

from app.config import Settings
from app.errors import ConfigurationError, InvalidRequest, StorageFull, Unavailable

logger = logging.getLogger(__name__)

# 3.7.0 to 3.51.2 can corrupt a WAL database when two connections write or checkpoint at once.
# https://sqlite.org/wal.html#walresetbug
SAFE_SQLITE = (3, 51, 3)
_BUSY_TIMEOUT_SECONDS = 30
_BLOB_LOCK_KEY = 0x466F6F74  # any number that is ours alone, for PostgreSQL's advisory lock


def sqlite_module() -> ModuleType:
    """The SQLite library to use: the wheel that carries a recent one, else the interpreter's own."""
    try:
        import pysqlite3  # no wheel for every platform
    except ImportError:
        return sqlite3
    module: ModuleType = pysqlite3
    return module


class Database:
    """An engine with explicit read and write transactions."""

    def __init__(self, url: str) -> None:
        self.url = make_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self.engine = (
            self._sqlite_engine()
            if self.is_sqlite
            else create_engine(self.url, pool_pre_ping=True, hide_parameters=True)
        )
        event.listen(self.engine, "handle_error", _refuse_what_does_not_fit)
        # SQLite takes one writer at a time: queueing here is fair, its own busy handler is not.
        self._write_lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.engine.dispose()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One consistent snapshot."""
        with _translated(), self.engine.connect() as connection:
            if not self.is_sqlite:  # whose default is a snapshot a statement
                connection = connection.execution_options(isolation_level="REPEATABLE READ")
            with connection.begin():
                yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction that is durable when the block ends, or never happened.

        Raises `StorageFull` when the disk is full and `Unavailable` when another writer holds the database too long.
        """
        if not self.is_sqlite:
            with _translated(), self.engine.begin() as connection:
                yield connection
            return
        with _translated(), self._write_lock, self.engine.connect() as connection:
            connection = connection.execution_options(footnote_write=True)
            with connection.begin():
                yield connection

    def lock_blobs(self, connection: Connection) -> None:
        """Until the transaction ends no other one may decide about blobs. (A write to SQLite excludes all others.)"""
        if not self.is_sqlite:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _BLOB_LOCK_KEY})

    def migrate(self) -> None:
        """Bring the schema up to date; safe when several processes start at once."""
        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
        with self.write() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")

    def library_problem(self) -> str | None:
        """Why the SQLite library must not be trusted with a database that several processes write; None if it may."""
        module = sqlite_module()
        if not self.is_sqlite or module.sqlite_version_info >= SAFE_SQLITE:
            return None
        return (
            f"SQLite {module.sqlite_version} can corrupt the database when two processes write at once (fixed in "
            f"{'.'.join(map(str, SAFE_SQLITE))}). Install pysqlite3, use a newer Python build, or use PostgreSQL."
        )

    def _sqlite_engine(self) -> Engine:
        if not self.url.database or self.url.database == ":memory:":
            raise ConfigurationError("FOOTNOTE_DATABASE_URL must name a file: server and worker share it.")
        Path(self.url.database).parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(
            self.url,
            hide_parameters=True,  # an error, and so a log, tells the statement without what people have uploaded
            module=sqlite_module(),
            connect_args={"timeout": _BUSY_TIMEOUT_SECONDS, "check_same_thread": False},
            # Each thread of the pool that FastAPI and the worker use may hold one.
            pool_size=16,
            max_overflow=64,
        )
        event.listen(engine, "connect", _configure_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine


def open_database(settings: Settings) -> Database:
    """Open the configured database and bring its schema up to date."""
    database = Database(settings.resolved_database_url)
    problem = database.library_problem()
    if problem:
        logger.warning("%s", problem)
    database.migrate()
    return database


def _configure_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # transactions begin where we say, not where the driver guesses
    cursor = connection.cursor()
    # Of a new database: a chunk with its vector takes 2 kB, and half a one is lost at the end of every page.
    cursor.execute("PRAGMA page_size=8192")
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")  # with NORMAL a commit is not on disk when it returns
    cursor.execute("PRAGMA foreign_keys=ON")
    # What is erased within a page is overwritten, such as a password; pages that become free are not, for their cost.
    cursor.execute("PRAGMA secure_delete=FAST")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    # IMMEDIATE: a transaction that reads, then writes, must not find its snapshot outdated in between.
    write = connection.get_execution_options().get("footnote_write")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def _refuse_what_does_not_fit(context: ExceptionContext) -> None:
    """What a driver cannot even send: a whole number of more than 64 bits, half a character (a lone surrogate)."""
    if isinstance(context.original_exception, OverflowError | UnicodeEncodeError):
        raise InvalidRequest("A value does not fit: a number is too large, or a text is not valid Unicode.")


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except DataError as error:  # PostgreSQL's text has no NUL
        raise InvalidRequest("A value cannot be stored: it holds a character that no text has.") from error
    except OperationalError as error:
        message = str(error.orig).lower()
        if "disk is full" in message or "no space left" in message or "disk i/o error" in message:
            raise StorageFull from error
        if "locked" in message or "connection" in message:
            raise Unavailable("The database is busy or out of reach; try again in a moment.") from error
        raise

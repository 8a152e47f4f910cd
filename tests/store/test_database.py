"""The connection to the truth: its schema, its durability, its transactions."""

from __future__ import annotations

import multiprocessing
import sqlite3
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text

from app.config import Settings
from app.errors import CollectionExists, ConfigurationError
from app.store import database as database_module
from app.store.collections import create_collection, list_collections
from app.store.database import SAFE_SQLITE, Database, open_database, sqlite_module
from app.store.tables import metadata
from tests.store.library import NOW


def test_the_migrated_schema_is_the_tables(database: Database) -> None:
    """The migrations lead to exactly what `tables.py` declares."""
    with database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []


def test_migrating_again_changes_nothing(database: Database) -> None:
    """A second start finds its schema and its rows as they were."""
    database.migrate()
    with database.read() as connection:
        assert [collection.name for collection in list_collections(connection)] == ["default"]
        assert inspect(connection).has_table("chunks")


def _migrate(url: str) -> None:
    with Database(url) as database:
        database.migrate()


def test_several_processes_may_start_at_once(tmp_path: Path) -> None:
    """Processes that migrate a new database at the same moment all succeed."""
    url = f"sqlite:///{tmp_path / 'new.db'}"
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=_migrate, args=(url,)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    with Database(url) as database, database.read() as connection:
        assert connection.scalar(text("SELECT count(*) FROM alembic_version")) == 1


def test_a_commit_is_on_the_disk(settings: Settings) -> None:
    """SQLite runs with a write-ahead log, full synchronisation, and foreign keys."""
    with open_database(settings) as database, database.read() as connection:
        assert connection.scalar(text("PRAGMA journal_mode")) == "wal"
        assert connection.scalar(text("PRAGMA synchronous")) == 2
        assert connection.scalar(text("PRAGMA foreign_keys")) == 1


def test_an_unsafe_sqlite_is_named(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A SQLite without the WAL-reset fix is reported with its version and a way out."""
    with open_database(settings) as database:
        assert sqlite_module().sqlite_version_info < SAFE_SQLITE or database.library_problem() is None
        old = SimpleNamespace(sqlite_version="3.40.1", sqlite_version_info=(3, 40, 1))
        monkeypatch.setattr(database_module, "sqlite_module", lambda: old)
        problem = database.library_problem()
    assert problem is not None
    assert "3.40.1" in problem
    assert "pysqlite3" in problem


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:"])
def test_a_database_in_memory_is_refused(url: str) -> None:
    """Server and worker share the database, so it must be a file."""
    with pytest.raises(ConfigurationError, match="must name a file"):
        Database(url)


def test_an_error_undoes_the_whole_transaction(database: Database) -> None:
    """A transaction that raises leaves nothing behind."""
    with pytest.raises(CollectionExists):
        _create(database, "law", "default")
    with database.read() as connection:
        assert [collection.name for collection in list_collections(connection)] == ["default"]


def test_a_reader_sees_one_moment(database: Database) -> None:
    """What is committed during a read does not show in it."""
    with database.read() as connection:
        assert len(list_collections(connection)) == 1
        writer = threading.Thread(target=_create, args=(database, "late"))
        writer.start()
        writer.join()
        assert len(list_collections(connection)) == 1


def test_writers_queue(database: Database) -> None:
    """Many threads may write at once; none is lost and none fails."""
    threads = [threading.Thread(target=_create, args=(database, f"c{i}")) for i in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.read() as connection:
        assert len(list_collections(connection)) == 25


def _create(database: Database, *names: str) -> None:
    with database.write() as connection:
        for name in names:
            create_collection(connection, name, {}, NOW)


def test_the_interpreters_own_sqlite_serves_where_there_is_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the wheel that carries a recent SQLite, the standard library's module is used."""
    monkeypatch.setitem(__import__("sys").modules, "pysqlite3", None)
    assert sqlite_module() is sqlite3

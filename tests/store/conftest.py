"""The truth on SQLite, and on PostgreSQL too where `FOOTNOTE_TEST_DATABASE_URL` names one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.store.blobs import BlobStore
from app.store.collections import ensure_default_collection
from app.store.database import Database
from app.store.tables import metadata
from tests.store.library import NOW, Library

_POSTGRES = os.environ.get("FOOTNOTE_TEST_DATABASE_URL")


@pytest.fixture(params=["sqlite", *(["postgresql"] if _POSTGRES else [])])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """Every database that holds the truth: empty but for the default collection."""
    url = _POSTGRES if request.param == "postgresql" else f"sqlite:///{tmp_path / 'truth.db'}"
    with Database(str(url)) as database:
        database.migrate()
        with database.write() as connection:
            for table in reversed(metadata.sorted_tables):
                connection.execute(table.delete())
            ensure_default_collection(connection, NOW)
        yield database


@pytest.fixture
def library(database: Database, tmp_path: Path) -> Library:
    return Library(database, BlobStore(tmp_path / "blobs"))

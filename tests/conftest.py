"""What every suite stands on: settings of its own, and a database in a folder of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.config import Settings
from app.store.collections import ensure_default_collection
from app.store.database import Database, open_database
from tests.store.library import NOW


@pytest.fixture(scope="session", autouse=True)
def _no_settings_from_outside() -> None:
    """An operator's own environment must not decide how a test ends."""
    for name in [name for name in os.environ if name.startswith("FOOTNOTE_") and not name.startswith("FOOTNOTE_TEST_")]:
        del os.environ[name]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A data directory that nobody else uses, and an embedder that needs no model."""
    return Settings(_env_file=None, data_dir=tmp_path / "data", embedding_model="hashing", port=0)


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    """A migrated database with its default collection."""
    with open_database(settings) as database:
        with database.write() as connection:
            ensure_default_collection(connection, NOW)
        yield database

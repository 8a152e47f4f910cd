"""Data directories to harm: each a copy of one that was made once."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults import forks, operations

Copy = Callable[[str], Path]


@pytest.fixture(scope="session")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One data directory for each operation to begin with."""
    folder = tmp_path_factory.mktemp("templates")
    assert forks.run(operations.prepare, folder) == 0
    return folder


@pytest.fixture
def copy_of(templates: Path, tmp_path: Path) -> Copy:
    """`copy_of("add")`: a fresh copy of what the operation begins with."""

    def copy(operation: str) -> Path:
        target = tmp_path / f"data-{sum(1 for _ in tmp_path.iterdir())}"
        shutil.copytree(templates / operation, target)
        return target

    return copy

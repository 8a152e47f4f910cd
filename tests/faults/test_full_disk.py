"""The disk is full while one thing or another is written: 507 or a retried job, and it goes on when there is room."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults import forks, full_disk
from tests.faults.conftest import Copy
from tests.faults.full_disk import STEPS
from tests.faults.sizes import FULL

ROOT = Path(__file__).resolve().parents[2]
ON_A_DISK = tuple(STEPS) if FULL else ("a segment",)  # a process of its own each


@pytest.mark.parametrize("step", STEPS)
def test_no_file_can_grow(step: str, copy_of: Copy) -> None:
    """With a limit on the size of files in place of a full disk: `EFBIG` for `ENOSPC`."""
    assert forks.run(full_disk.starve, copy_of(STEPS[step].operation), step) == 0


@pytest.mark.parametrize("step", ON_A_DISK)
def test_the_disk_is_full(step: str, templates: Path, tmp_path: Path) -> None:
    """On a real file system of 16 MB that has no byte left."""
    if not full_disk.can_mount(tmp_path):
        pytest.skip("this user may not mount a file system")
    finished = full_disk.run_on_small_disk(tmp_path, templates / STEPS[step].operation, step, ROOT)
    assert finished.returncode == 0, finished.stderr

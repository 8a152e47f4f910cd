"""What happens to a library whose disk fills up at a failpoint: run in a process of its own.

`python -m tests.faults.full_disk FOLDER TEMPLATE STEP` mounts a small file system at the folder first, in a namespace
of its own. `starve` does the same with a limit on the size of files, where nothing can be mounted.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from app import failpoints
from app.errors import StorageFull
from app.failpoints import FailpointName
from tests.faults.operations import OPERATIONS, initial
from tests.faults.oracle import Expected, check, recover
from tests.faults.workbench import Workbench

SIZE = "16m"
_PIECE_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Step:
    """What the process is about to write when the room is gone, and what it says of it."""

    operation: str
    failpoint: FailpointName | None  # None: before the request
    refused: bool  # whether the request itself fails (507), or its job does


STEPS = {
    "the blob": Step("add", None, refused=True),
    "the upload's transaction": Step("add", "blob.renamed", refused=True),
    "the chunks": Step("replace", "job.embedded", refused=False),
    "a segment": Step("replace", "chunks.stored", refused=False),
    "the lexical index": Step("replace", "segment.written", refused=False),
    "a merge": Step("merge", "lexical.synced", refused=False),
    "the manifest": Step("merge", "merge.written", refused=False),
    "the pointer": Step("replace", "manifest.written", refused=False),
    "what makes it live": Step("replace", "index.synced", refused=False),
}


class Disk:
    """A real file system without room for another byte."""

    def __init__(self, folder: Path) -> None:
        self._filler = folder / "filler"

    def fill(self) -> None:
        with self._filler.open("ab", buffering=0) as file:
            for size in (1 << 20, _PIECE_BYTES, 1):
                try:
                    while file.write(bytes(size)) == size:
                        pass
                except OSError as error:
                    assert error.errno == errno.ENOSPC  # noqa: PT017 - one loop a size, each ended by a full disk

    def clear(self) -> None:
        self._filler.unlink()


class Limit:
    """No file of this process may grow: the kernel says EFBIG where a full disk says ENOSPC."""

    def __init__(self) -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        self._before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, self._before[1]))

    def clear(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, self._before)


class Clock:
    """Time that passes when it is told to: nobody waits for a retry."""

    def __init__(self) -> None:
        self.offset = 0.0

    def __call__(self) -> float:
        return time.time() + self.offset


def starve(data_dir: Path, step: str, room: Disk | Limit | None = None) -> None:
    """Let the room run out at that step, see what is said and what still answers, then give the room back."""
    chosen, room, clock = STEPS[step], room or Limit(), Clock()
    operation = OPERATIONS[chosen.operation]
    with Workbench(data_dir, clock=clock) as bench:
        names = _names(bench)
        if chosen.failpoint is None:
            room.fill()
        else:
            failpoints.arm(_once(chosen.failpoint, room.fill))
        refused = False
        try:
            operation.request(bench)
        except StorageFull:
            refused = True
        assert refused == chosen.refused, "a request that fails for want of room says so, and no other one"
        bench.work_once()
        with contextlib.suppress(StorageFull):
            bench.keep_house()
        _check_old_generation(bench, names)
        failpoints.arm(None)
        room.clear()
        clock.offset += 3600
        recover(bench)
        expected: dict[str, frozenset[str | None]] = dict(initial(names))
        if refused:
            check(bench, expected)
            operation.request(bench)
            recover(bench)
        expected[operation.name] = frozenset({operation.after})
        check(bench, expected)


def _names(bench: Workbench) -> list[str]:
    with bench.database.read() as connection:
        return [row[0] for row in connection.exec_driver_sql("SELECT external_id FROM documents")]


def _check_old_generation(bench: Workbench, names: list[str]) -> None:
    """What was ready before still answers, from the index and from the database."""
    unchanged: Expected = initial(names)
    assert bench.projection.index(bench.collection) is not None
    for name in unchanged:
        found = bench.search(f"house{name}x")
        assert [chunk.chunk.text for chunk in found if f"house{name}x" in chunk.chunk.text], f"{name} is not found"
        assert {chunk.version for chunk in found if f"house{name}x" in chunk.chunk.text} == {1}, "not the old version"


def _once(place: FailpointName, act: Callable[[], None]) -> failpoints.Action:
    remaining = [act]

    def fill(name: FailpointName) -> None:
        if name == place and remaining:
            remaining.pop()()

    return fill


def can_mount(folder: Path) -> bool:
    """Whether this user may mount a file system in a namespace of its own."""
    if shutil.which("unshare") is None:
        return False
    command = _mounting(folder, "true")
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def run_on_small_disk(folder: Path, template: Path, step: str, root: Path) -> subprocess.CompletedProcess[str]:
    """`starve` on a tmpfs, in a process of its own."""
    arguments = [sys.executable, "-m", "tests.faults.full_disk", str(folder), str(template), step]
    command = _mounting(folder, *arguments)
    variables = {**os.environ, "PYTHONPATH": str(root)}
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=root, env=variables, timeout=100)


def _mounting(folder: Path, *command: str) -> list[str]:
    script = f'mount -t tmpfs -o size={SIZE} footnote "$0" && exec "$@"'
    return ["unshare", "--map-root-user", "--mount", "sh", "-c", script, str(folder), *command]


if __name__ == "__main__":
    disk, template = Path(sys.argv[1]), Path(sys.argv[2])
    shutil.copytree(template, disk / "data")
    starve(disk / "data", sys.argv[3], Disk(disk))

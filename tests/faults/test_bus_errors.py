"""Mapped files lose their end while they are read: nobody dies of it, and what was read is thrown away."""

from __future__ import annotations

import os
import platform
import random
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from app.errors import IndexDamaged
from app.index.building import MergePolicy
from app.index.idset import IdSet
from app.index.local import LocalIndex
from app.index.protocol import Hit, IndexEntry
from app.index.snapshot import Snapshot
from tests.faults import forks
from tests.faults.operations import leave_merges_to_the_worker
from tests.faults.sizes import TRUNCATIONS
from tests.faults.workbench import Workbench

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() not in ("x86_64", "aarch64"), reason="elsewhere the process dies"
)

DIMENSION, PUBLISHED, QUERIES, THREADS = 64, 500, 6, 4
ROWS = 4 * PUBLISHED
ALL = IdSet([(1, 2 * ROWS)], everything=True)
LEXICAL = ("*.idx", "*.term", "*.fast", "*.fieldnorm")
KINDS = {"flat": ("*.faiss", "*.ids", *LEXICAL), "clustered": ("*.faiss", "*.ids", "*.vectors")}
Answers = list[list[Hit]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an index of each kind."""
    folder = tmp_path_factory.mktemp("made")
    for kind in KINDS:
        assert forks.run(make, folder / kind, kind == "clustered") == 0
    return folder


def make(folder: Path, is_clustered: bool) -> None:
    leave_merges_to_the_worker()
    index = LocalIndex(folder, DIMENSION)
    for number in range(4):
        index.publish(entries(number * PUBLISHED + 1, (number + 1) * PUBLISHED), [], number + 1)
    assert not is_clustered or index.merge(MergePolicy(clustered_from=1))


def entries(first: int, last: int) -> Iterator[IndexEntry]:
    for number in range(first, last + 1):
        vector = np.random.default_rng(number).standard_normal(DIMENSION)
        embedding = (vector / np.linalg.norm(vector)).astype(np.float16)
        yield IndexEntry(number, number, embedding, f"lantern river{number % 7} bridge{number % 50} number{number}")


def query(number: int) -> npt.NDArray[np.float32]:
    vector = np.random.default_rng(10_000_000 + number).standard_normal(DIMENSION)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def both_legs(snapshot: Snapshot, number: int) -> tuple[list[Hit], list[Hit]]:
    words = f"river{number} bridge{number} number{number * 100}"
    return snapshot.search_dense(query(number), 10, ALL), snapshot.search_lexical(words, 10, ALL)


def mapped(snapshot: Snapshot, pattern: str = "*") -> list[Path]:
    paths = (Path(path) for path, _ in snapshot._files)
    return [path for path in paths if path.match(pattern) and path.suffix != ".json" and path.stat().st_size]


@pytest.mark.parametrize(("kind", "pattern"), [(kind, pattern) for kind in KINDS for pattern in KINDS[kind]])
def test_what_was_read_in_place_of_a_file_is_no_answer(made: Path, tmp_path: Path, kind: str, pattern: str) -> None:
    """A search that meets pages without a file raises `IndexDamaged`, and so does every later one of that snapshot."""
    index = LocalIndex(shutil.copytree(made / kind, tmp_path / "index"), DIMENSION)
    snapshot = index.snapshot()
    for path in mapped(snapshot, pattern):
        os.truncate(path, 0)
    search = snapshot.search_lexical if pattern in LEXICAL else snapshot.search_dense
    for _ in range(2):
        with pytest.raises(IndexDamaged):
            search("river1 number100" if pattern in LEXICAL else query(1), 10, ALL)  # type: ignore[operator]
    index.rebuild(entries(1, ROWS), 5)
    before = LocalIndex(made / kind, DIMENSION).snapshot()
    assert [hit.id for hit in both_legs(index.snapshot(), 1)[1]] == [hit.id for hit in both_legs(before, 1)[1]]


def test_a_file_that_is_whole_again_is_mapped_again(tmp_path: Path) -> None:
    """A file truncated under a search and then put back in place, by a backup say, needs no rebuild to answer again."""
    with Workbench(tmp_path / "data") as bench:
        bench.upload("name", "\n\n".join(f"lantern number{number}" for number in range(300)))
        bench.work_once()
        index = bench.projection.index(bench.collection)
        assert index is not None
        snapshot = index.snapshot()
        before = snapshot.search_lexical("lantern", 5, ALL)
        generation = index.describe().generation
        for path in mapped(snapshot, "*.idx"):
            content = path.read_bytes()
            os.truncate(path, 0)
            with pytest.raises(IndexDamaged):
                snapshot.search_lexical("lantern", 5, ALL)
            path.write_bytes(content)
        with pytest.raises(IndexDamaged):
            index.snapshot()
        bench.projection.heal(bench.collection.id)
        assert index.snapshot().search_lexical("lantern", 5, ALL) == before
        assert index.describe().generation == generation


@pytest.mark.parametrize("pattern", ["*.faiss", "*.ids"])
def test_a_merge_gives_no_checksum_to_zeros(made: Path, tmp_path: Path, pattern: str) -> None:
    """A segment that is truncated while it is merged ends the merge: the next generation is never made of it."""
    index = LocalIndex(shutil.copytree(made / "flat", tmp_path / "index"), DIMENSION)
    files = mapped(index.snapshot(), pattern)

    def truncate() -> bool:
        for path in files:
            os.truncate(path, 0)
        return False

    generation = index.describe().generation
    with pytest.raises(IndexDamaged):
        index.merge(MergePolicy(clustered_from=1), truncate)
    assert index.describe().generation == generation


@pytest.mark.parametrize("pattern", ["*.ids", "*.idx", "*.term"])
def test_a_publish_gives_no_checksum_to_zeros(made: Path, tmp_path: Path, pattern: str) -> None:
    """A file of the generation before that is truncated while the next is written ends the publish."""
    index = LocalIndex(shutil.copytree(made / "flat", tmp_path / "index"), DIMENSION)
    files = mapped(index.snapshot(), pattern)

    def truncating() -> Iterator[IndexEntry]:
        for path in files:
            os.truncate(path, 0)
        yield from entries(ROWS + 1, ROWS + 9)

    with pytest.raises(IndexDamaged):
        index.publish(truncating(), [1, 2, 3], 5)
    assert index.checkpoint() == 4


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.timeout(120 + TRUNCATIONS)
def test_threads_search_while_files_are_truncated(made: Path, tmp_path: Path, kind: str) -> None:
    """Whenever whatever is truncated: the process lives, and searches find what they did or raise `IndexDamaged`."""
    seed = random.randrange(2**32)
    assert forks.run(truncate_under_searches, made / kind, tmp_path, seed, seconds=100 + TRUNCATIONS) == 0, seed


def truncate_under_searches(made: Path, folder: Path, seed: int) -> None:
    dice = random.Random(seed)
    before = LocalIndex(made, DIMENSION).snapshot()
    expected = [both_legs(before, number) for number in range(QUERIES)]
    for number in range(TRUNCATIONS):
        copy = shutil.copytree(made, folder / str(number))
        snapshot = LocalIndex(copy, DIMENSION).snapshot()
        searchers = [_Searcher(snapshot, expected) for _ in range(THREADS)]
        for searcher in searchers:
            searcher.start()
        searchers[0].has_answered.wait(dice.uniform(0, 0.05))
        path = dice.choice(mapped(snapshot))
        os.truncate(path, dice.choice([0, dice.randrange(path.stat().st_size)]))
        for searcher in searchers:
            searcher.join(0.2 / THREADS)  # or it never reads what is missing
            searcher.is_over.set()
        for searcher in searchers:
            searcher.join()
            assert searcher.problem is None, (path.name, searcher.problem)
        with pytest.raises(IndexDamaged):
            LocalIndex(copy, DIMENSION).snapshot()
        shutil.rmtree(copy)


class _Searcher(threading.Thread):
    """Searches until it meets damage."""

    def __init__(self, snapshot: Snapshot, expected: list[tuple[list[Hit], list[Hit]]]) -> None:
        super().__init__()
        self._snapshot = snapshot
        self._expected = expected
        self.is_over = threading.Event()
        self.has_answered = threading.Event()
        self.problem: object = None

    def run(self) -> None:
        try:
            while not self.is_over.is_set():
                for number in range(QUERIES):
                    found = both_legs(self._snapshot, number)
                    self._snapshot.confirm()  # the rest of a page is zeros without a signal
                    assert found == self._expected[number], number
                self.has_answered.set()
        except IndexDamaged:
            pass
        except BaseException as problem:
            self.problem = repr(problem)


READ_A_FILE_WITHOUT_END = """
import mmap, os, sys
from pathlib import Path
from app.index.bus_errors import survive

folder = Path(sys.argv[1]).resolve()
survive(folder / "index")
path = folder / "other"
path.write_bytes(bytes(8192))
with path.open("rb") as file:
    memory = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
os.truncate(path, 0)
memory[5000]
print("alive")
"""
SEND_THE_SIGNAL = """
import os, signal, sys
from pathlib import Path
from app.index.bus_errors import survive

survive(Path(sys.argv[1]).resolve())
os.kill(os.getpid(), signal.SIGBUS)
print("alive")
"""


@pytest.mark.parametrize("source", [READ_A_FILE_WITHOUT_END, SEND_THE_SIGNAL], ids=["another file", "sent by somebody"])
@pytest.mark.parametrize("tells", [False, True], ids=["quietly", "with a trace"])
def test_any_other_bus_error_still_kills(tmp_path: Path, source: str, tells: bool) -> None:
    """Only files of the index are survived; for all else it is as if there were no handler, faulthandler included."""
    options = ["-X", "faulthandler"] if tells else []
    ended = subprocess.run([sys.executable, *options, "-c", source, tmp_path], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (-signal.SIGBUS, "")
    assert ("Fatal Python error: Bus error" in ended.stderr) == tells

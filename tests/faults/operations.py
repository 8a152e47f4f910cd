"""What is done to a library while it is harmed, and what may come of it."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import app.index.building
from app import failpoints
from app.failpoints import FailpointName
from app.store.attachments import Chunking
from app.store.documents import list_documents
from tests.faults.oracle import Expected, name_of, text_of
from tests.faults.workbench import Workbench

_MOST_FOLLOWING = 40  # documents, until a merge is due


@dataclass(frozen=True, slots=True)
class Operation:
    """One request, and the work that follows from it."""

    request: Callable[[Workbench], object]
    name: str  # of the document that it is about
    after: str | None  # its content then
    in_background: bool = False  # whether merges are left to the worker
    model: str | None = None  # that the collection is given then
    files: tuple[int, int] = (0, 0)  # kept for themselves, before and after

    def work(self, bench: Workbench) -> None:
        """What follows from the request."""
        bench.work_once()
        if self.model is not None:
            bench.reindex(self.model)
        bench.keep_house()


OPERATIONS = {
    "add": Operation(lambda bench: bench.upload("new", text_of("new", 1)), "new", text_of("new", 1)),
    "replace": Operation(lambda bench: bench.upload("b", text_of("b", 2)), "b", text_of("b", 2)),
    "delete": Operation(lambda bench: bench.delete("b"), "b", None),
    # An addition, and another embedding model for all.
    "reindex": Operation(
        lambda bench: bench.upload("new", text_of("new", 1)), "new", text_of("new", 1), model="hashing-32"
    ),
    # The same as an addition, on an index whose next publish merges.
    "merge": Operation(lambda bench: bench.upload("new", text_of("new", 1)), "new", text_of("new", 1)),
    # And on one whose segments are the worker's to merge, into one that is searched by clusters.
    "merge by the worker": Operation(
        lambda bench: bench.upload("new", text_of("new", 1)), "new", text_of("new", 1), in_background=True
    ),
    "keep a file": Operation(lambda bench: bench.keep_file("f", text_of("f", 1)), "f", None, files=(0, 1)),
    "attach": Operation(lambda bench: bench.attach("f"), "f", text_of("f", 1), files=(1, 1)),
    # The document is made anew.
    "attach with other chunks": Operation(
        lambda bench: bench.attach("f", Chunking(32, 0)), "f", text_of("f", 1), files=(1, 1)
    ),
    "detach": Operation(lambda bench: bench.detach("f"), "f", None, files=(1, 1)),
    "delete a file": Operation(lambda bench: bench.delete_file("f"), "f", None, files=(1, 0)),
}


def prepare(folder: Path) -> None:
    """What the operations begin with: a library of two documents, and one that is about to merge."""
    with Workbench(folder / "add") as bench:
        for name in "ab":
            bench.upload(name, text_of(name, 1))
        bench.work_once()
        bench.keep_house()
    _checkpoint(folder / "add")
    for other in ("replace", "delete", "reindex", "keep a file", "attach"):
        shutil.copytree(folder / "add", folder / other)
    with Workbench(folder / "attach") as bench:
        bench.keep_file("f", text_of("f", 1))
    shutil.copytree(folder / "attach", folder / "detach")
    with Workbench(folder / "detach") as bench:
        bench.attach("f")
        bench.work_once()
        bench.keep_house()
    for other in ("attach with other chunks", "delete a file"):
        shutil.copytree(folder / "detach", folder / other)
    _prepare_merge(folder)
    leave_merges_to_the_worker()
    with Workbench(folder / "merge by the worker") as bench:
        for name in "abc":
            bench.upload(name, text_of(name, 1))
            bench.work_once()


def leave_merges_to_the_worker() -> None:
    """As if every segment were large. For this process alone."""
    setattr(app.index.building, "PUBLISH_ROWS", 0)  # noqa: B010 - for mypy the name is not the module's to give


def _prepare_merge(folder: Path) -> None:
    before, growing = folder / "merge", folder / "growing"
    shutil.copytree(folder / "add", growing)
    for number in range(_MOST_FOLLOWING):
        shutil.rmtree(before, ignore_errors=True)
        shutil.copytree(growing, before)
        counted: Counter[FailpointName] = Counter()
        failpoints.arm(lambda name, counted=counted: counted.update([name]))  # type: ignore[misc]
        with Workbench(growing) as bench:
            bench.upload(f"more{number}", text_of(f"more{number}", 1))
            bench.work_once()
            bench.keep_house()
        failpoints.arm(None)
        _checkpoint(growing)
        if counted["merge.written"]:
            shutil.rmtree(growing)
            return
    raise AssertionError("nothing is ever merged")


def _checkpoint(data_dir: Path) -> None:
    """The last connection that closes empties the log, so that the copy is one whole file."""
    assert not (data_dir / "footnote.db-wal").exists()


def perform(data_dir: Path, operation: str, acknowledged: Path, specification: str | None) -> None:
    """The operation, in a process that may die at the failpoint; the file appears when it was acknowledged."""
    with opened(data_dir, operation) as bench:
        if specification is not None:
            failpoints.arm(failpoints.signal_at(specification))
        OPERATIONS[operation].request(bench)
        acknowledged.touch()
        OPERATIONS[operation].work(bench)


def opened(data_dir: Path, operation: str) -> Workbench:
    """The library as the operation needs it."""
    if OPERATIONS[operation].in_background:
        leave_merges_to_the_worker()
        return Workbench(data_dir, clustered_from=1)
    return Workbench(data_dir)


def record(data_dir: Path, operation: str, reached: Path) -> None:
    """The operation, undisturbed; a line a failpoint that was reached."""
    descriptor = os.open(reached, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def write(name: FailpointName) -> None:
        os.write(descriptor, f"{name}\n".encode())

    with opened(data_dir, operation) as bench:
        failpoints.arm(write)
        OPERATIONS[operation].request(bench)
        OPERATIONS[operation].work(bench)


def initial(names: Sequence[str]) -> dict[str, frozenset[str | None]]:
    """What holds of the documents that no operation touches."""
    return {name: frozenset({text_of(name, 1)}) for name in names}


def outcomes(operation: str, names: Sequence[str], *, acknowledged: bool) -> Expected:
    """What the oracle may find: an operation that was not acknowledged may have happened or not."""
    chosen = OPERATIONS[operation]
    expected = initial(names)
    before = expected.get(chosen.name, frozenset({None}))
    expected[chosen.name] = frozenset({chosen.after}) if acknowledged else before | {chosen.after}
    return expected


def files_kept(operation: str, *, acknowledged: bool) -> frozenset[int]:
    """How many files of their own the oracle may find."""
    before, after = OPERATIONS[operation].files
    return frozenset({after}) if acknowledged else frozenset({before, after})


def names_in(data_dir: Path) -> list[str]:
    """The documents that a library holds."""
    with Workbench(data_dir) as bench, bench.database.read() as connection:
        found = list_documents(connection, collection_id=None, status=None, limit=100_000, after=None)
    return [name_of(document) for document in found]

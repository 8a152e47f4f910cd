"""A worker is stopped past its lease, the world goes on, and it wakes up: nothing that it does then has an effect."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from app import failpoints
from app.errors import LeaseLost
from tests.faults import forks
from tests.faults.conftest import Copy
from tests.faults.oracle import check, edition_of, recover, text_of
from tests.faults.sizes import FULL
from tests.faults.workbench import Workbench
from tests.waiting import wait_until
from tests.worker.processes import is_stopped

# Not inside a transaction or a publish: who is stopped there holds a lock, and all others wait.
PLACES = ("job.claimed", "job.parsed", "job.embedded", "chunks.stored", "index.synced")
MEANWHILE: dict[str, tuple[Callable[[Workbench], object], str | None]] = {
    "taken over": (lambda bench: None, text_of("b", 2)),
    "replaced": (lambda bench: bench.upload("b", text_of("b", 3)), text_of("b", 3)),
    "deleted": (lambda bench: bench.delete("b"), None),
}


CASES = [
    (place, meanwhile)
    for place in PLACES
    for meanwhile in MEANWHILE
    if FULL or place == "index.synced" or meanwhile == "taken over"
]


def work_and_lose(data_dir: Path, specification: str) -> None:
    """Take up a job, be stopped in the middle of it, and find out that it is somebody else's."""
    with Workbench(data_dir) as bench:
        failpoints.arm(failpoints.signal_at(specification))
        batch = bench.worker._claim()
        outcomes = bench.pipeline.run(batch, lambda: False)
        assert [type(outcome) for outcome in outcomes.values()] == [LeaseLost]


def wake(stopped: BaseProcess) -> None:
    os.kill(int(stopped.pid or 0), signal.SIGCONT)
    stopped.join(30)
    assert stopped.exitcode == 0


@pytest.mark.parametrize(("place", "meanwhile"), CASES)
def test_who_lost_the_lease_changes_nothing(place: str, meanwhile: str, copy_of: Copy) -> None:
    """Another worker has finished the job, or the document is another one by now: the first one's work is void."""
    data_dir = copy_of("replace")
    happens, after = MEANWHILE[meanwhile]
    expected = {"a": frozenset({text_of("a", 1)}), "b": frozenset({after})}
    with Workbench(data_dir) as bench:
        bench.upload("b", text_of("b", 2))
        stopped = forks.start(work_and_lose, data_dir, f"{place}=stop")
        try:
            wait_until(lambda: is_stopped(stopped.pid), 30, "the worker to stop")
            happens(bench)
            recover(bench)
            check(bench, expected)
            wake(stopped)
        finally:
            stopped.kill()
        bench.keep_house()
        check(bench, expected)


@pytest.mark.parametrize("place", PLACES)
def test_a_version_that_is_still_to_come_does_not_answer(place: str, copy_of: Copy) -> None:
    """Replaced while its worker was stopped, and nobody has done the new version yet: the old one goes on answering."""
    data_dir = copy_of("replace")
    with Workbench(data_dir) as bench:
        bench.upload("b", text_of("b", 2))
        stopped = forks.start(work_and_lose, data_dir, f"{place}=stop")
        try:
            wait_until(lambda: is_stopped(stopped.pid), 30, "the worker to stop")
            bench.upload("b", text_of("b", 3))
            wake(stopped)
        finally:
            stopped.kill()
        assert {edition_of(found.chunk.text) for found in bench.search("housebx")} == {"edition1q"}
        recover(bench)
        check(bench, {"a": frozenset({text_of("a", 1)}), "b": frozenset({text_of("b", 3)})})

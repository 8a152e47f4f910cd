"""The clock is set a day forward or back in the middle of things: nothing has an effect twice, nothing is stuck."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.errors import StorageFull
from app.store import jobs
from app.types import DocumentStatus
from ingest.sections import Parsed
from tests.faults.oracle import check, text_of
from tests.faults.workbench import DirectParsers, Workbench
from tests.waiting import wait_until

DAY_SECONDS = 86_400.0
LEASE_SECONDS = 0.6
EXPECTED = {"a": frozenset({text_of("a", 1)})}


class Clock:
    """The true time, and what somebody has set it off by."""

    def __init__(self) -> None:
        self.offset = 0.0

    def __call__(self) -> float:
        return time.time() + self.offset


class Gate(DirectParsers):
    """Parsers that begin, and then wait to be let through."""

    def __init__(self) -> None:
        self.begun = 0
        self.open = threading.Event()

    def parse(self, path: Path, media_type: str, filename: str, password: str | None = None) -> Parsed:
        self.begun += 1
        assert self.open.wait(30)
        return super().parse(path, media_type, filename, password)


@contextmanager
def at_work(bench: Workbench) -> Iterator[None]:
    thread = threading.Thread(target=bench.worker.run)
    thread.start()
    try:
        yield
    finally:
        bench.worker.stop()
        thread.join(30)


def is_ready(bench: Workbench) -> bool:
    found = bench.find("a")
    return found is not None and found.status is DocumentStatus.READY


@pytest.mark.parametrize("offset", [DAY_SECONDS, -DAY_SECONDS], ids=["forward", "back"])
def test_in_the_middle_of_a_job(offset: float, tmp_path: Path) -> None:
    """While two workers are there: the job may be begun twice, but it has its effect once."""
    clock, gate = Clock(), Gate()
    with (
        Workbench(tmp_path / "data", clock=clock, lease_seconds=LEASE_SECONDS, parsers=gate) as first,
        Workbench(tmp_path / "data", clock=clock, lease_seconds=LEASE_SECONDS, parsers=gate) as second,
    ):
        document = first.upload("a", text_of("a", 1))
        before = first.collection.sequence
        with at_work(first), at_work(second):
            wait_until(lambda: gate.begun, what="the job to begin")
            clock.offset = offset
            renewed = clock() + LEASE_SECONDS / 2
            wait_until(lambda: clock() > renewed)  # the leases have been renewed by the new clock, or taken over
            gate.open.set()
            wait_until(lambda: is_ready(first), what="the document")
        chunks = first.library.read(document.id).chunks
        assert first.collection.sequence == before + chunks + 1  # its chunks, once, and made live, once
        first.keep_house()
        check(first, EXPECTED)


@pytest.mark.parametrize("offset", [DAY_SECONDS, -DAY_SECONDS], ids=["forward", "back"])
def test_between_a_claim_and_a_death(offset: float, tmp_path: Path) -> None:
    """The lease of a worker that died before the clock was set keeps nobody waiting."""
    clock = Clock()
    with Workbench(tmp_path / "data", clock=clock) as bench:
        bench.upload("a", text_of("a", 1))
        assert bench.worker._claim()
        clock.offset = offset
        assert bench.work_once()
        check(bench, EXPECTED)


def test_back_in_the_pause_before_a_retry(tmp_path: Path) -> None:
    """A retry that was put off by some seconds does not wait for a day."""
    clock = Clock()
    with Workbench(tmp_path / "data", clock=clock) as bench:
        bench.upload("a", text_of("a", 1))
        (job,) = bench.worker._claim()
        with bench.database.write() as connection:
            jobs.retry_later(connection, job, StorageFull.code, "full", clock())
        assert not bench.work_once()  # it is not its turn
        clock.offset = -DAY_SECONDS
        assert bench.work_once()
        check(bench, EXPECTED)


def test_an_upload_of_tomorrow(tmp_path: Path) -> None:
    """What was uploaded while the clock was a day ahead is taken up at once."""
    clock = Clock()
    clock.offset = -DAY_SECONDS
    with Workbench(tmp_path / "data", clock=clock) as bench:
        bench.upload("a", text_of("a", 1))  # by the true time
        assert bench.work_once()
        check(bench, EXPECTED)


def test_a_lease_of_a_slightly_faster_clock_is_respected(tmp_path: Path) -> None:
    """Clocks of two machines that differ by seconds do not take jobs away from each other."""
    clock = Clock()
    with Workbench(tmp_path / "data", clock=clock) as bench:
        bench.upload("a", text_of("a", 1))
        assert bench.worker._claim()
        clock.offset = -20
        assert not bench.work_once()

"""Twenty readers ask without a pause while documents are replaced and deleted.

`FOOTNOTE_TEST_FAULT_READER_SECONDS=60` is the full size.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.faults import forks, traffic
from tests.faults.oracle import check, recover
from tests.faults.sizes import READER_SECONDS
from tests.faults.workbench import Workbench

READERS = 20


@pytest.mark.timeout(120 + READER_SECONDS)
def test_every_answer_is_wholly_one_version(tmp_path: Path) -> None:
    """No answer mixes two versions of a document, and none holds one that was deleted before the question."""
    seed = random.randrange(2**32)
    data_dir, log = tmp_path / "data", tmp_path / "log"
    with Workbench(data_dir):
        pass
    worker = forks.start(traffic.work, data_dir)
    plan = traffic.Plan(data_dir, log, 0, 1, uploaders=2, askers=READERS, seed=seed, seconds=READER_SECONDS)
    code = forks.run(traffic.use, plan, seconds=60 + READER_SECONDS)
    assert worker.exitcode is None, seed
    worker.kill()
    worker.join()
    found = traffic.read(log)
    assert (code, found.wrong) == (0, []), seed
    assert found.answers > READERS, seed
    with Workbench(data_dir) as bench:
        recover(bench)
        check(bench, found.expected)
    print(f"{found.answers} answers while {found.acknowledged} changes were made, seed {seed}")  # noqa: T201

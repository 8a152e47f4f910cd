"""Server and worker are killed at random moments, while clients upload, replace, delete and ask.

`FOOTNOTE_TEST_FAULT_KILLS=300` is the full size.
"""

from __future__ import annotations

import random
import threading
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from tests.faults import forks, traffic
from tests.faults.oracle import check, check_generation, recover
from tests.faults.sizes import KILLS
from tests.faults.workbench import Workbench

UPLOADERS = ASKERS = 4
KILLS_BETWEEN_CHECKS = 4
LONGEST_LIFE_SECONDS = 1.0


class Household:
    """A server's part and a worker; each comes back after it was killed."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.data_dir, self.log = folder / "data", folder / "log"
        self._seed = seed
        self._number = 0
        self._processes: dict[str, BaseProcess] = {}

    def start(self) -> None:
        """Whoever is not there."""
        if "worker" not in self._processes:
            self._processes["worker"] = forks.start(traffic.work, self.data_dir)
        if "server" not in self._processes:
            self._number += 1
            plan = traffic.Plan(self.data_dir, self.log, 0, self._number, UPLOADERS, ASKERS, self._seed)
            self._processes["server"] = forks.start(traffic.use, plan)

    def kill(self, who: str) -> None:
        process = self._processes.pop(who)
        assert process.exitcode is None, f"the {who} ended by itself with {process.exitcode}"
        process.kill()
        process.join()

    def kill_all(self) -> None:
        for who in list(self._processes):
            self.kill(who)


@pytest.mark.timeout(60 + 6 * KILLS)
def test_killed_at_random_moments(tmp_path: Path) -> None:
    """After every kill the oracle holds: what was promised is there, once, and nothing else is."""
    seed = random.randrange(2**32)
    dice = random.Random(seed)
    household = Household(tmp_path, seed)
    with Workbench(household.data_dir):
        pass  # the schema is there: the first to be killed has something to lose
    household.log.touch()
    try:
        for kill in range(1, KILLS + 1):
            household.start()
            threading.Event().wait(dice.uniform(0, LONGEST_LIFE_SECONDS))
            household.kill(dice.choice(["server", "worker"]))
            if kill % KILLS_BETWEEN_CHECKS == 0 or kill == KILLS:
                household.kill_all()
                examine(household)
    except BaseException as error:
        error.add_note(f"seed {seed}")
        raise
    finally:
        household.kill_all()
    found = traffic.read(household.log)
    assert found.acknowledged, f"nobody was ever served (seed {seed})"
    print(f"{KILLS} kills, {found.acknowledged} requests acknowledged, seed {seed}")  # noqa: T201


def examine(household: Household) -> None:
    found = traffic.read(household.log)
    assert not found.wrong
    with Workbench(household.data_dir) as bench:
        check_generation(bench)
        recover(bench)
        check(bench, found.expected)

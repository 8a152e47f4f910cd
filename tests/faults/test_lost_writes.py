"""The power goes after any fsync, and what was not synced is gone: the index is whole, and no original is missing.

The database is trusted to keep what it has committed (`synchronous=FULL`): its last commit is put back as it is.
"""

from __future__ import annotations

import sqlite3
import sys
from pathlib import Path

import pytest

from app.index.merging import PUBLISH_ROWS
from app.store.database import sqlite_module
from tests.faults.conftest import Copy
from tests.faults.operations import OPERATIONS, files_kept, names_in, opened, outcomes
from tests.faults.oracle import check, check_generation, recover
from tests.faults.power import Disk
from tests.faults.sizes import FULL
from tests.faults.workbench import Workbench

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks up what is synced in /proc")
OPERATIONS_CUT = tuple(OPERATIONS) if FULL else ("replace",)
EVERY = 1 if FULL else 3  # how many fsyncs lie between two cuts


def back_up(source: Path, target: Path) -> None:
    """The database as of its last commit, also in the middle of a transaction."""
    module = sqlite_module()
    with module.connect(source) as reader, module.connect(target) as copy:
        reader.backup(copy)
    reader.close()
    copy.close()


def is_committed(database: Path, operation: str) -> bool:
    """Whether the request's own transaction is among what the database has."""
    chosen = OPERATIONS[operation]
    query = (
        "SELECT documents.version FROM documents JOIN versions ON versions.document_id = documents.id "
        "AND versions.version = documents.version WHERE filename = ?"
    )
    connection = sqlite3.connect(database)
    found = connection.execute(query, (f"{chosen.name}.txt",)).fetchone()
    connection.close()
    return found is None if chosen.after is None else found is not None and found[0] > int(operation == "replace")


@pytest.mark.timeout(600)
@pytest.mark.parametrize("names_ahead", [False, True], ids=["nothing else written", "names written ahead"])
@pytest.mark.parametrize("operation", OPERATIONS_CUT)
def test_the_power_goes(
    operation: str, names_ahead: bool, copy_of: Copy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After any fsync: the index opens as the old generation or the new one, and the oracle holds."""
    data_dir = copy_of(operation)
    names = names_in(data_dir)
    left: list[tuple[str, Path]] = []
    monkeypatch.setattr("app.index.building.PUBLISH_ROWS", PUBLISH_ROWS)  # whatever the operation makes of it, put back
    disk, syncs = Disk(data_dir), 0

    def cut(synced: str) -> None:
        nonlocal syncs
        syncs += 1
        if syncs % EVERY:
            return
        target = tmp_path / f"cut-{len(left)}"
        disk.draw(target, names_ahead=names_ahead)
        for database in target.glob("footnote.db*"):
            database.unlink()
        back_up(data_dir / "footnote.db", target / "footnote.db")
        left.append((synced, target))

    with opened(data_dir, operation) as bench, disk.watched(monkeypatch, cut):
        OPERATIONS[operation].request(bench)
        bench.work_once()
        bench.keep_house()
    disk.close()
    assert len(left) > 1
    for synced, target in left:
        try:
            _examine(target, operation, names)
        except AssertionError as error:
            raise AssertionError(f"{operation}, the power cut after {synced} was synced: {error}") from error


def _examine(data_dir: Path, operation: str, names: list[str]) -> None:
    committed = is_committed(data_dir / "footnote.db", operation)
    with Workbench(data_dir) as bench:
        check_generation(bench)
        recover(bench)
        # Which of a request's transactions was committed tells of a file's document alone.
        check(bench, outcomes(operation, names, acknowledged=committed), files_kept(operation, acknowledged=False))

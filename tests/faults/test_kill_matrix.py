"""A process is killed at every failpoint of every operation, and nothing is lost, doubled or left behind."""

from __future__ import annotations

import ast
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from app.failpoints import FAILPOINTS, signal_at
from tests.faults import forks
from tests.faults.conftest import Copy
from tests.faults.operations import OPERATIONS, files_kept, names_in, outcomes, perform, record
from tests.faults.oracle import check, check_generation, recover
from tests.faults.sizes import FULL
from tests.faults.workbench import Workbench

ROOT = Path(__file__).resolve().parents[2]

# In `make test` a replacement is killed everywhere, and the others where they differ from it.
FEW = {
    "add": {"upload.committed", "chunks.stored", "live.before_commit"},
    "reindex": {"reindex.begun", "reindex.stored", "reindex.indexed", "reindex.before_commit", "reindex.switched"},
    "merge": {"segment.written", "lexical.synced", "merge.written", "manifest.written", "current.replaced"},
    "merge by the worker": {"file.written", "merge.built", "merge.moved", "manifest.written", "current.replaced"},
    "keep a file": {"blob.written", "blob.renamed", "kept_file.before_commit", "kept_file.committed"},
    "attach": {"attachment.document_made", "attachment.made", "job.claimed", "live.before_commit"},
    "attach with other chunks": {"attachment.removed", "attachment.document_made", "attachment.made", "live.committed"},
    "detach": {"delete.before_commit", "attachment.removed"},
    "delete a file": {"delete.before_commit", "kept_file.deleted", "blob.unused", "blob.removed"},
}


def count(copy_of: Copy, tmp_path: Path, operation: str) -> Counter[str]:
    log = tmp_path / f"{operation}.log"
    assert forks.run(record, copy_of(operation), operation, log) == 0
    return Counter(log.read_text().split())


def test_every_failpoint_is_reached(copy_of: Copy, tmp_path: Path) -> None:
    """No name is only a name: each is come to by one of the operations, or the matrix would prove nothing."""
    reached = set().union(*(count(copy_of, tmp_path, operation) for operation in OPERATIONS))
    assert reached == FAILPOINTS


def test_every_failpoint_has_its_place() -> None:
    """Every name is in the source, once, as a literal."""
    places = Counter(
        node.args[0].value
        for package in ("app", "ingest")
        for path in (ROOT / package).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and getattr(node.func, "id", None) == "failpoint"
        if isinstance(node.args[0], ast.Constant)
    )
    assert places == Counter(dict.fromkeys(FAILPOINTS, 1))


@pytest.mark.parametrize("wrong", ["nowhere", "blob.written:0", "blob.written=kill", ""])
def test_a_wrong_name_is_an_error(wrong: str) -> None:
    """A test that arms a failpoint which does not exist fails, instead of proving nothing."""
    with pytest.raises(ValueError, match="no failpoint"):
        signal_at(wrong)


def test_the_variable_kills() -> None:
    """`FOOTNOTE_FAILPOINT` ends a process that comes to the place as often as it says, and no other one."""
    program = "from app.failpoints import failpoint; failpoint('job.parsed'); print('on'); failpoint('job.parsed')"
    cases = {"job.parsed": (-signal.SIGKILL, ""), "job.parsed:2": (-signal.SIGKILL, "on\n"), "job.claimed": (0, "on\n")}
    for specification, (code, printed) in cases.items():
        variables = {**os.environ, "PYTHONPATH": str(ROOT), "FOOTNOTE_FAILPOINT": specification}
        command = [sys.executable, "-u", "-c", program]
        finished = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
        assert (finished.returncode, finished.stdout) == (code, printed)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_killed_at_every_failpoint(operation: str, copy_of: Copy, tmp_path: Path) -> None:
    """Whatever was acknowledged has happened after the restart, and what was not has happened wholly or not at all."""
    hits = count(copy_of, tmp_path, operation)
    names = names_in(copy_of(operation))
    chosen = hits if FULL else {name: 1 for name in FEW.get(operation, hits) if hits[name]}
    for name, times in sorted(chosen.items()):
        for hit in range(1, times + 1):
            specification = f"{name}:{hit}"
            data_dir, acknowledged = copy_of(operation), tmp_path / f"{operation}-{specification}"
            code = forks.run(perform, data_dir, operation, acknowledged, specification)
            assert code == -signal.SIGKILL, f"{operation} was not killed at {specification}"
            expected = outcomes(operation, names, acknowledged=acknowledged.exists())
            with Workbench(data_dir) as bench:
                try:
                    check_generation(bench)
                    recover(bench)
                    check(bench, expected, files_kept(operation, acknowledged=acknowledged.exists()))
                except AssertionError as error:
                    raise AssertionError(f"{operation} killed at {specification}: {error}") from error

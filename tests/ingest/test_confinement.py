"""What a parser process can no longer do, whatever code comes to run in it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import json, os, resource, socket, sys, threading
from ingest.confinement import confine
victim = sys.argv[2]
holds = confine(1 << 30, 32)
def outcome():
    try:
        exec(sys.argv[1])
    except OSError as error:
        return type(error).__name__
    return "done"
results = [outcome()]
thread = threading.Thread(target=lambda: results.append(outcome()))
thread.start()
thread.join()
print(json.dumps([holds, *results]))
"""


def attempt(what: str, victim: Path) -> tuple[list[str], set[str]]:
    """What holds, and what became of the attempt in the main thread and in a new one."""
    finished = subprocess.run(
        [sys.executable, "-c", PROGRAM, what, str(victim)], capture_output=True, text=True, check=True
    )
    holds, *outcomes = json.loads(finished.stdout)
    return holds, set(outcomes)


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    path = tmp_path / "victim.txt"
    path.write_text("Mine.")
    return path


@pytest.mark.parametrize(
    "what",
    [
        "socket.socket()",
        "socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)",
        "socket.socket(socket.AF_UNIX)",
        "socket.create_connection(('127.0.0.1', 9))",
    ],
)
def test_no_network(victim: Path, what: str) -> None:
    """No socket of any kind, in any thread: by the kernel where it can, else by the interpreter."""
    _, outcomes = attempt(what, victim)
    assert outcomes == {"PermissionError"}


@pytest.mark.parametrize(
    "what",
    [
        "open(victim, 'w')",
        "os.truncate(victim, 0)",
        "os.unlink(victim)",
        "os.rename(victim, victim + '2')",
        "os.mkdir(victim + '2')",
        "os.execv('/bin/true', ['true'])",
        "os.kill(os.getppid(), 0)",
    ],
)
def test_no_harm_to_files_and_processes(victim: Path, what: str) -> None:
    """It changes no file, starts no program and signals nobody: where the kernel has Landlock."""
    holds, outcomes = attempt(what, victim)
    if "files" not in holds:
        pytest.skip("this kernel has no Landlock, or a container forbids it")
    if "kill" in what and outcomes == {"done"}:
        pytest.skip("this kernel's Landlock knows no signals")
    assert outcomes == {"PermissionError"}
    assert victim.read_text() == "Mine."


def test_no_written_files(victim: Path) -> None:
    """Not one byte is written to a file, with or without the kernel's filters."""
    _, outcomes = attempt("f = open(victim, 'ab', 0); f.write(b'x')", victim)
    assert "done" not in outcomes
    assert victim.read_text() == "Mine."


def test_few_open_files(victim: Path) -> None:
    """No more files at once than it was given, and the limit cannot be raised."""
    _, outcomes = attempt("x = [open(victim) for _ in range(40)]", victim)
    assert outcomes == {"OSError"}


@pytest.mark.parametrize(
    "what", ["open(victim).read()", "open(os.devnull, 'w').write('x')", "import sqlite3, zipfile, xml.dom.minidom"]
)
def test_reading_goes_on(victim: Path, what: str) -> None:
    """What a parser needs is still there: to read, to import, to throw output away."""
    assert attempt(what, victim)[1] == {"done"}


def test_the_group_cannot_be_left(victim: Path) -> None:
    """A process that it starts stays in the session that is killed as a whole."""
    holds, outcomes = attempt("os.fork() or os._exit(0); os.setsid()", victim)
    if "network" not in holds:
        pytest.skip("without the system call filter it can")
    assert outcomes == {"PermissionError"}

"""Starting a trial's process, and what became of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parent.parent
_TIMEOUT_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """The report of a task, or why there is none."""

    report: dict[str, Any] | None
    error: str = ""
    crashed: bool = False  # by a signal, without a word


def start_trial(python: str, engine: str, task: str, rows: Path, folder: Path, *extra: str) -> subprocess.Popen[str]:
    """The process; its output has a JSON line a report."""
    command = [
        python,
        "-m",
        "benchmarks.peer_trial",
        engine,
        task,
        "--rows",
        str(rows),
        "--folder",
        str(folder),
        *extra,
    ]
    # FAISS's threads spin while they wait, which costs more than it brings on few cores; Footnote searches with one.
    threads = {"OMP_WAIT_POLICY": "PASSIVE"} | ({} if task == "build" else {"OMP_NUM_THREADS": "1"})
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FOOTNOTE_")}
    return subprocess.Popen(
        command,
        cwd=_ROOT,
        env=environment | threads | {"HF_HUB_OFFLINE": "1", "PYTHONWARNINGS": "ignore"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # what it starts can be killed with it
    )


def kill_trial(process: subprocess.Popen[str]) -> None:
    """`kill -9`, its children included."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def run_trial(
    python: str, engine: str, task: str, rows: Path, folder: Path, *extra: str, seconds: float = _TIMEOUT_SECONDS
) -> Outcome:
    """Run a task to its end."""
    process = start_trial(python, engine, task, rows, folder, *extra)
    try:
        output, errors = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        kill_trial(process)
        return Outcome(None, f"no answer within {seconds:.0f} s")
    if process.returncode < 0:
        return Outcome(None, f"the process died of {signal.Signals(-process.returncode).name}", crashed=True)
    if process.returncode:
        return Outcome(None, _last_line(errors.replace(str(folder), "its folder")))
    report: dict[str, Any] = json.loads(output.splitlines()[-1])
    return Outcome(report)


def _last_line(errors: str) -> str:
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    return lines[-1][:200] if lines else "it failed without a word"

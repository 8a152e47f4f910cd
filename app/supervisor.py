"""The worker as the server's child process: restarted when it dies, stopped with the server."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable

from app.telemetry import MULTIPROCESS_VARIABLE

logger = logging.getLogger(__name__)

_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 30.0
# A worker that ran this long was well: the next pause is short again.
_WELL_AFTER_SECONDS = 30.0
_KILL_AFTER_SECONDS = 15.0


class WorkerSupervisor:
    """Keeps `python -m ingest worker` running in a process of its own."""

    def __init__(self, on_problem: Callable[[str | None], None] = lambda problem: None) -> None:
        """`on_problem` is told whenever `problem` changes."""
        self._on_problem = on_problem
        self._stop = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._problem: str | None = None
        self._thread = threading.Thread(target=self._run, name="worker-supervisor", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Let the worker finish or hand back its jobs, then end it."""
        self._stop.set()
        process = self._process
        if process is not None:
            process.terminate()
        self._thread.join()

    @property
    def problem(self) -> str | None:
        """Why there is no worker right now."""
        return self._problem if self._thread.is_alive() else "the worker's supervisor has died"

    def _run(self) -> None:
        pause = _FIRST_PAUSE_SECONDS
        while not self._stop.is_set():
            started = time.monotonic()
            # The pipe is never written to: it closes when this process is gone, however it went, and the worker stops.
            # Its stages are not the server's: it keeps out of the metrics that several server processes share.
            environment = {name: value for name, value in os.environ.items() if name != MULTIPROCESS_VARIABLE}
            self._process = subprocess.Popen(
                [sys.executable, "-m", "ingest", "worker", "--supervised"], stdin=subprocess.PIPE, env=environment
            )
            if self._stop.is_set():  # between the two lines above
                self._process.terminate()
            code = self._wait()
            if self._stop.is_set():
                return
            if time.monotonic() - started > _WELL_AFTER_SECONDS:
                pause = _FIRST_PAUSE_SECONDS
            problem = f"the worker ended with exit code {code}; it is started again in {pause:.0f} s"
            logger.error("%s", problem)
            self._set_problem(problem)
            self._stop.wait(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    def _wait(self) -> int:
        process = self._process
        assert process is not None  # noqa: S101 - just started
        started = time.monotonic()
        while True:
            try:
                return process.wait(timeout=1.0)
            except subprocess.TimeoutExpired:
                pass
            if time.monotonic() - started > _WELL_AFTER_SECONDS:
                self._set_problem(None)
            if self._stop.is_set():
                return self._end(process)

    def _set_problem(self, problem: str | None) -> None:
        if problem != self._problem:
            self._problem = problem
            self._on_problem(problem)

    def _end(self, process: subprocess.Popen[bytes]) -> int:
        try:
            return process.wait(timeout=_KILL_AFTER_SECONDS)
        except subprocess.TimeoutExpired:
            logger.warning("the worker did not stop in %.0f s and is killed", _KILL_AFTER_SECONDS)
            process.kill()
            return process.wait()

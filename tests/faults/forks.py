"""Helper processes that come out of a warm server in milliseconds, and may be killed."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from typing import Any

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.faults.workbench", "app.bootstrap"])


def start(target: Callable[..., Any], *arguments: Any) -> BaseProcess:
    """Run a function of a module in a process of its own."""
    process: BaseProcess = _CONTEXT.Process(target=target, args=arguments, daemon=True)
    process.start()
    return process


def run(target: Callable[..., Any], *arguments: Any, seconds: float = 60) -> int:
    """The same, to its end; returns its exit code: minus the signal's number where it was killed."""
    process = start(target, *arguments)
    process.join(seconds)
    if process.exitcode is None:
        process.kill()
        raise AssertionError(f"{target.__name__} does not end")
    return int(process.exitcode)

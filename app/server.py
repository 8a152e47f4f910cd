"""Serve: uvicorn in one process or several, with the worker as a supervised child."""

from __future__ import annotations

import gc
import ipaddress
import multiprocessing
import os
import signal
import socket
import sys
import tempfile
import threading
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import uvicorn
from uvicorn.supervisors import Multiprocess

from app.config import Settings
from app.errors import ConfigurationError
from app.main import create_app
from app.store.database import open_database
from app.store.keys import active_digests
from app.supervisor import WorkerSupervisor
from app.telemetry import MULTIPROCESS_VARIABLE, configure_logging

_MOST_PROBLEM_BYTES = 500
_LAST_WORDS_SECONDS = 2


def serve(settings: Settings, *, worker: bool = True, processes: int = 1) -> None:
    """Blocks until SIGTERM or Ctrl-C; streams get the grace period to finish. Raises `ConfigurationError`.

    Several processes answer on one port, each with the model in memory; the index's pages they share.
    """
    configure_logging(settings.log_level)
    _require_key_beyond_loopback(settings)
    # First of all: a port that is taken ends it here, before a model is loaded or a worker started.
    listener = _config(settings, None).bind_socket()
    # uvicorn sets this for sockets of its own only; without it, a response in two writes waits 40 ms for an ACK.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if processes == 1:
        _serve_alone(settings, listener, worker)
    else:
        _serve_together(settings, listener, worker, processes)


def _serve_alone(settings: Settings, listener: socket.socket, worker: bool) -> None:
    supervisor = WorkerSupervisor() if worker else None
    app = create_app(
        settings, worker_problem=lambda: supervisor.problem if supervisor else None, on_loaded=_keep_what_is_there
    )
    # uvicorn raises the signal again after its shutdown; by default that would end us before the worker is told.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    if supervisor is not None:
        supervisor.start()
    try:
        uvicorn.Server(_config(settings, app)).run([listener])
    except KeyboardInterrupt:
        pass  # likewise raised again, when everything has been shut down
    finally:
        if supervisor is not None:
            supervisor.stop()


def _serve_together(settings: Settings, listener: socket.socket, worker: bool, processes: int) -> None:
    with open_database(settings):
        pass  # what is wrong with it is said once, and here
    problem = _SharedText()
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="footnote-metrics-"))
        os.environ[MULTIPROCESS_VARIABLE] = folder
        config = _config(settings, _Child(settings, problem), factory=True, workers=processes)
        together = Multiprocess(config, [listener])
        if worker:
            supervisor = WorkerSupervisor(on_problem=problem.set)
            supervisor.start()
            stack.callback(supervisor.stop)
        together.run()


def _config(settings: Settings, app: Any, *, factory: bool = False, workers: int = 1) -> uvicorn.Config:
    """`app` is an application, or with `factory` what makes one."""
    return uvicorn.Config(
        app,
        factory=factory,
        workers=workers,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=settings.log_level == "debug",
        # By then the grace period is over (see `app.api.draining`) and streams are told so; what is cut after this is
        # none of ours. Without it, uvicorn waits without bound.
        timeout_graceful_shutdown=_LAST_WORDS_SECONDS,
        # Of a child under supervision; it answers from a thread of its own, also while a model is loaded.
        timeout_worker_healthcheck=15,
    )


class _SharedText:
    """A line that the processes share; it travels along when one is spawned."""

    def __init__(self) -> None:
        self._bytes: Any = multiprocessing.get_context("spawn").Array("c", _MOST_PROBLEM_BYTES + 1, lock=False)

    def get(self) -> str | None:
        return self._bytes.value.decode(errors="ignore") or None

    def set(self, text: str | None) -> None:
        self._bytes.value = (text or "").encode()[:_MOST_PROBLEM_BYTES]


@dataclass(frozen=True, slots=True)
class _Child:
    """Makes the application of one of several processes."""

    settings: Settings
    problem: _SharedText

    def __call__(self) -> Any:
        configure_logging(self.settings.log_level)
        threading.Thread(target=_end_with_parent, name="parent-watch", daemon=True).start()
        return create_app(self.settings, worker_problem=self.problem.get, on_loaded=_keep_what_is_there)


def _keep_what_is_there() -> None:
    """Models and their libraries stay to the end. To look through them for garbage, again and again, would hold up
    every stream for some tenths of a second."""
    gc.collect()
    gc.freeze()


def _end_with_parent() -> None:
    """A parent that was killed leaves nobody who would stop us, and us holding its port."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)


def _require_key_beyond_loopback(settings: Settings) -> None:
    if _is_loopback(settings.host) or settings.api_keys:
        return
    with open_database(settings) as database, database.read() as connection:
        if active_digests(connection):
            return
    raise ConfigurationError(
        f"Without an API key only this machine may connect. Set FOOTNOTE_API_KEYS (or run `footnote key create`) "
        f"to serve on {settings.host}, or use FOOTNOTE_HOST=127.0.0.1."
    )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

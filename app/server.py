"""Serve: uvicorn, with the worker as a supervised child."""

from __future__ import annotations

import ipaddress
import signal
import socket
import sys

import uvicorn

from app.config import Settings
from app.errors import ConfigurationError
from app.main import create_app
from app.store.database import open_database
from app.store.keys import active_digests
from app.supervisor import WorkerSupervisor
from app.telemetry import configure_logging


def serve(settings: Settings, *, worker: bool = True) -> None:
    """Blocks until SIGTERM or Ctrl-C; streams get the grace period to finish. Raises `ConfigurationError`."""
    configure_logging(settings.log_level)
    _require_key_beyond_loopback(settings)
    supervisor = WorkerSupervisor() if worker else None
    config = uvicorn.Config(
        create_app(settings, worker_problem=lambda: supervisor.problem if supervisor else None),
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=settings.log_level == "debug",
        # Without it, uvicorn waits for streams without bound.
        timeout_graceful_shutdown=round(settings.shutdown_grace_seconds),
    )
    # First of all: a port that is taken ends it here, before a model is loaded or a worker started.
    listener = config.bind_socket()
    # uvicorn sets this for sockets of its own only; without it, a response in two writes waits 40 ms for an ACK.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # uvicorn raises the signal again after its shutdown; by default that would end us before the worker is told.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    if supervisor is not None:
        supervisor.start()
    try:
        uvicorn.Server(config).run([listener])
    except KeyboardInterrupt:
        pass  # likewise raised again, when everything has been shut down
    finally:
        if supervisor is not None:
            supervisor.stop()


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

"""A Footnote server of the demo's own: the embedded default, whatever this shell's environment says."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.client import Client

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / ".demo"
LOG = DATA / "server.log"
HOST = "127.0.0.1"
_READY_SECONDS = 120
_STOP_SECONDS = 20


class DemoError(Exception):
    """The demo cannot go on; the message says why."""


def is_free(port: int) -> bool:
    """Whether a server can listen on this port of the loopback address."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


@contextmanager
def running_server(port: int) -> Iterator[subprocess.Popen[bytes]]:
    """The server with its worker as a child process, stopped at the end."""
    DATA.mkdir(exist_ok=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FOOTNOTE_")}
    environment |= {"FOOTNOTE_DATA_DIR": str(DATA), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "app", "serve", "--host", HOST, "--port", str(port)]
    with LOG.open("wb") as log:
        server = subprocess.Popen(  # noqa: S603 - a fixed command
            command,
            cwd=DATA,  # a `.env` of the project is not the demo's
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            process_group=0,  # Ctrl-C is for the demo, which then stops the server in order
        )
    try:
        yield server
    finally:
        server.terminate()
        try:
            server.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def wait_until_ready(client: Client, server: subprocess.Popen[bytes]) -> None:
    """Return when questions can be asked. Raises `DemoError` with the end of the log if the server ends first."""
    deadline = time.monotonic() + _READY_SECONDS
    while not client.is_ready():
        if server.poll() is not None:
            raise DemoError(f"The server ended while it started:\n{_end_of_log()}")
        if time.monotonic() > deadline:
            raise DemoError(f"The server was not ready after {_READY_SECONDS} s:\n{_end_of_log()}")
        time.sleep(0.1)


def _end_of_log() -> str:
    return "\n".join(LOG.read_text(encoding="utf-8", errors="replace").splitlines()[-15:])

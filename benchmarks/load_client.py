"""A closed loop of clients, in a process of its own: each sends its next search when the last one was answered.

The child, `python -m benchmarks.load_client`, reads one JSON line (port, path, bodies, clients) and answers with the
seconds of each request and the bodies of the answers. It writes to its sockets itself, which costs the least time of
the machine that it shares with the server.
"""

from __future__ import annotations

import json
import re
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parent.parent
_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")


@dataclass(frozen=True, slots=True)
class Load:
    """What the clients saw."""

    starts: Sequence[float]  # of each request, by `time.monotonic`, which processes share
    seconds: Sequence[float]  # from the first byte sent to the last received
    answers: Sequence[Any]  # decoded
    elapsed_seconds: float  # of all of them


def send_load(port: int, path: str, bodies: Sequence[Any], clients: int) -> Load:
    """Send every body once, `clients` at a time. Raises `CalledProcessError` where one is refused."""
    order = json.dumps({"port": port, "path": path, "bodies": list(bodies), "clients": clients})
    command = [sys.executable, "-m", "benchmarks.load_client"]
    done = subprocess.run(command, cwd=_ROOT, input=order, stdout=subprocess.PIPE, text=True, check=True)
    report = json.loads(done.stdout)
    answers = [json.loads(answer) for answer in report["answers"]]
    return Load(report["starts"], report["seconds"], answers, report["elapsed_seconds"])


class _Client:
    """One connection: the request that is under way, and what has come back of its answer."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.at = -1
        self.started = 0.0
        self.received = b""

    def send(self, at: int, request: bytes) -> None:
        self.at, self.received = at, b""
        self.started = time.monotonic()
        self.socket.sendall(request)

    def take(self) -> bytes | None:
        """Read what is there; the body once all of it has come."""
        part = self.socket.recv(1 << 18)
        if not part:
            sys.exit("the server closed a connection")
        self.received += part
        head, found, body = self.received.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if not found or length is None or len(body) < int(length[1]):
            return None
        if not head.startswith(b"HTTP/1.1 200"):
            sys.exit(f"not every request was answered: {self.received!r}")
        return body


def main() -> None:
    """The child. One thread and no library in between: the clients must not take the server's time."""
    order = json.load(sys.stdin)
    requests = [_request(order["path"], json.dumps(body).encode()) for body in order["bodies"]]
    waiting = iter(enumerate(requests))
    starts, seconds = [0.0] * len(requests), [0.0] * len(requests)
    answers = [b""] * len(requests)
    clients = [_Client(order["port"]) for _ in range(order["clients"])]
    started = time.monotonic()
    with selectors.DefaultSelector() as selector:
        for client, (at, request) in zip(clients, waiting, strict=False):
            selector.register(client.socket, selectors.EVENT_READ, client)
            client.send(at, request)
        while selector.get_map():
            for key, _ in selector.select():
                client = key.data
                body = client.take()
                if body is None:
                    continue
                starts[client.at], seconds[client.at] = client.started, time.monotonic() - client.started
                answers[client.at] = body
                following = next(waiting, None)
                if following is None:
                    selector.unregister(client.socket)
                else:
                    client.send(*following)
    elapsed = time.monotonic() - started
    report = {"starts": starts, "seconds": seconds, "answers": [answer.decode() for answer in answers]}
    json.dump(report | {"elapsed_seconds": elapsed}, sys.stdout)


def _request(path: str, body: bytes) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    return head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body


if __name__ == "__main__":
    main()

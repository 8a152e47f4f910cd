"""Clients that read streams, in a process of their own, and note when each piece of text came.

The child, `python -m benchmarks.stream_client`, reads one JSON line (port, path, the bodies that each client sends one
after the other, seconds between two clients' beginnings, seconds until all is cut) and answers with the streams. What
comes is only noted while it comes, and read when everything is over.
"""

from __future__ import annotations

import json
import selectors
import socket
import subprocess
import sys
import time
from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parent.parent
_HOST = "127.0.0.1"
_END = b"\r\n0\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Stream:
    """What came of one request."""

    seed: int
    started: float  # by `time.monotonic`, which processes share
    times: Sequence[float]  # of the pieces of text
    pieces: Sequence[str]


@dataclass(frozen=True, slots=True)
class Streams:
    """What came of all requests."""

    streams: Sequence[Stream]
    begun: float  # by the same clock
    ended: float
    share: float  # of a core, that the clients took


class _Received:
    """What has come back of one request, with the time of each part."""

    def __init__(self, body: dict[str, Any]) -> None:
        self._seed: int = body.get("seed") or body.get("extra", {}).get("seed", -1)
        self._parts: list[bytes] = []
        self._times: list[float] = []
        self._started = time.monotonic()

    def add(self, part: bytes) -> bool:
        """Whether it was the last."""
        self._times.append(time.monotonic())
        self._parts.append(part)
        if not part:
            sys.exit(f"the server closed a connection: {b''.join(self._parts)[-2000:]!r}")
        tail = part if len(part) >= len(_END) else b"".join(self._parts[-len(_END) :])
        return tail.endswith(_END)

    def stream(self) -> Stream:
        received = b"".join(self._parts)
        head, _, _ = received.partition(b"\r\n\r\n")
        if received and not head.startswith(b"HTTP/1.1 200"):
            sys.exit(f"not every request was answered: {received[:2000]!r}")
        ends = list(accumulate(map(len, self._parts)))
        pieces = [(self._times[bisect_left(ends, end)], text) for end, text in _pieces(received, len(head) + 4)]
        return Stream(self._seed, self._started, [at for at, _ in pieces], [text for _, text in pieces])


class Connection:
    """One client, and the request that is under way."""

    def __init__(self, port: int, path: str) -> None:
        self.socket = socket.create_connection((_HOST, port), timeout=60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._head = f"POST {path} HTTP/1.1\r\nHost: {_HOST}\r\nContent-Type: application/json\r\n".encode()

    def ask(self, body: dict[str, Any]) -> Stream:
        """Send one request, read its stream to the end, and close the connection."""
        with self.socket:
            received = self.send(body)
            while not self.take():
                pass
        return received.stream()

    def send(self, body: dict[str, Any]) -> _Received:
        """Where what comes will be found."""
        content = json.dumps(body).encode()
        request = self._head + b"Content-Length: %d\r\n\r\n" % len(content) + content
        self._received = _Received(body)
        self.socket.sendall(request)
        return self._received

    def take(self) -> bool:
        """Read what is there; whether the stream is at its end."""
        return self._received.add(self.socket.recv(1 << 18))


def read_streams(
    port: int, path: str, bodies: Sequence[Sequence[dict[str, Any]]], *, apart_seconds: float, seconds: float
) -> Streams:
    """The streams of as many clients as there are lists of bodies.

    What is not over after so many seconds is cut. Raises `CalledProcessError` where a request is refused.
    """
    order = {"port": port, "path": path, "bodies": bodies, "apart_seconds": apart_seconds, "seconds": seconds}
    command = [sys.executable, "-m", "benchmarks.stream_client"]
    done = subprocess.run(command, cwd=_ROOT, input=json.dumps(order), stdout=subprocess.PIPE, text=True, check=True)
    report = json.loads(done.stdout)
    return Streams(**{**report, "streams": [Stream(**each) for each in report["streams"]]})


def _pieces(received: bytes, at: int) -> list[tuple[int, str]]:
    """The pieces of text of a chunked body of server-sent events, each with where in `received` it was complete."""
    pieces, line, name = [], b"", b""
    while (size_end := received.find(b"\r\n", at)) > 0:
        size = int(received[at:size_end], 16)
        start, at = size_end + 2, size_end + 2 + size + 2
        if at > len(received):
            break
        *lines, line = (line + received[start : start + size]).split(b"\n")
        for complete in lines:
            if complete.startswith(b"event:"):
                name = complete[6:].strip()
            elif complete.startswith(b"data:") and (text := _text(name, complete[5:].strip())):
                pieces.append((at, text))
    return pieces


def _text(name: bytes, data: bytes) -> str:
    """Of an event of `/ask` or of a chat completion."""
    if data == b"[DONE]" or name not in (b"", b"delta"):
        return ""
    event = json.loads(data)
    if name == b"delta":
        return str(event["text"])
    if "error" in event:
        sys.exit(f"a stream failed: {data!r}")
    choices = event.get("choices") or [{}]
    return str(choices[0].get("delta", {}).get("content") or "")


def main() -> None:
    """The child."""
    order = json.load(sys.stdin)
    connections = [Connection(order["port"], order["path"]) for _ in order["bodies"]]
    waiting = [iter(bodies) for bodies in order["bodies"]]
    received: list[_Received] = []
    begun, used = time.monotonic(), time.process_time()
    starts = deque((begun + order["apart_seconds"] * at, at) for at in range(len(connections)))
    end = begun + order["seconds"]
    with selectors.DefaultSelector() as selector:
        while (now := time.monotonic()) < end and (starts or selector.get_map()):
            if starts and starts[0][0] <= now:
                _, at = starts.popleft()
                selector.register(connections[at].socket, selectors.EVENT_READ, at)
                received.append(connections[at].send(next(waiting[at])))
                continue
            for key, _ in selector.select(max(0.0, (starts[0][0] if starts else end) - now)):
                if connections[key.data].take():
                    following = next(waiting[key.data], None)
                    if following is None:
                        selector.unregister(key.fileobj)
                    else:
                        received.append(connections[key.data].send(following))
    ended, share = time.monotonic(), (time.process_time() - used) / (time.monotonic() - begun)
    json.dump(asdict(Streams([each.stream() for each in received], begun, ended, share)), sys.stdout)


if __name__ == "__main__":
    main()

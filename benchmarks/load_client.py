"""A closed loop of clients, in a process of its own: each sends its next search when the last one was answered.

The child, `python -m benchmarks.load_client`, reads one JSON line (port, path, bodies, clients) and answers with the
seconds of each request and the bodies of the answers. It speaks through `http.client`, which costs the least time of
the machine that it shares with the server.
"""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Load:
    """What the clients saw."""

    seconds: Sequence[float]  # of each request, from the first byte sent to the last received
    answers: Sequence[Any]  # decoded
    elapsed_seconds: float  # of all of them


def send_load(port: int, path: str, bodies: Sequence[Any], clients: int) -> Load:
    """Send every body once, `clients` at a time. Raises `CalledProcessError` where one is refused."""
    order = json.dumps({"port": port, "path": path, "bodies": list(bodies), "clients": clients})
    command = [sys.executable, "-m", "benchmarks.load_client"]
    done = subprocess.run(command, cwd=_ROOT, input=order, stdout=subprocess.PIPE, text=True, check=True)
    report = json.loads(done.stdout)
    answers = [json.loads(answer) for answer in report["answers"]]
    return Load(report["seconds"], answers, report["elapsed_seconds"])


def main() -> None:
    """The child."""
    order = json.load(sys.stdin)
    bodies = [json.dumps(body).encode() for body in order["bodies"]]
    waiting = iter(enumerate(bodies))
    seconds = [0.0] * len(bodies)
    answers = [b""] * len(bodies)
    lock = threading.Lock()
    refused: list[str] = []

    def run_client() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", order["port"], timeout=60)
        connection.connect()
        while not refused:
            with lock:
                following = next(waiting, None)
            if following is None:
                return
            at, body = following
            started = time.perf_counter()
            connection.request("POST", order["path"], body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            answers[at] = response.read()
            seconds[at] = time.perf_counter() - started
            if response.status != 200:
                refused.append(f"{response.status} {answers[at]!r}")

    threads = [threading.Thread(target=run_client) for _ in range(order["clients"])]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    elapsed = time.perf_counter() - started
    if refused or not all(answers):
        sys.exit(f"not every request was answered: {refused[:1]}")
    json.dump(
        {"seconds": seconds, "answers": [answer.decode() for answer in answers], "elapsed_seconds": elapsed}, sys.stdout
    )


if __name__ == "__main__":
    main()

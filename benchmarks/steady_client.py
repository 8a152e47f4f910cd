"""A client that searches at a steady pace beside whatever else goes on, in a process of its own.

The child, `python -m benchmarks.steady_client`, reads one JSON line (port, bodies, searches a second), asks until its
input closes, and answers with a start and the seconds of each search. They count from the moment when the search was
due, so a server that keeps one waiting is charged for those that queue up behind it.
"""

from __future__ import annotations

import http.client
import json
import select
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

_ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Searches:
    """What the client saw; `starts` by `time.monotonic`, which processes share."""

    starts: Sequence[float]
    seconds: Sequence[float]

    def between(self, begin: float, end: float) -> list[float]:
        """The seconds of those that were due then."""
        return [taken for start, taken in zip(self.starts, self.seconds, strict=True) if begin <= start < end]


class SteadyClient:
    """Asks from the moment when it is entered until `stop`."""

    def __init__(self, port: int, bodies: Sequence[Any], per_second: float) -> None:
        self._order = json.dumps({"port": port, "bodies": list(bodies), "per_second": per_second})

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "benchmarks.steady_client"]
        self._process = subprocess.Popen(
            command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        assert self._process.stdin is not None
        self._process.stdin.write(self._order + "\n")
        self._process.stdin.flush()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def stop(self) -> Searches:
        """Raises `CalledProcessError` where a search was refused."""
        output, _ = self._process.communicate()  # closes its input
        if self._process.returncode:
            raise subprocess.CalledProcessError(self._process.returncode, self._process.args)
        return Searches(**json.loads(output))


def main() -> None:
    """The child."""
    order = json.loads(sys.stdin.readline())
    connection = http.client.HTTPConnection("127.0.0.1", order["port"], timeout=120)
    starts: list[float] = []
    seconds: list[float] = []
    due = time.monotonic()
    for body in order["bodies"]:
        if select.select([sys.stdin], [], [], max(0.0, due - time.monotonic()))[0]:
            break
        connection.request("POST", "/search", json.dumps(body).encode(), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        content = answer.read()
        if answer.status != 200:
            sys.exit(f"a search was answered with {answer.status}: {content!r}")
        starts.append(due)
        seconds.append(time.monotonic() - due)
        due += 1 / order["per_second"]
    else:
        sys.exit("there were too few questions")
    json.dump({"starts": starts, "seconds": seconds}, sys.stdout)


if __name__ == "__main__":
    main()

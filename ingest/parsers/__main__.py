"""A parser process: reads requests from standard input, answers on standard output. `ingest.sandbox` runs it.

Both are frames: eight bytes of length, then JSON. No pickle: a file that takes over this process must get no further.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import queue
import resource
import signal
import struct
import sys
import threading
from dataclasses import astuple
from pathlib import Path
from typing import IO, Any

from app.errors import DocumentTooExpensive, IngestionError
from app.types import PdfEngine
from ingest.confinement import confine
from ingest.parsers import parse
from ingest.sections import Limits, Parsed

_LONGEST_MESSAGE = 2000


def main() -> None:
    settings = json.loads(sys.argv[1])
    limits = Limits(settings["pages"], settings["max_characters"], seconds=settings["seconds"])
    engine = PdfEngine(settings["pdf_engine"])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole group; the worker decides when to stop
    logging.disable(logging.CRITICAL)  # libraries comment on every damaged object
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints must not reach the replies
    confined = confine(settings["memory_bytes"], settings["open_files"])  # before there is a second thread
    requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(sys.stdin.buffer, requests), daemon=True).start()
    _send(replies, {"confined": confined}, settings["output_bytes"])  # ready
    while True:
        request = requests.get()
        _allow_cpu(settings["cpu_seconds"])
        _send(replies, _answer(request, limits, engine), settings["output_bytes"])


def _answer(request: dict[str, Any], limits: Limits, engine: PdfEngine) -> dict[str, Any]:
    path, media_type, password = (request[name] for name in ("path", "media_type", "password"))
    try:
        reply = _as_json(parse(Path(path), media_type, limits, password=password, pdf_engine=engine))
    except IngestionError as error:
        reply = {"error": type(error).__name__, "message": error.message[:_LONGEST_MESSAGE]}
    reply["peak_bytes"] = _peak_bytes()
    return reply


def _as_json(parsed: Parsed) -> dict[str, Any]:
    return {
        "sections": [astuple(section) for section in parsed.sections],
        "pages": parsed.pages,
        "title": parsed.title,
        "warnings": parsed.warnings,
        "page_labels": parsed.page_labels,
    }


def _receive(stream: IO[bytes], requests: queue.SimpleQueue[Any]) -> None:
    """Take up requests, and end the process when the parent has gone, in mid-parse too."""
    while header := stream.read(8):
        requests.put(json.loads(stream.read(struct.unpack(">Q", header)[0])))
    os._exit(0)


def _send(stream: IO[bytes], reply: dict[str, Any], most_bytes: int) -> None:
    try:
        payload = _encoded(reply)
        if len(payload) > most_bytes:
            payload = _encoded(_refusal(f"Its text takes {len(payload):,} bytes; {most_bytes:,} are allowed."))
    except MemoryError:
        payload = _encoded(_refusal("Reading the file took more memory than is allowed."))
    stream.write(struct.pack(">Q", len(payload)) + payload)
    stream.flush()


def _encoded(reply: dict[str, Any]) -> bytes:
    return json.dumps(reply, ensure_ascii=False).encode("utf-8", "surrogatepass")


def _refusal(message: str) -> dict[str, Any]:
    return {"error": DocumentTooExpensive.__name__, "message": message, "peak_bytes": _peak_bytes()}


def _allow_cpu(seconds: float) -> None:
    """Move the limit on CPU time ahead of what this process has used so far: each file has its own allowance."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    with contextlib.suppress(ValueError, OSError):
        hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
        resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime + seconds) + 1, hard))


def _peak_bytes() -> int:
    """The most memory that this process has held. Linux's `ru_maxrss` would begin with that of the parent."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().split("VmHWM:")[1].split()[0]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS


if __name__ == "__main__":
    main()

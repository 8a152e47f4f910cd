"""A worker that notes when it did what: `python -m benchmarks.traced_worker EVENTS`, a JSON line an event.

The calls that do the work, not those that wait for it: a parser process reads a file, the model makes one pass.
"""

from __future__ import annotations

import functools
import json
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import ingest.pipeline
import ingest.sandbox
from app.embedding.models import SentenceTransformerEmbedder
from ingest.__main__ import cli

_CALLS: tuple[tuple[Any, str, str], ...] = (
    (ingest.sandbox._Child, "ask", "parse"),
    (ingest.pipeline, "chunk", "chunk"),
    (SentenceTransformerEmbedder, "embed_documents", "embed"),
    (ingest.pipeline, "store_chunks", "store"),
)


def main() -> None:
    """The worker of the command line, with its calls wrapped."""
    with open(sys.argv[1], "w", buffering=1) as events:  # noqa: PTH123 - one line, one write
        for owner, name, stage in _CALLS:
            setattr(owner, name, _noted(getattr(owner, name), stage, events))
        cli(["worker"], standalone_mode=False)


def _noted(call: Callable[..., Any], stage: str, events: Any) -> Callable[..., Any]:
    @functools.wraps(call)
    def noted(*arguments: Any, **options: Any) -> Any:
        started = time.monotonic()
        try:
            return call(*arguments, **options)
        finally:
            event = [stage, threading.current_thread().name, started, time.monotonic()]
            events.write(json.dumps(event) + "\n")

    return noted


if __name__ == "__main__":
    main()

"""Logging, metrics, and timing of stages."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager

from prometheus_client import Counter, Gauge, Histogram

# Upper bounds in seconds: a cache hit takes tenths of a millisecond, a long generation a minute.
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

STAGE_SECONDS = Histogram("footnote_stage_seconds", "Time spent in a stage.", ["stage"], buckets=_BUCKETS)
REQUEST_SECONDS = Histogram(
    "footnote_request_seconds", "Time to the end of the response.", ["route", "status"], buckets=_BUCKETS
)
ANSWERS = Counter("footnote_answers_total", "Answers given.", ["mode", "outcome"])
DOCUMENTS = Gauge("footnote_documents", "Documents by status.", ["status"])
JOBS = Gauge("footnote_jobs", "Ingestion jobs by state.", ["state"])
CHUNKS = Gauge("footnote_chunks", "Live chunks.")
SEGMENTS = Gauge("footnote_index_segments", "Vector segments in the newest generation.", ["collection"])
INDEX_LAG = Gauge("footnote_index_lag", "Changes that the index has not taken up yet.", ["collection"])


@contextmanager
def timed(stage: str, timings: MutableMapping[str, float] | None = None) -> Iterator[None]:
    """Observe how long a stage takes; also add its milliseconds to `timings[stage]`."""
    started = time.perf_counter()
    try:
        yield
    finally:
        seconds = time.perf_counter() - started
        STAGE_SECONDS.labels(stage).observe(seconds)
        if timings is not None:
            timings[stage] = timings.get(stage, 0.0) + round(seconds * 1000, 3)


def configure_logging(level: str) -> None:
    """One line an event on standard error: time, level, logger, message."""
    logging.basicConfig(
        level=level.upper(), format="%(asctime)s %(levelname)-7s %(name)s: %(message)s", datefmt="%H:%M:%S"
    )
    for noisy in ("httpx", "httpcore", "sentence_transformers", "alembic", "urllib3", "pypdf"):
        logging.getLogger(noisy).setLevel(logging.WARNING)

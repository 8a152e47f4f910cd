"""Logging, metrics, and timing of stages."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, MutableMapping, Sequence
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

# Set before this module is imported, the metrics of several processes come together in the folder that it names.
MULTIPROCESS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"

# Upper bounds in seconds: a cache hit takes tenths of a millisecond, a long generation a minute.
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

STAGE_SECONDS = Histogram("footnote_stage_seconds", "Time spent in a stage.", ["stage"], buckets=_BUCKETS)
REQUEST_SECONDS = Histogram(
    "footnote_request_seconds", "Time to the end of the response.", ["route", "status"], buckets=_BUCKETS
)
ANSWERS = Counter("footnote_answers_total", "Answers given.", ["mode", "outcome"])

ENGINE_RETRIES = Counter("footnote_engine_retries_total", "Requests to the language model's server made again.")
REFUSED = Counter("footnote_generations_refused_total", "Questions refused because too many wait.")

RERANKS = Counter("footnote_reranks_total", "Orders asked of the rerank model.", ["outcome"])


def _gauge(name: str, what: str, labels: Sequence[str] = ()) -> Gauge:
    return Gauge(name, what, labels, multiprocess_mode="mostrecent")


# Of each process: together they are the service's.
ENGINE_RESTING = Gauge(
    "footnote_engine_resting", "1 while the language model's server is left alone.", multiprocess_mode="livemax"
)
RUNNING = Gauge("footnote_generations_running", "Generations that run.", multiprocess_mode="livesum")
WAITING = Gauge("footnote_generations_waiting", "Generations that wait for a place.", multiprocess_mode="livesum")
PLACES = Gauge("footnote_generations_most", "How many may run at once, now.", multiprocess_mode="livesum")

DOCUMENTS = _gauge("footnote_documents", "Documents by status.", ["status"])
JOBS = _gauge("footnote_jobs", "Ingestion jobs by state.", ["state"])
CHUNKS = _gauge("footnote_chunks", "Live chunks.")
SEGMENTS = _gauge("footnote_index_segments", "Vector segments in the newest generation.", ["collection"])
INDEX_ROWS = _gauge("footnote_index_rows", "Rows of the vector segments, removed ones included.", ["collection"])
INDEX_BYTES = _gauge("footnote_index_bytes", "Bytes of the newest generation.", ["collection"])
MERGING = _gauge("footnote_index_merging", "1 while segments are being merged.", ["collection"])
MERGED_ROWS = _gauge("footnote_index_merged_rows", "Rows of the segment that the last merge made.", ["collection"])
INDEX_LAG = _gauge("footnote_index_lag", "Changes that the index has not taken up yet.", ["collection"])


def render_metrics() -> bytes:
    """In the text format of Prometheus; of all processes of the server, where there are several."""
    if MULTIPROCESS_VARIABLE not in os.environ:
        return generate_latest()
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)


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

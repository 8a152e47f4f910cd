"""How Footnote does with more and more chunks: search, recall, memory, disk, freshness, opening, rebuilding.

python -m benchmarks --data DIR --only scale --sizes 10000,100000,1000000 --cache DIR
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from app.index.idset import IdSet
from app.index.local import IndexDescription, LocalIndex
from app.store.chunks import chunk_ids
from app.store.collections import get_collection
from app.store.documents import live_ranges
from benchmarks.filling import COLLECTION, finish_filling, open_store, start_filling
from benchmarks.freshness import until_found
from benchmarks.load_client import Load, send_load
from benchmarks.processes import bytes_under, forget_pages, resident_bytes
from benchmarks.results import Result, quantiles_ms
from benchmarks.scale_rows import rows_of
from benchmarks.server import Server, running_server
from benchmarks.vectors import DIMENSION, TEXTS, Corpus, open_corpus

SIZES = (10_000, 100_000, 1_000_000)
_QUICK_TEXTS = 2000
_SEARCHES, _WARM_UP = 500, 100
_CANDIDATES = 60  # of the dense leg, as the pipeline asks for; the first ten count
_TOP = 10
_LEAST_ADDED, _MOST_ADDED = 2000, 80_000  # rows that are added while it is searched: a tenth of the size, within these
_BATCHES = 40  # of them, each published by itself
_SEARCHES_A_DOCUMENT = 5  # times twenty, during a merge
_FRESH = 5  # documents, while nothing is written
_FRESH_PAUSE_SECONDS = 0.3
_SETTLED_SECONDS = 5.0  # without a new generation
_TIDY_SECONDS = 120.0
_WORKER_START_SECONDS = 12.0  # it loads the model before it merges


def run(data: Path, *, quick: bool, cache: Path, sizes: Sequence[int] = SIZES) -> Result:
    """Every size has a data directory of its own in the cache folder, removed when it is measured."""
    corpus = open_corpus(data, cache, most_texts=_QUICK_TEXTS if quick else TEXTS)
    bare = _measure_bare(corpus)
    measured = {}
    for size in (5000,) if quick else sizes:
        measured[str(size)] = _measure(data, cache, corpus, size, bare)
        print(json.dumps({size: measured[str(size)]}), file=sys.stderr, flush=True)
    rows = [row for size, found in measured.items() for row in rows_of(int(size), found)]
    return Result(rows, {"real_texts": len(corpus.texts), "empty_server": bare, "sizes": measured})


def _measure_bare(corpus: Corpus) -> dict[str, Any]:
    """A server without a chunk: what the process, the model and the first searches take by themselves."""
    with running_server(worker=False) as server:
        _search(server, corpus.questions[:_WARM_UP], collection="default")
        memory = resident_bytes(server.pid, {})
        return {"ready_seconds": server.ready_seconds, "memory": memory}


def _measure(data: Path, cache: Path, corpus: Corpus, size: int, bare: Mapping[str, Any]) -> dict[str, Any]:
    directory = cache / f"footnote-{size}"
    shutil.rmtree(directory, ignore_errors=True)
    try:
        filled = finish_filling(start_filling(data, cache, directory, rows=size, most_texts=_most_texts(corpus)))
        questions = cycle(corpus.questions)
        found: dict[str, Any] = {"filling": asdict(filled), "merge": _during_merges(directory, questions)}
        found["disk"] = _disk(directory)
        found["dense_leg"] = _dense_leg(directory, corpus, size)
        found["opening"] = _opening(directory, corpus.questions[-1])
        with running_server(settings=_settings(directory)) as server:
            _search(server, _take(questions, _WARM_UP))
            found["search"] = _stages(_search(server, _take(questions, _SEARCHES)))
            found["memory"] = _memory(server, bare)
            found["fresh_alone"] = [until_found(server, directory, COLLECTION, at) for at in range(_FRESH)]
            found["merging"] = _while_merging(data, cache, directory, corpus, size, server, questions)
        return found
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _most_texts(corpus: Corpus) -> int:
    return int(corpus.folder.name.rpartition("-")[2])


def _settings(directory: Path) -> dict[str, str]:
    return {"FOOTNOTE_DATA_DIR": str(directory)}


def _take(questions: Iterator[str], count: int) -> list[str]:
    return [next(questions) for _ in range(count)]


def _search(server: Server, questions: Sequence[str], collection: str = COLLECTION) -> Load:
    bodies = [{"query": question, "collection": collection} for question in questions]
    return send_load(server.port, "/search", bodies, 1)


def _without_encode(load: Load) -> npt.NDArray[np.float64]:
    embed = np.array([answer["timings_ms"]["embed"] for answer in load.answers]) / 1000
    return np.array(load.seconds) - embed


def _stages(load: Load) -> dict[str, Any]:
    """In milliseconds; `without_encode` is what the targets are for: legs, fusion, hydration, HTTP."""
    search = np.array([answer["timings_ms"]["search"] for answer in load.answers]) / 1000
    return {
        "total": quantiles_ms(load.seconds),
        "without_encode": quantiles_ms(_without_encode(load)),
        "search": quantiles_ms(search),
    }


def _disk(directory: Path) -> dict[str, int]:
    """Bytes after the database was closed."""
    index = next((directory / "index").iterdir())
    return {
        "dense": bytes_under(index / "segments"),
        "lexical": bytes_under(index, "lexical-*/*"),
        "database": bytes_under(directory, "footnote.db*"),
        "all": bytes_under(directory),
    }


def _dense_leg(directory: Path, corpus: Corpus, size: int) -> dict[str, Any]:
    """Recall against looking at every vector, and the time of each leg alone, in this process."""
    with open_store(directory) as database, database.read() as connection:
        collection = get_collection(connection, COLLECTION)
        everything = IdSet(live_ranges(connection, collection.id), everything=True)
        ids = chunk_ids(connection, collection.id)
    index = _index(directory)
    snapshot, exact = index.snapshot(), corpus.exact(size, _TOP)
    dense, lexical, shares = [], [], []
    for at, vector in enumerate(corpus.question_vectors):
        started = time.perf_counter()
        hits = snapshot.search_dense(vector, _CANDIDATES, everything)
        between = time.perf_counter()
        snapshot.search_lexical(corpus.questions[at], _CANDIDATES, everything)
        dense.append(between - started)
        lexical.append(time.perf_counter() - between)
        rows = np.searchsorted(ids, [hit.id for hit in hits[:_TOP]])
        shares.append(len(np.intersect1d(rows, exact[at])) / _TOP)
    return {
        "recall_at_10": round(float(np.mean(shares)), 4),
        "worst_recall_at_10": min(shares),
        "dense": quantiles_ms(dense),
        "lexical": quantiles_ms(lexical),
        "segments": _segments(index.describe()),
    }


def _opening(directory: Path, question: str) -> dict[str, Any]:
    """From the start of the process, with nothing of the data directory in the page cache.

    `hashing` is a server whose model costs nothing to load: what is left is everything but the model.
    """
    found: dict[str, Any] = {}
    for name, settings in (("hashing", {"FOOTNOTE_EMBEDDING_MODEL": "hashing"}), ("default", {})):
        forget_pages(directory)
        with running_server(worker=False, settings=_settings(directory) | settings) as server:
            found[f"{name}_ready_seconds"] = server.ready_seconds
            if name == "default":
                found["first_search_seconds"] = round(float(_without_encode(_search(server, [question]))[0]), 3)
    return found


def _memory(server: Server, bare: Mapping[str, Any]) -> dict[str, int]:
    """`dense` is the most that the dense index can be: its mapped pages, and all that is not mapped at all beyond an
    empty server (the maps of ids, the sets of live chunks, and also SQLite's and tantivy's own)."""
    found = resident_bytes(server.pid, {"mapped_dense": "/segments/", "mapped_lexical": "/lexical-"})
    grown = max(0, found["anonymous"] - bare["memory"]["anonymous"])
    return found | {"anonymous_growth": grown, "dense": found["mapped_dense"] + grown}


def _during_merges(directory: Path, questions: Iterator[str]) -> dict[str, Any]:
    """Searches before a worker comes, and while it merges what the rebuild has left."""
    before = _index(directory).describe()
    with running_server(worker=False, settings=_settings(directory)) as server:
        _search(server, _take(questions, _WARM_UP))
        alone = quantiles_ms(_without_encode(_search(server, _take(questions, _SEARCHES))))
        seconds, fresh = [], []
        with server.worker(_settings(directory)):
            time.sleep(_WORKER_START_SECONDS)
            began = merged = idle_since = time.monotonic()
            while time.monotonic() - idle_since < _SETTLED_SECONDS:
                load = _search(server, _take(questions, 20))
                if _index(directory).describe().is_merging:
                    seconds.append(_without_encode(load))
                    if len(seconds) % _SEARCHES_A_DOCUMENT == 0:
                        fresh.append(until_found(server, directory, COLLECTION, 500 + len(fresh)))
                    merged = idle_since = time.monotonic()
            _wait_until_tidy(directory)
    after = _index(directory).describe()
    found = {"before": _segments(before), "after": _segments(after), "alone": alone}
    if not seconds:
        return found  # there was nothing to merge
    during = quantiles_ms(np.concatenate(seconds))
    counts = {"seconds": round(merged - began, 1), "searches": 20 * len(seconds)}
    return found | counts | {"during": during, "fresh": fresh}


def _wait_until_tidy(directory: Path) -> None:
    """Until the worker has given up the generation before the newest, which it does after a minute."""
    deadline = time.monotonic() + _TIDY_SECONDS
    while len(list((directory / "index").glob("*/manifest-*.json"))) > 1 and time.monotonic() < deadline:
        time.sleep(1.0)


def _while_merging(
    data: Path, cache: Path, directory: Path, corpus: Corpus, size: int, server: Server, questions: Iterator[str]
) -> dict[str, Any]:
    """Another process publishes chunks whose vectors it has, so that nothing but publishing and merging disturbs."""
    added = min(max(size // 10, _LEAST_ADDED), _MOST_ADDED)

    def start(first: int) -> subprocess.Popen[str]:
        texts = _most_texts(corpus)
        return start_filling(data, cache, directory, first=first, rows=added, batch=added // _BATCHES, most_texts=texts)

    before = _index(directory).describe()
    writer = start(size)
    starts, seconds, changed = _search_until_settled(directory, server, questions, writer)
    filled = finish_filling(writer)
    within = (starts >= filled.index_began) & (starts <= max(filled.index_ended, changed))
    after = _index(directory).describe()
    writer = start(size + added)
    fresh: list[dict[str, float]] = []
    while writer.poll() is None:
        fresh.append({"at": time.monotonic()} | until_found(server, directory, COLLECTION, 1000 + len(fresh)))
        time.sleep(_FRESH_PAUSE_SECONDS)
    again = finish_filling(writer)
    return {
        "added": added,
        "seconds": round(max(filled.index_ended, changed) - filled.index_began, 1),
        "publishing_seconds": filled.index_seconds,
        "generations": after.generation - before.generation,
        "segments": _segments(after),
        "searches": int(within.sum()),
        "without_encode": quantiles_ms(seconds[within]),
        "fresh": [one for one in fresh if again.index_began <= one["at"] <= again.index_ended],
    }


def _search_until_settled(
    directory: Path, server: Server, questions: Iterator[str], writer: subprocess.Popen[str]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], float]:
    """Search until the writer has ended and the index stays as it is; also when it changed last."""
    starts, seconds, generation = [], [], -1
    changed = time.monotonic()
    while writer.poll() is None or time.monotonic() - changed < _SETTLED_SECONDS:
        load = _search(server, _take(questions, 20))
        starts.append(np.array(load.starts))
        seconds.append(_without_encode(load))
        newest = _index(directory).describe().generation
        if newest != generation:
            generation, changed = newest, time.monotonic()
    return np.concatenate(starts), np.concatenate(seconds), changed


def _segments(description: IndexDescription) -> list[dict[str, Any]]:
    return [{"kind": str(segment.kind), "rows": segment.count} for segment in description.segments]


def _index(directory: Path) -> LocalIndex:
    return LocalIndex(next((directory / "index").iterdir()), DIMENSION)

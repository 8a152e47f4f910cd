"""A data directory with any number of chunks, without a worker: the truth in bulk, then the index from it.

    python -m benchmarks.filling --data DIR --cache DIR --directory DIR --rows 100000
    python -m benchmarks.filling … --first 100000 --rows 2000 --batch 100   # as a worker adds: store, sync, go live

Each run is a process of its own, so that its peak memory is its own; the last line that it writes is its report. Its
progress goes to standard error.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from sqlalchemy import Connection

from app.config import DEFAULT_EMBEDDING_MODEL
from app.errors import CollectionNotFound
from app.projection import Projection
from app.store.chunks import VersionContent, store_chunks
from app.store.collections import create_collection, get_collection
from app.store.database import Database
from app.store.documents import NewVersion, get_documents, insert_document, make_live
from app.store.spaces import bind_model
from app.types import Chunk, Collection
from benchmarks.processes import peak_bytes
from benchmarks.vectors import DIMENSION, ROWS_PER_DOCUMENT, TEXTS, Corpus, Rows, open_corpus

COLLECTION = "scale"
_ROOT = Path(__file__).resolve().parent.parent
_ROWS_PER_TRANSACTION = 10_000
_BETWEEN = "\n\n"


@dataclass(frozen=True, slots=True)
class Filled:
    """What a run did."""

    rows: int
    chunk_text_bytes: int  # UTF-8
    version_text_bytes: int  # the same texts again, joined: what offsets refer to
    database_seconds: float
    index_seconds: float
    index_began: float  # by `time.monotonic`, which processes share
    index_ended: float
    progress_reports: int
    peak_bytes: int  # of the process, resident


def start_filling(
    data: Path, cache: Path, directory: Path, *, first: int = 0, rows: int, batch: int = 0, most_texts: int = TEXTS
) -> subprocess.Popen[str]:
    """A process that fills the directory; with a `batch`, it adds as a worker does, so many rows at a time."""
    command = [sys.executable, "-m", "benchmarks.filling", "--data", data, "--cache", cache, "--directory", directory]
    command += ["--first", str(first), "--rows", str(rows), "--batch", str(batch), "--texts", str(most_texts)]
    return subprocess.Popen([str(part) for part in command], cwd=_ROOT, stdout=subprocess.PIPE, text=True)


def finish_filling(process: subprocess.Popen[str]) -> Filled:
    """Wait for it. Raises `CalledProcessError`."""
    output, _ = process.communicate()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, process.args)
    return Filled(**json.loads(output.splitlines()[-1]))


@contextmanager
def open_store(directory: Path) -> Iterator[Database]:
    """The database of a data directory."""
    directory.mkdir(parents=True, exist_ok=True)
    with Database(f"sqlite:///{directory / 'footnote.db'}") as database:
        database.migrate()
        yield database


def main() -> None:
    """The process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("data", "cache", "directory"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--first", type=int, default=0, help="the first row of the corpus to take")
    parser.add_argument("--batch", type=int, default=0, help="rows to publish together; default: rebuild at the end")
    parser.add_argument("--texts", type=int, default=TEXTS, help="real texts to embed at most")
    arguments = parser.parse_args()
    corpus = open_corpus(arguments.data, arguments.cache, most_texts=arguments.texts)
    span = range(arguments.first, arguments.first + arguments.rows)
    with open_store(arguments.directory) as database:
        projection = Projection(database, arguments.directory / "index")
        filled = _add(database, projection, corpus, span, arguments.batch) if arguments.batch else None
        print(json.dumps(asdict(filled or _fill(database, projection, corpus, span))))


def _fill(database: Database, projection: Projection, corpus: Corpus, span: range) -> Filled:
    progress = _Progress("stored", len(span))
    texts = 0
    for rows in _parts(span, _ROWS_PER_TRANSACTION):
        content = [corpus.text(row) for row in rows]
        go_live(database, store_rows(database, rows.start, content, corpus.vectors(rows.start, rows.stop)))
        texts += _bytes(content)
        progress.report(rows.stop - span.start)
    database_seconds = progress.seconds()
    began, progress = time.monotonic(), _Progress("indexed", len(span))
    projection.rebuild(collection_id(database), progress.report)
    return _filled(span, texts, database_seconds, progress.seconds(), began, progress.reports)


def _add(database: Database, projection: Projection, corpus: Corpus, span: range, batch: int) -> Filled:
    """Store, publish, make live: the steps of a worker, whose embedding is done."""
    vectors = corpus.vectors(span.start, span.stop)
    collection = collection_id(database)
    began, texts, storing, indexing = time.monotonic(), 0, 0.0, 0.0
    for rows in _parts(span, batch):
        content = [corpus.text(row) for row in rows]
        started = time.perf_counter()
        part = vectors[rows.start - span.start : rows.stop - span.start]
        document_ids = store_rows(database, rows.start, content, part)
        before = time.perf_counter()
        projection.sync(collection)
        after = time.perf_counter()
        go_live(database, document_ids)
        texts += _bytes(content)
        storing += before - started + time.perf_counter() - after
        indexing += after - before
    return _filled(span, texts, storing, indexing, began, 0)


def _filled(
    span: range, texts: int, database_seconds: float, index_seconds: float, began: float, reports: int
) -> Filled:
    joints = len(_BETWEEN) * (len(span) - len(_parts(span, ROWS_PER_DOCUMENT)))
    return Filled(
        rows=len(span),
        chunk_text_bytes=texts,
        version_text_bytes=texts + joints,
        database_seconds=round(database_seconds, 2),
        index_seconds=round(index_seconds, 2),
        index_began=began,
        index_ended=time.monotonic(),
        progress_reports=reports,
        peak_bytes=peak_bytes(),
    )


def store_rows(database: Database, first: int, texts: Sequence[str], vectors: Rows) -> list[str]:
    """Documents of some rows each, from row `first` on, in one transaction; returns their ids. None is live yet."""
    now = time.time()
    with database.write() as connection:
        collection = _collection(connection, now)
        contents = []
        for part in _parts(range(len(texts)), ROWS_PER_DOCUMENT):
            joined, name = _BETWEEN.join(texts[part.start : part.stop]), f"rows-{first + part.start}"
            version = NewVersion(f"{name}.txt", "text/plain", len(joined.encode()), f"{first + part.start:064x}")
            document_id = insert_document(connection, collection.id, version, external_id=name, metadata={}, now=now)
            chunks = _chunks(texts[part.start : part.stop])
            embeddings = vectors[part.start : part.stop].astype(np.float32)
            contents.append(VersionContent(document_id, 1, joined, None, chunks, embeddings))
        store_chunks(connection, collection.id, DEFAULT_EMBEDDING_MODEL, contents)
    return [content.document_id for content in contents]


def go_live(database: Database, document_ids: Sequence[str]) -> None:
    """From now on they answer."""
    with database.write() as connection:
        make_live(connection, list(get_documents(connection, document_ids).values()), time.time())


def _chunks(texts: Sequence[str]) -> list[Chunk]:
    pieces, start = [], 0
    for ordinal, text in enumerate(texts):
        pieces.append(Chunk(ordinal, start, start + len(text), text, None, (), len(text.split())))
        start += len(text) + len(_BETWEEN)
    return pieces


def _bytes(texts: Sequence[str]) -> int:
    return sum(len(text.encode()) for text in texts)


def collection_id(database: Database) -> str:
    """The id of the collection that is filled."""
    with database.read() as connection:
        return get_collection(connection, COLLECTION).id


def _collection(connection: Connection, now: float) -> Collection:
    try:
        return get_collection(connection, COLLECTION)
    except CollectionNotFound:
        collection = create_collection(connection, COLLECTION, {}, now)
        bind_model(connection, collection.id, DEFAULT_EMBEDDING_MODEL, DIMENSION)
        return get_collection(connection, COLLECTION)


def _parts(span: range, size: int) -> list[range]:
    return [span[at : at + size] for at in range(0, len(span), size)]


class _Progress:
    """A line of progress now and then."""

    def __init__(self, what: str, total: int) -> None:
        self._what, self._total = what, total
        self._started = time.perf_counter()
        self._said = self._started
        self.reports = 0

    def report(self, done: int) -> None:
        self.reports += 1
        now = time.perf_counter()
        if now - self._said > 5 or done == self._total:
            self._said = now
            rate = done / (now - self._started)
            print(f"{self._what} {done:,} of {self._total:,} chunks, {rate:,.0f} a second", file=sys.stderr, flush=True)

    def seconds(self) -> float:
        return time.perf_counter() - self._started


if __name__ == "__main__":
    main()

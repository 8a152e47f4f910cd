"""A data directory with everything that works on it, without a server and without a child for the parsers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from sqlalchemy import Connection, select

from app.bootstrap import Core
from app.config import Settings
from app.embedding import Embedders, load_embedder
from app.errors import DocumentNotFound
from app.projection import Projection
from app.reindexing import reindex
from app.store import attachments, documents, files, tables
from app.store.attachments import Chunking
from app.store.blobs import BlobStore
from app.store.chunks import StoredChunk, live_chunks
from app.store.collections import ensure_default_collection, get_collection
from app.store.database import Database, open_database
from app.store.uploads import remove_unused_blob, sweep_blobs
from app.types import Collection, Document, Job
from ingest.parsers import parse
from ingest.pipeline import Pipeline
from ingest.sections import Parsed
from ingest.worker import Worker
from tests.store.library import Library

LEASE_SECONDS = 0.1  # nobody else is there to take a job over; who is killed is to be replaced at once


class DirectParsers:
    """Stands in for the `ParserPool`: the same parsers, in this process."""

    def parse(self, path: Path, media_type: str, filename: str, password: str | None = None) -> Parsed:
        return parse(path, media_type, password=password)


class Workbench:
    """Upload, work, delete: single calls, each as the server or the worker makes it."""

    def __init__(
        self,
        data_dir: Path,
        *,
        clock: Callable[[], float] = time.time,
        lease_seconds: float = LEASE_SECONDS,
        parsers: DirectParsers | None = None,
        clustered_from: int = 100_000,
    ) -> None:
        self.settings = Settings(
            _env_file=None,
            data_dir=data_dir,
            embedding_model="hashing",
            lease_seconds=lease_seconds,
            max_attempts=1000,  # who is killed again and again must not run out of them here
            worker_concurrency=2,
        )
        data_dir.mkdir(parents=True, exist_ok=True)
        self.database: Database = open_database(self.settings)
        with self.database.write() as connection:
            ensure_default_collection(connection, time.time())
        self.blobs = BlobStore(self.settings.blobs_dir)
        self.projection = Projection(self.database, self.settings.index_dir, clustered_from=clustered_from)
        self.library = Library(self.database, self.blobs)
        self.embedders = Embedders("hashing", lambda name: load_embedder(name, device="cpu", batch_size=None))
        self.core = Core(self.settings, self.database, self.blobs, self.projection, self.embedders)
        pipeline = Pipeline(
            database=self.database,
            blobs=self.blobs,
            projection=self.projection,
            embedders=self.embedders,
            parsers=parsers or DirectParsers(),  # type: ignore[arg-type]
            chunk_tokens=self.settings.chunk_tokens,
            chunk_overlap_tokens=self.settings.chunk_overlap_tokens,
            clock=clock,
        )
        self.pipeline = pipeline
        self.worker = Worker(
            database=self.database,
            blobs=self.blobs,
            projection=self.projection,
            pipeline=pipeline,
            settings=self.settings,
            clock=clock,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.core.__exit__(kind, error, traceback)

    def upload(self, name: str, content: str) -> Document:
        """A new document, or a new version of the one of this name."""
        return self.library.upload(content, filename=f"{name}.txt", external_id=name).document

    def delete(self, name: str) -> None:
        """As the route does: the deletion's transaction, then the original."""
        found = self.find(name)
        if found is None:
            raise DocumentNotFound
        with self.database.write() as connection:
            originals = documents.delete_document(connection, found.id)
        self._remove_unused(originals)

    def _remove_unused(self, digests: Iterable[str]) -> None:
        for sha256 in dict.fromkeys(digests):
            remove_unused_blob(self.database, self.blobs, sha256)

    def keep_file(self, name: str, content: str) -> None:
        """As a file of its own, in no collection."""
        with self.blobs.writer(10_000_000) as writer:
            writer.write(content.encode())
            finished = writer.finish()
            described = {"filename": f"{name}.txt", "purpose": "assistants", "media_type": "text/plain"}
            files.keep_file(self.database, self.blobs, finished, **described)

    def attach(self, name: str, chunking: Chunking | None = None) -> None:
        """Put a file of its own into the collection, as the route does it."""
        with self.database.write() as connection:
            file_id = _file_id(connection, name)
            attachments.attach(
                connection, self.collection.id, file_id, attributes=None, chunking=chunking, now=time.time()
            )

    def detach(self, name: str) -> None:
        """And out of it."""
        with self.database.write() as connection:
            digests = attachments.detach(connection, self.collection.id, _file_id(connection, name))
        self._remove_unused(digests)

    def delete_file(self, name: str) -> None:
        """With what it is in the collection."""
        with self.database.write() as connection:
            digests = files.delete_file(connection, _file_id(connection, name))
        self._remove_unused(digests)

    def work_once(self) -> Sequence[Job]:
        """One batch of jobs, as a worker's thread does it."""
        batch = self.worker._claim()
        if batch:
            self.worker._process(batch)
        return batch

    def keep_house(self) -> None:
        """What the worker does besides: removals reach the index, unused blobs go, segments are merged."""
        sweep_blobs(self.database, self.blobs)
        self.projection.sync_all()
        while self.projection.merge(lambda: False):
            pass

    def reindex(self, model: str) -> None:
        """As the command does it."""
        reindex(self.core, "default", model, lambda what, done, total: None)

    def search(self, query: str, limit: int = 100) -> list[StoredChunk]:
        """The live chunks that hold the query's words, best first."""
        collection = self.collection
        index = self.projection.index(collection)
        if index is None:
            return []
        with self.database.read() as connection:
            allowed = self.projection.allowed(connection, collection, None)
            hits = index.snapshot().search_lexical(query, limit, allowed)
            found = live_chunks(connection, collection.id, [hit.id for hit in hits])
        return [found[hit.id] for hit in hits]

    def find(self, name: str) -> Document | None:
        with self.database.read() as connection:
            return documents.find_by_external_id(connection, self.collection.id, name)

    @property
    def collection(self) -> Collection:
        with self.database.read() as connection:
            return get_collection(connection, "default")


def _file_id(connection: Connection, name: str) -> str:
    return str(connection.scalars(select(tables.files.c.id).where(tables.files.c.filename == f"{name}.txt")).one())

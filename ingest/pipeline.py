"""One job, from the blob to a live version: parse → chunk → embed → store → publish → make live."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from app.embedding import Embedder, Vectors
from app.errors import EmptyDocument
from app.projection import Projection
from app.store import documents, jobs
from app.store.blobs import BlobStore
from app.store.chunks import store_chunks, stored_chunk_count
from app.store.collections import get_collection_by_id, record_embedding_model
from app.store.database import Database
from app.telemetry import timed
from app.types import Chunk, Document, DocumentStatus, Job
from ingest.chunking import chunk
from ingest.sandbox import ParserPool
from ingest.sections import assemble

# How many chunks are embedded between two reports of progress.
_CHUNKS_PER_REPORT = 128


class Stopping(Exception):
    """The worker was asked to stop, and the job will be handed back."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A version's text, cut."""

    text: str
    pages: int | None
    chunks: list[Chunk]


class Pipeline:
    """Does a job's work. Holds no state of a job; every write is fenced by the job's lease."""

    def __init__(
        self,
        *,
        database: Database,
        blobs: BlobStore,
        projection: Projection,
        embedder: Embedder,
        parsers: ParserPool,
        chunk_tokens: int,
        chunk_overlap_tokens: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._projection = projection
        self._embedder = embedder
        self._parsers = parsers
        self._chunk_tokens = chunk_tokens
        self._chunk_overlap_tokens = chunk_overlap_tokens
        self._clock = clock

    def run(self, job: Job, should_stop: Callable[[], bool]) -> None:
        """Bring the job's version to `ready`. An attempt goes on where the last one had stored its chunks.

        Raises `LeaseLost`, `IngestionError` for what is wrong with the document, and whatever goes wrong around it.
        """
        with self._database.read() as connection:
            document = documents.get_document(connection, job.document_id)
            stored = stored_chunk_count(connection, document.id, job.version)
        if not stored:
            prepared = self._prepare(job, document)
            embeddings = self._embed(job, document, prepared.chunks, should_stop)
            self._store(job, document, prepared, embeddings)
        with timed("publish"):
            self._projection.sync(document.collection_id)
        with self._database.write() as connection:
            jobs.require_lease(connection, job)
            documents.make_live(connection, documents.get_document(connection, document.id), job.version, self._clock())
            jobs.finish(connection, job, self._clock())

    def _prepare(self, job: Job, document: Document) -> Prepared:
        self._report(job, DocumentStatus.PARSING, 0, 1)
        with timed("parse"):
            parsed = self._parsers.parse(self._blobs.path(document.sha256), document.media_type, document.filename)
        self._report(job, DocumentStatus.CHUNKING, 0, 1)
        with timed("chunk"):
            text, spans = assemble(parsed.sections)
            chunks = chunk(
                text,
                spans,
                self._embedder.count_tokens,
                budget=min(self._chunk_tokens, self._embedder.max_tokens),
                overlap=self._chunk_overlap_tokens,
            )
        if not chunks:
            raise EmptyDocument
        return Prepared(text, parsed.pages, chunks)

    def _embed(self, job: Job, document: Document, chunks: list[Chunk], should_stop: Callable[[], bool]) -> Vectors:
        with self._database.write() as connection:
            collection = get_collection_by_id(connection, document.collection_id)
            record_embedding_model(connection, collection, self._embedder.name, self._embedder.dimension)
        parts: list[Vectors] = []
        for at in range(0, len(chunks), _CHUNKS_PER_REPORT):
            if should_stop():
                raise Stopping
            self._report(job, DocumentStatus.EMBEDDING, at, len(chunks))
            with timed("embed"):
                texts = [each.indexed_text for each in chunks[at : at + _CHUNKS_PER_REPORT]]
                parts.append(self._embedder.embed_documents(texts))
        return np.concatenate(parts)

    def _store(self, job: Job, document: Document, prepared: Prepared, embeddings: Vectors) -> None:
        with timed("store"), self._database.write() as connection:
            jobs.require_lease(connection, job)
            store_chunks(
                connection,
                document,
                job.version,
                text=prepared.text,
                pages=prepared.pages,
                contents=prepared.chunks,
                embeddings=embeddings,
            )

    def _report(self, job: Job, status: DocumentStatus, done: int, total: int) -> None:
        with self._database.write() as connection:
            jobs.require_lease(connection, job)
            documents.set_stage(connection, job.document_id, status, done, total, self._clock())

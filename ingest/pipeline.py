"""A few jobs together, from the blobs to live versions: parse → chunk → embed → store → publish → make live."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from app.embedding import Embedder, Embedders, Vectors
from app.errors import EmptyDocument, LeaseLost
from app.failpoints import failpoint
from app.projection import Projection
from app.signatures import sign
from app.store import documents, jobs
from app.store.attachments import Chunking, chunking_of
from app.store.blobs import BlobStore
from app.store.chunks import VersionContent, live_embeddings, store_chunks
from app.store.collections import get_collection_by_id
from app.store.database import Database
from app.store.near_copies import warn_of_near_copies
from app.telemetry import timed
from app.types import Chunk, Collection, Document, DocumentStatus, Job, indexed_text
from ingest.chunking import chunk, with_page_labels
from ingest.sandbox import ParserPool
from ingest.sections import assemble

# How many chunks are embedded between two reports of progress.
_CHUNKS_PER_REPORT = 128


# From this size on, cutting takes long enough to be told of.
_LARGE_BYTES = 1024 * 1024


class Stopping(Exception):
    """The worker was asked to stop, and the job will be handed back."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A version on its way, with its chunks; those of an earlier attempt may be stored already."""

    job: Job
    document: Document
    text: str = ""
    pages: int | None = None
    warnings: tuple[str, ...] = ()
    chunks: tuple[Chunk, ...] = ()
    signature: bytes | None = None


@dataclass(frozen=True, slots=True)
class Embedded:
    """A version with the embeddings of its chunks, of which so many were there before."""

    version: Prepared
    vectors: Vectors
    kept: int


class Pipeline:
    """Does a job's work. Holds no state of a job; every write is fenced by the job's lease."""

    def __init__(
        self,
        *,
        database: Database,
        blobs: BlobStore,
        projection: Projection,
        embedders: Embedders,
        parsers: ParserPool,
        chunk_tokens: int,
        chunk_overlap_tokens: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._projection = projection
        self._embedders = embedders
        self._parsers = parsers
        self._chunk_tokens = chunk_tokens
        self._chunk_overlap_tokens = chunk_overlap_tokens
        self._clock = clock

    def run(self, batch: Sequence[Job], should_stop: Callable[[], bool]) -> dict[Job, Exception | None]:
        """Bring the jobs' versions to `ready`, and tell what became of each: None, or what went wrong.

        That is `LeaseLost`, an `IngestionError` for what is wrong with the document, `Stopping`, or whatever goes wrong
        around it. An attempt goes on where the last one had stored its chunks.
        """
        outcomes: dict[Job, Exception | None] = {}
        prepared: list[Prepared] = []
        with self._database.read() as connection:
            found = documents.get_documents(connection, [job.document_id for job in batch])
            ids = {document.collection_id for document in found.values()}
            collections = {collection_id: get_collection_by_id(connection, collection_id) for collection_id in ids}
            chunkings = chunking_of(connection, found)
        for job in batch:
            try:
                document = found.get(job.document_id)
                if document is None or document.version != job.version:
                    raise LeaseLost
                collection, chunking = collections[document.collection_id], chunkings.get(document.id)
                prepared.append(self._prepare(job, document, collection, chunking))
            except Exception as error:
                outcomes[job] = error
        by_collection: dict[str, list[Prepared]] = {}
        for each in prepared:
            by_collection.setdefault(each.document.collection_id, []).append(each)
        for collection_id, of_collection in by_collection.items():
            try:
                outcomes.update(self._bring_to_ready(collections[collection_id], of_collection, should_stop))
            except Exception as error:  # of this collection: another model, or deleted meanwhile
                outcomes.update((each.job, error) for each in of_collection)
        return outcomes

    def _bring_to_ready(
        self, collection: Collection, prepared: Sequence[Prepared], should_stop: Callable[[], bool]
    ) -> dict[Job, Exception | None]:
        fresh = [each for each in prepared if each.chunks]
        if fresh:
            embedder = self._embedders.of(collection)
            self._store(collection.id, embedder.name, self._embed(collection, fresh, embedder, should_stop))
        with timed("publish"):
            self._projection.sync(collection.id)
        failpoint("index.synced")
        return self._make_live(prepared)

    def _prepare(self, job: Job, document: Document, collection: Collection, chunking: Chunking | None) -> Prepared:
        embedder = self._embedders.of(collection)
        chunking = chunking or Chunking(
            collection.setting("chunk_tokens", self._chunk_tokens),
            collection.setting("chunk_overlap_tokens", self._chunk_overlap_tokens),
        )
        if document.chunks:
            return Prepared(job, document)
        with timed("parse"):
            parsed = self._parsers.parse(
                self._blobs.path(document.sha256), document.media_type, document.filename, job.password
            )
        failpoint("job.parsed")
        if document.bytes >= _LARGE_BYTES:
            self._report([Prepared(job, document)], DocumentStatus.CHUNKING, 0)
        with timed("chunk"):
            text, spans = assemble(parsed.sections)
            chunks = chunk(
                text,
                spans,
                embedder.count_tokens,
                budget=min(chunking.tokens, embedder.max_tokens),
                overlap=chunking.overlap_tokens,
            )
        if not chunks:
            raise EmptyDocument
        chunks = with_page_labels(chunks, parsed.page_labels)
        return Prepared(job, document, text, parsed.pages, parsed.warnings, tuple(chunks), sign(text))

    def _embed(
        self,
        collection: Collection,
        prepared: Sequence[Prepared],
        embedder: Embedder,
        should_stop: Callable[[], bool],
    ) -> list[Embedded]:
        """The documents with the embeddings of their chunks; a text that the version before had keeps its own."""
        by_document = [_indexed_texts(each) for each in prepared]
        texts = [text for of_document in by_document for text in of_document]
        known = self._known(collection, prepared)
        vectors = np.empty((len(texts), embedder.dimension), dtype=np.float32)
        new = [i for i, text in enumerate(texts) if text not in known]
        for i, text in enumerate(texts):
            if text in known:
                vectors[i] = known[text]
        for at in range(0, len(new), _CHUNKS_PER_REPORT):
            if should_stop():
                raise Stopping
            part = new[at : at + _CHUNKS_PER_REPORT]
            self._report(prepared, DocumentStatus.EMBEDDING, part[0])
            with timed("embed"):
                vectors[part] = embedder.embed_documents([texts[i] for i in part])
        failpoint("job.embedded")
        parts = np.split(vectors, np.cumsum([len(each.chunks) for each in prepared])[:-1])
        return [
            Embedded(each, part, sum(text in known for text in of_document))
            for each, part, of_document in zip(prepared, parts, by_document, strict=True)
        ]

    def _known(self, collection: Collection, prepared: Sequence[Prepared]) -> Mapping[str, npt.NDArray[np.float16]]:
        before = [each.document.id for each in prepared if each.document.live_version is not None]
        if collection.space is None or not before:
            return {}
        with self._database.read() as connection:
            return live_embeddings(connection, collection.id, collection.space, before)

    def _store(self, collection_id: str, model: str, embedded: Sequence[Embedded]) -> None:
        """One transaction for all; a document whose lease is lost is left out."""
        with timed("store"), self._database.write() as connection:
            held = set(jobs.held(connection, [each.version.job for each in embedded]))
            contents = [
                VersionContent(
                    document_id=version.document.id,
                    version=version.job.version,
                    text=version.text,
                    pages=version.pages,
                    chunks=version.chunks,
                    embeddings=each.vectors,
                    warnings=version.warnings,
                    kept_embeddings=each.kept,
                    signature=version.signature,
                )
                for each in embedded
                if (version := each.version).job in held
            ]
            if contents:
                store_chunks(connection, collection_id, model, contents)
            jobs.forget_passwords(connection, list(held))
            failpoint("chunks.before_commit")
        failpoint("chunks.stored")

    def _make_live(self, prepared: Sequence[Prepared]) -> dict[Job, Exception | None]:
        outcomes: dict[Job, Exception | None] = {each.job: LeaseLost() for each in prepared}
        with self._database.write() as connection:
            held = jobs.held(connection, [each.job for each in prepared])
            # As they were read at the start: nobody but the holder of the lease makes a version live.
            ready = [each.document for each in prepared if each.job in held]
            documents.make_live(connection, ready, self._clock())
            warn_of_near_copies(connection, ready)
            jobs.finish(connection, held, self._clock())
            failpoint("live.before_commit")
        failpoint("live.committed")
        outcomes.update(dict.fromkeys(held))
        return outcomes

    def _report(self, prepared: Sequence[Prepared], status: DocumentStatus, done: int) -> None:
        """How far the documents have come, `done` counted over the chunks of all."""
        with self._database.write() as connection:
            held = set(jobs.held(connection, [each.job for each in prepared]))
            progress = []
            for each in prepared:
                total = len(each.chunks) or 1
                if each.job in held:
                    progress.append((each.document.id, min(max(done, 0), total), total))
                done -= total
            if not progress:
                raise LeaseLost
            documents.set_stage(connection, status, progress, self._clock())


def _indexed_texts(version: Prepared) -> list[str]:
    """What the embedder reads of each chunk, as the index will see it."""
    filename = version.document.filename
    return [indexed_text(filename, chunk.headings, chunk.header, chunk.text) for chunk in version.chunks]

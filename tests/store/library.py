"""Documents put into the truth without a worker: uploads, and chunks as the pipeline would store them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from app.embedding import Embedder
from app.embedding.models import HashingEmbedder
from app.signatures import sign
from app.store import documents, jobs
from app.store.blobs import BlobStore
from app.store.chunks import VersionContent, store_chunks
from app.store.database import Database
from app.store.uploads import Accepted, accept
from app.types import Chunk, Document, Job

NOW = 1_700_000_000.0  # any moment
EMBEDDER = HashingEmbedder()


class Library:
    """A database and its blobs, with the steps of a document's life as single calls."""

    def __init__(self, database: Database, blobs: BlobStore) -> None:
        self.database = database
        self.blobs = blobs

    def upload(
        self,
        content: bytes | str,
        *,
        collection: str = "default",
        filename: str = "note.txt",
        external_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        password: str | None = None,
    ) -> Accepted:
        data = content.encode() if isinstance(content, str) else content
        with self.blobs.writer(10_000_000) as writer:
            writer.write(data)
            return accept(
                self.database,
                self.blobs,
                writer.finish(),
                collection=collection,
                filename=filename,
                media_type="text/plain",
                external_id=external_id,
                metadata=metadata,
                password=password,
            )

    def claim(self, *, owner: str = "worker", now: float | None = None, max_attempts: int = 4) -> Job | None:
        now = time.time() if now is None else now
        with self.database.write() as connection:
            claimed = jobs.claim(connection, owner=owner, lease_seconds=30, max_attempts=max_attempts, now=now)
        return claimed[0] if claimed else None

    def store(self, job: Job, texts: Sequence[str], embedder: Embedder = EMBEDDER) -> int:
        """The chunks of a version, one a text, behind the fence."""
        pieces, at = [], 0
        for ordinal, text in enumerate(texts):
            pieces.append(Chunk(ordinal, at, at + len(text), text, None, (), len(text.split())))
            at += len(text) + 1
        with self.database.write() as connection:
            jobs.require_lease(connection, job)
            document = documents.get_document(connection, job.document_id)
            embeddings = embedder.embed_documents(list(texts))
            content = VersionContent(document.id, job.version, "\n".join(texts), None, pieces, embeddings)
            content = replace(content, signature=sign(content.text))
            return store_chunks(connection, document.collection_id, embedder.name, [content])

    def go_live(self, job: Job) -> None:
        with self.database.write() as connection:
            jobs.require_lease(connection, job)
            document = documents.get_document(connection, job.document_id)
            documents.make_live(connection, [document], time.time())
            jobs.finish(connection, [job], time.time())

    def ingest(self, content: str, *, texts: Sequence[str] | None = None, **fields: Any) -> str:
        """Upload, store and make live; the queue must be empty before. Returns the document's id."""
        document_id = self.upload(content, **fields).document.id
        job = self.claim()
        assert job is not None
        assert job.document_id == document_id
        self.store(job, texts or [content])
        self.go_live(job)
        return document_id

    def delete(self, document_id: str) -> None:
        with self.database.write() as connection:
            documents.delete_document(connection, document_id)

    def read(self, document_id: str) -> Document:
        with self.database.read() as connection:
            return documents.get_document(connection, document_id)

"""One batch of jobs through the pipeline: what is wrong with one must not reach the others."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.config import Settings
from app.embedding import Embedders
from app.errors import EmbeddingModelMismatch, EmptyDocument
from app.projection import Projection
from app.store import jobs
from app.store.blobs import BlobStore
from app.store.collections import create_collection
from app.store.database import Database
from app.store.spaces import bind_model
from app.types import DocumentStatus, Job
from ingest.pipeline import Pipeline
from ingest.sandbox import ParserPool
from tests.store.library import EMBEDDER, NOW, Library


@pytest.fixture
def library(database: Database, tmp_path: Path) -> Library:
    return Library(database, BlobStore(tmp_path / "blobs"))


@pytest.fixture
def pipeline(library: Library, settings: Settings) -> Iterator[Pipeline]:
    with ParserPool(1, settings.parse_limits) as parsers:
        yield Pipeline(
            database=library.database,
            blobs=library.blobs,
            projection=Projection(library.database, settings.index_dir),
            embedders=Embedders(EMBEDDER.name, lambda _: EMBEDDER),
            parsers=parsers,
            chunk_tokens=settings.chunk_tokens,
            chunk_overlap_tokens=settings.chunk_overlap_tokens,
        )


def claim_all(library: Library) -> list[Job]:
    with library.database.write() as connection:
        return jobs.claim(
            connection,
            owner="worker",
            lease_seconds=30,
            max_attempts=4,
            now=time.time(),
            most_jobs=10,
            most_bytes=1_000_000,
        )


def test_every_job_of_a_batch_has_an_outcome_of_its_own(library: Library, pipeline: Pipeline) -> None:
    """A collection of another model, and a document without text, fail by themselves; the rest becomes ready."""
    with library.database.write() as connection:
        bind_model(connection, create_collection(connection, "foreign", {}, NOW).id, "another", 3)
    foreign = library.upload("Of another model.", collection="foreign").document.id
    first = library.upload("The dome was built in 1921.").document.id
    blank = library.upload(" \n\n ").document.id
    second = library.upload("The dome closes at fifteen metres a second.").document.id

    batch = claim_all(library)
    outcomes = {job.document_id: outcome for job, outcome in pipeline.run(batch, lambda: False).items()}

    assert isinstance(outcomes.pop(foreign), EmbeddingModelMismatch)
    assert isinstance(outcomes.pop(blank), EmptyDocument)
    assert outcomes == {first: None, second: None}
    assert [library.read(each).status for each in (first, second)] == [DocumentStatus.READY] * 2

"""A job that breaks off goes on where it was; one whose document is deleted leaves nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import func, select

from app.bootstrap import Core, build_core
from app.config import Settings
from app.errors import LeaseLost
from app.store import jobs
from app.store.tables import bands, chunks, documents, versions
from app.types import DocumentStatus
from ingest.pipeline import Pipeline
from ingest.sections import Parsed, Section
from tests.store.library import Library

Act = Callable[[], object]
STAGES = ("parse", "embed", "publish")


class Stages:
    """The parts that a pipeline uses, each with something that happens before it does its work."""

    def __init__(self, core: Core, **acts: Act) -> None:
        self.done: list[str] = []
        self._core = core
        self._acts = acts

    def pipeline(self) -> Pipeline:
        return Pipeline(
            database=self._core.database,
            blobs=self._core.blobs,
            projection=self,  # type: ignore[arg-type]
            embedders=self,  # type: ignore[arg-type]
            parsers=self,  # type: ignore[arg-type]
            chunk_tokens=50,
            chunk_overlap_tokens=0,
        )

    def parse(self, *_: object) -> Parsed:
        self._begin("parse")
        return Parsed((Section("The lantern of the tower is lit. " * 40),))

    def of(self, collection: Any) -> Stages:
        self._embedder = self._core.embedders.of(collection)
        return self

    def __getattr__(self, name: str) -> Any:
        return getattr(self._embedder, name)

    def embed_documents(self, texts: list[str]) -> Any:
        self._begin("embed")
        return self._embedder.embed_documents(texts)

    def sync(self, collection_id: str) -> None:
        self._begin("publish")
        self._core.projection.sync(collection_id)

    def _begin(self, stage: str) -> None:
        self._acts.get(stage, lambda: None)()
        self.done.append(stage)


@pytest.fixture
def core(settings: Settings) -> Iterator[Core]:
    with build_core(settings) as core:
        core.embedders.start().wait()
        yield core


def fail() -> None:
    raise RuntimeError("the disk was busy")


@pytest.mark.parametrize(
    ("stage", "again"), [("parse", STAGES), ("embed", STAGES), ("publish", ("publish",))], ids=STAGES
)
def test_a_retry_goes_on_where_it_failed(core: Core, stage: str, again: tuple[str, ...]) -> None:
    """What was read and embedded is stored together, and neither is done a second time."""
    library = Library(core.database, core.blobs)
    document_id = library.upload("Words.", password="a green lantern").document.id
    job = library.claim()
    assert job is not None
    (problem,) = Stages(core, **{stage: fail}).pipeline().run([job], lambda: False).values()
    assert isinstance(problem, RuntimeError)
    with core.database.write() as connection:
        jobs.fail(connection, job, "internal_error", "The disk was busy.", time.time())
        jobs.revive(connection, document_id, 1, time.time())
    retried = library.claim()
    assert retried is not None
    stages = Stages(core)
    assert stages.pipeline().run([retried], lambda: False) == {retried: None}
    assert tuple(stages.done) == again
    assert library.read(document_id).status is DocumentStatus.READY


@pytest.mark.parametrize("stage", STAGES)
def test_a_document_that_is_deleted_in_the_middle_of_its_job(core: Core, stage: str) -> None:
    """In whatever stage: its job ends without harm, and neither a row nor a passage is left of it."""
    library = Library(core.database, core.blobs)
    document_id = library.upload("Words.").document.id
    job = library.claim()
    assert job is not None
    stages = Stages(core, **{stage: lambda: library.delete(document_id)})
    (outcome,) = stages.pipeline().run([job], lambda: False).values()
    assert isinstance(outcome, LeaseLost)
    with core.database.read() as connection:
        for table in (documents, versions, chunks, bands):
            assert connection.scalar(select(func.count()).select_from(table)) == 0, table.name
    assert library.claim() is None

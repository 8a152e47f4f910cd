"""Whatever happens in whatever order, the store agrees with a model of a few lines."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import Phase
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from app.errors import InvalidFilter, LeaseLost
from app.index.idset import IdSet
from app.projection import Projection
from app.store import documents, jobs
from app.store.blobs import BlobStore
from app.store.chunks import chunk_ids, removals_after
from app.store.collections import ensure_default_collection, get_collection
from app.store.database import Database
from app.store.filters import compile_filter
from app.store.uploads import sweep_blobs
from app.types import DocumentStatus, Job
from tests.store.library import NOW, Library

TEXTS = st.sampled_from(["alpha", "beta", "gamma", "delta"])
NAMES = st.sampled_from(["x", "y"])
METADATA = st.sampled_from([None, {}, {"colour": "red"}, {"colour": "blue"}])


class _Known:
    """What the model knows of a document."""

    def __init__(self, name: str | None, text: str) -> None:
        self.name = name
        self.version = 1
        self.newest = text
        self.live: str | None = None
        self.failed = False


class StoreMachine(RuleBasedStateMachine):
    """Uploads, claims, stores, publishes, failures and deletions, mixed as they come."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.database = Database(f"sqlite:///{self.folder.name}/truth.db")
        self.database.migrate()
        with self.database.write() as connection:
            ensure_default_collection(connection, NOW)
        self.library = Library(self.database, BlobStore(Path(self.folder.name) / "blobs"))
        self.projection = Projection(self.database, Path(self.folder.name) / "index")
        self.known: dict[str, _Known] = {}
        self.leased: list[Job] = []
        self.stored: set[tuple[str, int]] = set()

    def teardown(self) -> None:
        self.database.close()
        self.folder.cleanup()

    def is_current(self, job: Job) -> bool:
        known = self.known.get(job.document_id)
        return known is not None and known.version == job.version

    @rule(text=TEXTS, name=st.one_of(st.none(), NAMES), metadata=METADATA)
    def upload(self, text: str, name: str | None, metadata: dict[str, str] | None) -> None:
        accepted = self.library.upload(text, external_id=name, metadata=metadata)
        key = accepted.document.id
        same_name = [key for key, known in self.known.items() if name and known.name == name]
        same_text = [key for key, known in self.known.items() if known.newest == text]
        if same_name and self.known[same_name[0]].newest != text:
            assert (key, accepted.duplicate) == (same_name[0], False)
            self.known[key].version += 1
            self.known[key].newest, self.known[key].failed = text, False
        elif same_name or same_text:
            assert key in (same_name or same_text)
            assert accepted.duplicate
            self.known[key].failed = False
        else:
            assert not accepted.duplicate
            self.known[key] = _Known(name, text)

    @rule()
    def claim(self) -> None:
        job = self.library.claim()
        if job is not None:
            assert self.is_current(job)
            self.leased.append(job)

    @precondition(lambda self: self.leased)
    @rule(data=st.data())
    def publish(self, data: st.DataObject) -> None:
        job = self.leased.pop(data.draw(st.integers(0, len(self.leased) - 1)))
        if not self.is_current(job):
            with pytest.raises(LeaseLost):
                self.library.store(job, ["stale"])
            return
        known = self.known[job.document_id]
        if (job.document_id, job.version) not in self.stored:
            self.library.store(job, [known.newest, "end"])
            self.stored.add((job.document_id, job.version))
        self.library.go_live(job)
        known.live = known.newest

    @precondition(lambda self: self.leased)
    @rule(data=st.data(), gently=st.booleans())
    def stop(self, data: st.DataObject, gently: bool) -> None:
        job = self.leased.pop(data.draw(st.integers(0, len(self.leased) - 1)))
        is_current = self.is_current(job)
        try:
            with self.database.write() as connection:
                if gently:
                    jobs.release(connection, job, NOW)
                else:
                    jobs.fail(connection, job, "unreadable_document", "It is damaged.", NOW)
        except LeaseLost:
            assert not is_current
        else:
            assert is_current
            self.known[job.document_id].failed = not gently

    @precondition(lambda self: self.known)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(list(self.known)))  # by age: ids are random, and a run must repeat
        self.library.delete(key)
        del self.known[key]

    @rule()
    def sweep(self) -> None:
        sweep_blobs(self.database, self.library.blobs)
        with self.database.read() as connection:
            needed = {sha256 for sha256 in self.library.blobs.stored() if documents.is_blob_used(connection, sha256)}
        assert needed == set(self.library.blobs.stored())

    @invariant()
    def agrees(self) -> None:
        with self.database.read() as connection:
            found = documents.list_documents(connection, collection_id=None, status=None, limit=99, after=None)
            collection = get_collection(connection, "default")
            ids = set(chunk_ids(connection, collection.id).tolist())
            removed = set(removals_after(connection, collection.id, 0, collection.sequence))
            live = documents.live_ranges(connection, collection.id)
            texts = {d.id: documents.live_text(connection, d.id)[1] for d in found if d.live_version}
        assert {d.id: (d.version, d.external_id) for d in found} == {
            key: (known.version, known.name) for key, known in self.known.items()
        }
        assert {d.id for d in found if d.status is DocumentStatus.FAILED} == {
            key for key, known in self.known.items() if known.failed
        }
        assert texts == {key: f"{known.live}\nend" for key, known in self.known.items() if known.live}
        assert all(set(range(first, first + count)) <= ids for first, count in live)
        assert not removed & ids
        assert max(ids | removed, default=0) <= collection.sequence
        assert all(self.library.blobs.path(d.sha256).exists() for d in found)

    @invariant()
    def what_may_be_found_follows(self) -> None:
        """What is remembered and changed with the collection is what is read anew, also under a filter."""
        with self.database.read() as connection:
            collection = get_collection(connection, "default")
            for filters in (None, {"colour": "red"}):
                try:
                    conditions = [compile_filter(connection, collection.id, filters)] if filters else []
                except InvalidFilter:  # nobody has a colour
                    continue
                followed = self.projection.allowed(connection, collection, filters)
                anew = IdSet(documents.live_ranges(connection, collection.id, conditions))
                assert followed.ids.tolist() == anew.ids.tolist()


TestStore = StoreMachine.TestCase
TestStore.settings = hypothesis_settings(
    max_examples=60,
    stateful_step_count=25,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],  # to explain a failure takes minutes
)

"""Another embedding model for a collection: everything is embedded and indexed beside what answers, then it switches.

Documents may come and go meanwhile. What was there before stays until `prune`, so the way back is the same way, and
short: only what came since has to be embedded. A reindex that is interrupted goes on where it was.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from app.bootstrap import Core
from app.embedding import Embedder
from app.errors import Conflict, EmbeddingModelChanged, IndexUnavailable, InvalidRequest
from app.failpoints import failpoint
from app.index.durable import exclusive
from app.store import spaces
from app.store.collections import get_collection, lock_collection
from app.store.spaces import Space
from app.types import Collection

Progress = Callable[[str, int, int], None]  # what is done, how much of it, of how much; 0 where nobody knows

_LOCK = "reindex.lock"
_CHUNKS_TOGETHER = 256
_FEW = 32  # chunks that may be embedded while nobody else can write


def reindex(core: Core, name: str, model: str, progress: Progress) -> bool:
    """Give a collection the embeddings of another model; False when it has that model already.

    Raises `CollectionNotFound`, `ConfigurationError` (there is no such model), `Conflict` (another one is at it),
    `StorageFull`.
    """
    with _alone(core):
        collection = _collection(core, name)
        if collection.embedding_model == model:
            return False
        if collection.space is None:
            raise InvalidRequest(
                f"Collection {name!r} holds nothing yet: its first document is embedded with the configured model."
            )
        _Reindex(core, collection, model, progress).run()
    return True


def roll_back(core: Core, name: str, progress: Progress) -> str:
    """Return to the model that answered before, whose name is returned. Raises as `reindex` does."""
    with core.database.read() as connection:
        before = spaces.previous(connection, get_collection(connection, name))
    if before is None:
        raise InvalidRequest(f"Collection {name!r} has no earlier model to go back to.")
    reindex(core, name, before.model, progress)
    return before.model


def prune(core: Core, name: str, progress: Progress) -> None:
    """Remove the embeddings and indexes of all models but the one that answers. Raises `CollectionNotFound`."""
    with _alone(core):
        collection = _collection(core, name)
        done = 0
        while True:
            with core.database.write() as connection:
                count = spaces.prune(connection, lock_collection(connection, collection.id), _CHUNKS_TOGETHER)
            if not count:
                break
            done += count
            progress("removing", done, 0)
        core.projection.sweep()


@contextmanager
def _alone(core: Core) -> Iterator[None]:
    with ExitStack() as stack:
        try:
            stack.enter_context(exclusive(core.settings.data_dir / _LOCK, 0))
        except IndexUnavailable as error:
            raise Conflict("Another reindex is going on in this data directory.") from error
        yield


def _collection(core: Core, name: str) -> Collection:
    with core.database.read() as connection:
        return get_collection(connection, name)


class _Reindex:
    def __init__(self, core: Core, collection: Collection, model: str, progress: Progress) -> None:
        self._core = core
        self._collection_id = collection.id
        self._model = model
        self._progress = progress

    def run(self) -> None:
        self._progress("loading the model", 0, 0)
        embedder = self._core.embedders.get(self._model).wait()
        with self._core.database.write() as connection:
            collection = lock_collection(connection, self._collection_id)
            space = spaces.begin(connection, collection, embedder.name, embedder.dimension)
        failpoint("reindex.begun")
        # The same collection as it will be.
        future = replace(collection, space=space.number, embedding_dimension=space.dimension)
        while True:
            self._embed(space, embedder)
            self._index(future)
            if self._switch(space, embedder):
                break
        failpoint("reindex.switched")
        self._core.projection.sync(self._collection_id)

    def _embed(self, space: Space, embedder: Embedder) -> None:
        with self._core.database.read() as connection:
            total = spaces.count_unembedded(connection, self._collection_id, space.number)
        done, after = 0, -1
        while True:
            with self._core.database.read() as connection:
                found = spaces.unembedded(
                    connection, self._collection_id, space.number, after=after, limit=_CHUNKS_TOGETHER
                )
            if not found:
                return
            self._progress("embedding", done, max(done, total))
            vectors = embedder.embed_documents([chunk.text for chunk in found])
            with self._core.database.write() as connection:
                lock_collection(connection, self._collection_id)
                spaces.add_embeddings(connection, self._collection_id, space.number, [c.id for c in found], vectors)
            failpoint("reindex.stored")
            done, after = done + len(found), found[-1].id

    def _index(self, future: Collection) -> None:
        """Everything up to the first chunk that came meanwhile."""
        self._progress("indexing", 0, 0)
        assert future.space is not None  # noqa: S101 - it was begun
        with self._core.database.read() as connection:
            first = spaces.first_unembedded(connection, self._collection_id, future.space)
        self._core.projection.follow(future, None if first is None else first - 1)
        while self._core.projection.merge_one(future, lambda: False):
            self._progress("merging", 0, 0)
        failpoint("reindex.indexed")

    def _switch(self, space: Space, embedder: Embedder) -> bool:
        """In one transaction with the last embeddings; False when more than a few are missing."""
        with self._core.database.write() as connection:
            collection = lock_collection(connection, self._collection_id)
            if collection.next_model != space.model:
                raise EmbeddingModelChanged
            rest = spaces.unembedded(connection, self._collection_id, space.number, after=-1, limit=_FEW + 1)
            if len(rest) > _FEW:
                return False
            if rest:
                vectors = embedder.embed_documents([chunk.text for chunk in rest])
                spaces.add_embeddings(connection, self._collection_id, space.number, [c.id for c in rest], vectors)
            spaces.switch(connection, collection, space.number, time.time())
            failpoint("reindex.before_commit")
        return True

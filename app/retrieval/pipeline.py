"""A query → the best passages: both legs, fusion, hydration from the truth."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import anyio.to_thread
from anyio import CapacityLimiter

from app.cores import available_cores
from app.embedding import BatchingEmbedder
from app.embedding.batching import Vector
from app.errors import EmbeddingModelMismatch, IndexDamaged
from app.index.idset import IdSet
from app.index.protocol import Hit
from app.projection import Projection
from app.retrieval.fusion import Candidate, fuse
from app.store.chunks import StoredChunk, live_chunks
from app.store.collections import get_collection
from app.store.database import Database
from app.telemetry import timed
from app.types import Collection, Passage, Scores

# Half, when the embedder knows every token of the query: the best measured on English (docs/decisions/0004).
DENSE_WEIGHT = 0.5
# Searches that run at once: more threads than cores only take Python's lock from each other.
_CONCURRENT_SEARCHES = max(2, available_cores())


class _IndexUnready(Exception):
    """The index must be mended before it can be searched."""

    def __init__(self, mend: Callable[[], None]) -> None:
        self.mend = mend


@dataclass(frozen=True, slots=True)
class Retrieval:
    """What one query found."""

    query: str
    passages: tuple[Passage, ...]  # best first
    coverage: float  # of the query by the embedder
    timings_ms: Mapping[str, float]  # embed, search
    explain: Mapping[str, Any] | None = None


class Retriever:
    """Searches one collection at a time."""

    def __init__(
        self, *, database: Database, projection: Projection, embedder: BatchingEmbedder, top_k: int, candidates: int
    ) -> None:
        """`top_k` passages from so many `candidates` of each leg, unless the collection says otherwise."""
        self._database = database
        self._projection = projection
        self._embedder = embedder
        self._top_k = top_k
        self._candidates = candidates
        self._limiter: CapacityLimiter | None = None

    async def retrieve(
        self,
        query: str,
        *,
        collection: str,
        top_k: int | None = None,
        filters: Mapping[str, Any] | None = None,
        explain: bool = False,
    ) -> Retrieval:
        """The best `top_k` passages of the collection of that name.

        Raises `CollectionNotFound`, `InvalidFilter`, `EmbedderUnavailable`, `EmbeddingModelMismatch`.
        """
        if self._limiter is None:  # made inside the event loop that it belongs to
            self._limiter = CapacityLimiter(_CONCURRENT_SEARCHES)
        timings: dict[str, float] = {}
        with timed("embed", timings):
            vector = await self._embedder.embed_query(query)

        def search(*, is_last_try: bool) -> Retrieval:
            return self._search(
                query, vector, collection, top_k, filters, timings, explain=explain, is_last_try=is_last_try
            )

        try:
            return await anyio.to_thread.run_sync(lambda: search(is_last_try=False), limiter=self._limiter)
        except _IndexUnready as unready:
            # Outside of the limit: it may take long, and searches of other collections go on.
            await anyio.to_thread.run_sync(unready.mend)
        return await anyio.to_thread.run_sync(lambda: search(is_last_try=True), limiter=self._limiter)

    def _search(
        self,
        query: str,
        vector: Vector,
        name: str,
        top_k: int | None,
        filters: Mapping[str, Any] | None,
        timings: dict[str, float],
        *,
        explain: bool,
        is_last_try: bool,
    ) -> Retrieval:
        with timed("search", timings), self._database.read() as connection:
            # In one snapshot: the collection's sequence tells what is live in it.
            collection = get_collection(connection, name)
            self._require_same_model(collection)
            coverage = self._embedder.coverage(query)
            weight = collection.settings.get("dense_weight")
            dense_weight = DENSE_WEIGHT * coverage if weight is None else float(weight)
            top_k = top_k or int(collection.settings.get("top_k") or self._top_k)
            allowed = self._projection.allowed(connection, collection, filters)
            dense, lexical = self._search_legs(query, vector, collection, allowed, is_last_try=is_last_try)
            candidates = fuse(dense, lexical, dense_weight, limit=None if explain else top_k)
            stored = live_chunks(connection, collection.id, [candidate.id for candidate in candidates])
        passages = tuple(_passage(stored[c.id], c) for c in candidates if c.id in stored)
        return Retrieval(
            query=query,
            passages=passages[:top_k],
            coverage=coverage,
            timings_ms=timings,
            explain=_explain(candidates, stored, top_k, dense_weight, coverage) if explain else None,
        )

    def _search_legs(
        self, query: str, vector: Vector, collection: Collection, allowed: IdSet, *, is_last_try: bool
    ) -> tuple[list[Hit], list[Hit]]:
        index = self._projection.index(collection)
        if index is None or not len(allowed):
            return [], []
        limit = int(collection.settings.get("candidates") or self._candidates)
        try:
            snapshot = index.snapshot()
            if snapshot.sequence < allowed.last and not is_last_try:
                # A version goes live only after the index has it: the folder was lost, or an old copy put back.
                raise _IndexUnready(partial(self._projection.sync, collection.id))
            return snapshot.search_dense(vector, limit, allowed), snapshot.search_lexical(query, limit, allowed)
        except IndexDamaged as error:
            if is_last_try:
                raise
            raise _IndexUnready(partial(self._projection.heal, collection.id)) from error

    def _require_same_model(self, collection: Collection) -> None:
        if collection.embedding_model not in (None, self._embedder.name):
            raise EmbeddingModelMismatch(
                f"Collection {collection.name!r} was embedded with {collection.embedding_model}; "
                f"the configured model is {self._embedder.name}."
            )


def _passage(stored: StoredChunk, candidate: Candidate) -> Passage:
    chunk = stored.chunk
    return Passage(
        document_id=stored.document_id,
        version=stored.version,
        chunk_id=stored.chunk_id,
        filename=stored.filename,
        page=chunk.page,
        headings=chunk.headings,
        start=chunk.start,
        end=chunk.end,
        text=chunk.text,
        score=candidate.score,
        scores=Scores(dense=candidate.dense, lexical=candidate.lexical),
        page_breaks=chunk.page_breaks,
    )


def _explain(
    candidates: Sequence[Candidate],
    stored: Mapping[int, StoredChunk],
    top_k: int,
    dense_weight: float,
    coverage: float,
) -> dict[str, Any]:
    """Every candidate of every leg, with its scores and the reason why it was dropped."""
    rows = []
    kept = 0
    for candidate in candidates:
        found = stored.get(candidate.id)
        if found is None:
            dropped = "its document was deleted or replaced"
        elif kept < top_k:
            kept += 1
            dropped = None
        else:
            dropped = f"ranked below the best {top_k}"
        rows.append(
            {
                "chunk_id": found.chunk_id if found else None,
                "filename": found.filename if found else None,
                "score": candidate.score,
                "dense": candidate.dense,
                "lexical": candidate.lexical,
                "dropped": dropped,
            }
        )
    return {"dense_weight": dense_weight, "coverage": coverage, "candidates": rows}

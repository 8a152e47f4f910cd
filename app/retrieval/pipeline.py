"""A query → the best passages: both legs, fusion, hydration from the truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import anyio.to_thread
import numpy as np
from anyio import CapacityLimiter

from app.embedding import Embedder
from app.errors import EmbeddingModelMismatch, IndexDamaged
from app.index.idset import IdSet
from app.index.protocol import Hit
from app.projection import Projection
from app.retrieval.fusion import Candidate, fuse
from app.store.chunks import StoredChunk, live_chunks
from app.store.collections import get_collection_by_id
from app.store.database import Database
from app.telemetry import timed
from app.types import Collection, Passage, Scores

# Half, when the embedder knows every token of the query: the best measured on English (docs/decisions/0004).
DENSE_WEIGHT = 0.5
# Searches that run at once; the rest wait for a thread, not for a core.
_CONCURRENT_SEARCHES = 16


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

    def __init__(self, *, database: Database, projection: Projection, embedder: Embedder, candidates: int) -> None:
        """`candidates`: how many each leg contributes, unless the collection says otherwise."""
        self._database = database
        self._projection = projection
        self._embedder = embedder
        self._candidates = candidates
        self._limiter: CapacityLimiter | None = None

    async def retrieve(
        self,
        query: str,
        *,
        collection: Collection,
        top_k: int,
        filters: Mapping[str, Any] | None = None,
        explain: bool = False,
    ) -> Retrieval:
        """The best `top_k` passages. Raises `InvalidFilter`, `EmbedderUnavailable`, `EmbeddingModelMismatch`."""
        if self._limiter is None:  # made inside the event loop that it belongs to
            self._limiter = CapacityLimiter(_CONCURRENT_SEARCHES)
        return await anyio.to_thread.run_sync(
            lambda: self.search(query, collection=collection, top_k=top_k, filters=filters, explain=explain),
            limiter=self._limiter,
        )

    def search(
        self,
        query: str,
        *,
        collection: Collection,
        top_k: int,
        filters: Mapping[str, Any] | None = None,
        explain: bool = False,
    ) -> Retrieval:
        """The same, in the calling thread."""
        timings: dict[str, float] = {}
        with timed("embed", timings):
            self._require_same_model(collection)
            vector = self._embedder.embed_queries([query])[0]
            coverage = self._embedder.coverage(query)
        with timed("search", timings):
            weight = collection.settings.get("dense_weight")
            dense_weight = DENSE_WEIGHT * coverage if weight is None else float(weight)
            with self._database.read() as connection:
                # Read again: its sequence tells what is live now, not when the request came.
                collection = get_collection_by_id(connection, collection.id)
                allowed = self._projection.allowed(connection, collection, filters)
                dense, lexical = self._search_legs(query, vector, collection, allowed)
                candidates = fuse(dense, lexical, dense_weight)
                wanted = candidates if explain else candidates[:top_k]
                stored = live_chunks(connection, collection.id, [candidate.id for candidate in wanted])
        passages = tuple(_passage(stored[c.id], c) for c in wanted if c.id in stored)
        return Retrieval(
            query=query,
            passages=passages[:top_k],
            coverage=coverage,
            timings_ms=timings,
            explain=_explain(candidates, stored, top_k, dense_weight, coverage) if explain else None,
        )

    def _search_legs(
        self, query: str, vector: np.ndarray[Any, np.dtype[np.float32]], collection: Collection, allowed: IdSet
    ) -> tuple[list[Hit], list[Hit]]:
        index = self._projection.index(collection)
        if index is None or not len(allowed):
            return [], []
        limit = int(collection.settings.get("candidates") or self._candidates)

        try:
            if index.checkpoint() < allowed.last:
                # A version goes live only after the index has it: the folder was lost, or an old copy put back.
                self._projection.sync(collection.id)
            return index.search_dense(vector, limit, allowed), index.search_lexical(query, limit, allowed)
        except IndexDamaged:
            self._projection.heal(collection.id)
        return index.search_dense(vector, limit, allowed), index.search_lexical(query, limit, allowed)

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

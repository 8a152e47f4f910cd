"""A query → the best passages: both legs, fusion, hydration from the truth."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import anyio.to_thread
import numpy as np
from anyio import CapacityLimiter

from app.cores import available_cores
from app.embedding import Embedders, Vector
from app.errors import EmbeddingModelChanged, IndexDamaged, IndexUnavailable
from app.index.idset import IdSet
from app.index.protocol import NO_TERMS, Hit, IndexSnapshot, TermFrequencies
from app.projection import Projection
from app.retrieval.fusion import Candidate, fuse
from app.retrieval.joining import Joined
from app.retrieval.passages import passage_of
from app.retrieval.reranking import RERANK_BUDGET_MS, RERANKED, Reranker
from app.retrieval.together import Together
from app.store.chunks import StoredChunk, live_chunks
from app.store.collections import get_collection
from app.store.database import Database
from app.telemetry import timed
from app.types import Collection, Passage, Scores

# Half, when the embedder knows every token of the query: the best measured on English (docs/decisions/0004).
DENSE_WEIGHT = 0.5
CANDIDATES = 60  # of each leg
_SEARCHED_TOGETHER = 8  # the first of more would wait too long for the last
_MENDERS = 2
_MOST_MODELS = 3  # that are tried, where a collection's model changes under a search


class _IndexUnready(Exception):
    """The index must be mended before it can be searched."""

    def __init__(self, mend: Callable[[], None]) -> None:
        self.mend = mend


class _OtherModel(Exception):
    """The collection's model is not the one that has embedded the query."""

    def __init__(self, model: str) -> None:
        self.model = model


@dataclass(frozen=True, slots=True)
class Legs:
    """What a search tells beside its passages, for `app.answering.confidence`."""

    frequencies: TermFrequencies = NO_TERMS  # of the query's
    dense: tuple[float, ...] = ()  # scores of the leg, best first
    lexical: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Retrieval:
    """What one query found."""

    query: str
    passages: tuple[Passage, ...]  # best first
    coverage: float  # of the query by the embedder
    timings_ms: Mapping[str, float]  # embed, search, rerank
    explain: Mapping[str, Any] | None = None
    legs: Legs = Legs()
    joined: tuple[Joined, ...] = ()  # the passages with their neighbours, where `Reader.join` has added these

    @property
    def sources(self) -> tuple[Passage, ...]:
        """What an answer is made from: the joined passages, or those that were found."""
        return tuple(each.wide for each in self.joined) or self.passages


@dataclass(frozen=True, slots=True)
class _Request:
    query: str
    model: str
    vector: Vector
    coverage: float
    collection: str
    top_k: int | None
    filters: Mapping[str, Any] | None
    explain: bool
    depth: int = 0  # passages to read at least, for the reranker to choose from
    is_last_try: bool = False


@dataclass(frozen=True, slots=True)
class _Search:
    """A request, and what it searches."""

    request: _Request
    collection: Collection
    index: IndexSnapshot | None  # None where there is nothing to find
    allowed: IdSet
    limit: int  # candidates of each leg
    top_k: int


@dataclass(frozen=True, slots=True)
class _Found:
    """What both legs found, before the passages themselves are read."""

    search: _Search
    dense_weight: float
    candidates: Sequence[Candidate]
    legs: Legs


@dataclass(frozen=True, slots=True)
class _Ranked:
    """A retrieval in the fused order, with as many passages as the reranker may see."""

    retrieval: Retrieval
    top_k: int
    rerank_budget_ms: float


class Retriever:
    """Searches one collection at a time."""

    def __init__(
        self,
        *,
        database: Database,
        projection: Projection,
        embedders: Embedders,
        top_k: int,
        reranker: Reranker | None = None,
    ) -> None:
        """`top_k` passages, unless the collection says otherwise."""
        self.reranker = reranker
        self._database = database
        self._projection = projection
        self._embedders = embedders
        self._models: dict[str, str] = {}  # of the collections that have another one than the configured, by name
        self._top_k = top_k
        self._mending = CapacityLimiter(_MENDERS)  # who waits for one must not take the threads of all requests
        shares = max(1, available_cores() // 2)
        threads = max(2, shares)  # one long search must not keep the others waiting
        self._searches = Together(self._search_all, threads=threads, shares=shares, most=_SEARCHED_TOGETHER)
        self._dense_leg = ThreadPoolExecutor(threads, thread_name_prefix="dense")

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
        for _ in range(_MOST_MODELS):
            try:
                return await self._retrieve(query, collection, top_k, filters, explain)
            except _OtherModel as other:  # it was reindexed, or made anew
                self._models[collection] = other.model
        raise EmbeddingModelChanged

    async def similarities(self, query: str, texts: Sequence[str], *, collection: Collection) -> Sequence[float]:
        """Cosines of a query that was searched for to texts, by the collection's embedder.

        Raises `EmbedderUnavailable`, `EmbeddingModelMismatch`.
        """
        embedder = self._embedders.of(collection)
        vector = await embedder.embed_query(query)
        similarities: list[float] = (await embedder.embed_texts(texts) @ vector).tolist()
        return similarities

    async def _retrieve(
        self, query: str, collection: str, top_k: int | None, filters: Mapping[str, Any] | None, explain: bool
    ) -> Retrieval:
        timings: dict[str, float] = {}
        model = self._models.get(collection, self._embedders.configured)
        embedder = self._embedders.get(model)
        with embedder.asking():
            with timed("embed", timings):
                vector = await embedder.embed_query(query)
            depth = RERANKED if self.reranker is not None else 0
            coverage = embedder.coverage(query)
            request = _Request(query, model, vector, coverage, collection, top_k, filters, explain, depth)
            with timed("search", timings):
                try:
                    found = await self._searches.ask(request)
                except _IndexUnready as unready:
                    # In a thread of its own: it may take long, and searches of other collections go on.
                    await anyio.to_thread.run_sync(unready.mend, limiter=self._mending)
                    found = await self._search_again(request)
        if self.reranker is None:
            return replace(found.retrieval, timings_ms=timings)
        with timed("rerank", timings):
            reranked = await self._rerank(self.reranker, found)
        return replace(reranked, timings_ms=timings)

    async def _rerank(self, reranker: Reranker, found: _Ranked) -> Retrieval:
        retrieval, top_k = found.retrieval, found.top_k
        done = await reranker.rerank(retrieval.query, retrieval.passages, found.rerank_budget_ms)
        explain = retrieval.explain
        if explain is not None:
            explain = {**explain, "rerank": {"budget_ms": found.rerank_budget_ms, "problem": done.problem}}
            if done.problem is None:
                explain["candidates"] = [_reranked_row(row, done.passages, top_k) for row in explain["candidates"]]
        return replace(retrieval, passages=done.passages[:top_k], explain=explain)

    async def _search_again(self, request: _Request) -> _Ranked:
        try:
            return await self._searches.ask(replace(request, is_last_try=True))
        except _IndexUnready as unready:
            raise IndexUnavailable from unready

    def _search_all(self, requests: Sequence[_Request]) -> list[_Ranked | Exception]:
        try:
            return list(self._search_together(requests))
        except Exception as error:
            if len(requests) == 1:
                return [error]
        return [self._search_all([request])[0] for request in requests]

    def _search_together(self, requests: Sequence[_Request]) -> list[_Ranked]:
        """In one snapshot of the database: a collection's sequence tells what is live in it."""
        names = {request.collection for request in requests}
        for is_second in (False, True):
            with self._database.read() as connection:
                collections = {name: get_collection(connection, name) for name in names}
                if is_second or all(map(self._is_open, collections.values())):
                    indexes = {name: self._open(collection) for name, collection in collections.items()}
                    searches = []
                    for request in requests:
                        collection, index = collections[request.collection], indexes[request.collection]
                        self._require_its_model(request, collection)
                        allowed = self._projection.allowed(connection, collection, request.filters)
                        searches.append(self._prepare(request, collection, index, allowed))
                    # Both legs at once: FAISS and tantivy do without Python's lock for most of the time.
                    dense = self._dense_leg.submit(self._search_dense, searches)
                    try:
                        lexical = list(map(self._search_lexical, searches))
                    finally:
                        wait([dense])  # it must not outlive this search
                    found = [_fused(*each) for each in zip(searches, dense.result(), lexical, strict=True)]
                    for name, index in indexes.items():
                        self._confirm(collections[name], index)
                    stored = {
                        collection.id: live_chunks(
                            connection,
                            collection.id,
                            list(
                                {
                                    c.id
                                    for each in found
                                    if each.search.collection is collection
                                    for c in each.candidates
                                }
                            ),
                        )
                        for collection in collections.values()
                    }
                    break
            # Outside the snapshot, which would be old when a large generation has been opened.
            for collection in collections.values():
                self._open(collection)
        return [_ranked(each, stored[each.search.collection.id]) for each in found]

    def _prepare(
        self, request: _Request, collection: Collection, index: IndexSnapshot | None, allowed: IdSet
    ) -> _Search:
        if index is not None and len(allowed) and index.sequence < allowed.last and not request.is_last_try:
            # A version goes live only after the index has it: the folder was lost, or an old copy put back.
            raise _IndexUnready(partial(self._projection.catch_up, collection.id))
        return _Search(
            request,
            collection,
            index=index if len(allowed) else None,
            allowed=allowed,
            limit=collection.setting("candidates", CANDIDATES),
            top_k=request.top_k or collection.setting("top_k", self._top_k),
        )

    def _search_dense(self, searches: Sequence[_Search]) -> list[Sequence[Hit]]:
        """For each search; those that look for their own among the same chunks look together."""
        hits: list[Sequence[Hit]] = [()] * len(searches)
        alike: dict[tuple[str, IdSet], list[int]] = {}
        for at, each in enumerate(searches):
            alike.setdefault((each.collection.id, each.allowed), []).append(at)
        for places in alike.values():
            one = searches[places[0]]
            if one.index is not None:
                vectors = np.stack([searches[at].request.vector for at in places])
                with self._healing(one.collection):
                    found = one.index.search_dense_together(vectors, one.limit, one.allowed)
                for at, its in zip(places, found, strict=True):
                    hits[at] = its
        return hits

    def _search_lexical(self, search: _Search) -> tuple[Sequence[Hit], TermFrequencies]:
        if search.index is None:
            return (), NO_TERMS
        with self._healing(search.collection):
            hits = search.index.search_lexical(search.request.query, search.limit, search.allowed)
            return hits, search.index.term_frequencies(search.request.query)

    @contextmanager
    def _healing(self, collection: Collection) -> Iterator[None]:
        try:
            yield
        except IndexDamaged as error:
            raise _IndexUnready(partial(self._projection.heal, collection.id)) from error

    def _confirm(self, collection: Collection, index: IndexSnapshot | None) -> None:
        if index is not None:
            with self._healing(collection):
                index.confirm()

    def _is_open(self, collection: Collection) -> bool:
        index = self._projection.index(collection)
        try:
            return index is None or index.is_open()
        except IndexDamaged:
            return False  # to open it tells why

    def _open(self, collection: Collection) -> IndexSnapshot | None:
        index = self._projection.index(collection)
        with self._healing(collection):
            return None if index is None else index.snapshot()

    def _require_its_model(self, request: _Request, collection: Collection) -> None:
        model = self._embedders.model_of(collection)
        if collection.next_model is not None:
            self._embedders.get(collection.next_model)  # so that it is there when it takes over
        if request.model != model:
            raise _OtherModel(model)


def _fused(search: _Search, dense: Sequence[Hit], words: tuple[Sequence[Hit], TermFrequencies]) -> _Found:
    request, (lexical, frequencies) = search.request, words
    dense_weight = search.collection.setting("dense_weight", DENSE_WEIGHT * request.coverage)
    limit = None if request.explain else max(search.top_k, request.depth)
    return _Found(
        search,
        dense_weight,
        candidates=fuse(dense, lexical, dense_weight, limit=limit),
        legs=Legs(frequencies, tuple(hit.score for hit in dense), tuple(hit.score for hit in lexical)),
    )


def _ranked(found: _Found, stored: Mapping[int, StoredChunk]) -> _Ranked:
    search, request = found.search, found.search.request
    passages = tuple(_passage(stored[c.id], c) for c in found.candidates if c.id in stored)
    retrieval = Retrieval(
        query=request.query,
        passages=passages[: max(search.top_k, request.depth)],
        coverage=request.coverage,
        timings_ms={},
        explain=_explain(found, stored) if request.explain else None,
        legs=found.legs,
    )
    return _Ranked(retrieval, search.top_k, search.collection.setting("rerank_budget_ms", RERANK_BUDGET_MS))


def _passage(stored: StoredChunk, candidate: Candidate) -> Passage:
    scores = Scores(dense=candidate.dense, lexical=candidate.lexical)
    return passage_of(stored, score=candidate.score, scores=scores)


def _explain(found: _Found, stored: Mapping[int, StoredChunk]) -> dict[str, Any]:
    """Every candidate of every leg, with its scores and the reason why it was dropped."""
    rows = []
    kept = 0
    for candidate in found.candidates:
        chunk = stored.get(candidate.id)
        if chunk is None:
            dropped = "its document was deleted or replaced"
        elif kept < found.search.top_k:
            kept += 1
            dropped = None
        else:
            dropped = f"ranked below the best {found.search.top_k}"
        rows.append(
            {
                "chunk_id": chunk.chunk_id if chunk else None,
                "filename": chunk.filename if chunk else None,
                "score": candidate.score,
                "dense": candidate.dense,
                "lexical": candidate.lexical,
                "rerank": None,
                "dropped": dropped,
            }
        )
    return {"dense_weight": found.dense_weight, "coverage": found.search.request.coverage, "candidates": rows}


def _reranked_row(row: Mapping[str, Any], passages: Sequence[Passage], top_k: int) -> dict[str, Any]:
    """The same candidate, with what the rerank model said of it and what became of it."""
    ranks = {passage.chunk_id: rank for rank, passage in enumerate(passages)}
    rank = ranks.get(row["chunk_id"])
    if rank is None:
        return {**row, "dropped": row["dropped"] if row["chunk_id"] is None else f"not among the best {RERANKED}"}
    dropped = None if rank < top_k else f"reranked below the best {top_k}"
    return {**row, "rerank": passages[rank].scores.rerank, "dropped": dropped}

"""Why was this document not used? Its passages' ranks over the whole collection, and the reason in plain words."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import anyio.to_thread
from anyio import CapacityLimiter

from app.answering.terms import weight
from app.embedding import Embedders, Vector
from app.errors import FootnoteError, IndexDamaged, IndexUnavailable
from app.index.analysis import CJK, analyse
from app.index.idset import IdSet
from app.index.protocol import Hit
from app.projection import Projection
from app.retrieval.pipeline import Retrieval, Retriever
from app.store.chunks import StoredChunk, live_chunks
from app.store.collections import get_collection
from app.store.database import Database
from app.store.documents import get_document, live_text
from app.store.reading import live_range, meets
from app.types import Collection, Document, DocumentStatus

_MOST_RANKED = 50_000  # chunks of each leg that are put in order; a rank beyond is not told
_SHOWN_CHUNKS = 5
_READ_CHARACTERS = 2_000_000  # of the document, for the words that it lacks
_LATIN_WORD = re.compile(rf"(?:(?![{CJK}])[^\W_])+(?:['’.,](?:(?![{CJK}])[^\W_])+)*")


@dataclass(frozen=True, slots=True)
class Standing:
    """What one leg makes of a chunk among all of the collection, filters left aside."""

    score: float | None  # None: the leg has nothing to say of it
    rank: int | None  # from 1; None also where it is beyond what was ranked


@dataclass(frozen=True, slots=True)
class InspectedChunk:
    """A chunk of the document; `rank` and `score` as in the search itself, None where it was no candidate."""

    stored: StoredChunk
    dense: Standing
    lexical: Standing
    score: float | None
    rerank: float | None
    rank: int | None
    dropped: str | None


@dataclass(frozen=True, slots=True)
class Needed:
    """What the last one had: of the passages that were used, and of the candidates of each leg."""

    score: float | None
    dense: float | None
    lexical: float | None


@dataclass(frozen=True, slots=True)
class Inspection:
    """What became of a document when a question was asked."""

    document: Document
    used: bool
    reason: str
    failed_filters: tuple[str, ...]  # the fields of the filter that it does not meet
    missing_terms: tuple[str, ...]  # of the question, that stand nowhere in it
    chunks: tuple[InspectedChunk, ...]  # its best ones
    needed: Needed
    candidates: int
    searched_chunks: int  # of the collection


@dataclass(frozen=True, slots=True)
class _Ranked:
    searched: int
    dense: Mapping[int, Standing]
    lexical: Mapping[int, Standing]
    stored: Mapping[int, StoredChunk]
    missing_terms: tuple[str, ...]
    failed_filters: tuple[str, ...]


class Inspector:
    """Asks a question once more, and looks where one document comes in."""

    def __init__(
        self, *, database: Database, projection: Projection, embedders: Embedders, retriever: Retriever
    ) -> None:
        self._database = database
        self._projection = projection
        self._embedders = embedders
        self._retriever = retriever
        self._one_at_a_time: CapacityLimiter | None = None  # it ranks whole collections

    async def inspect(
        self,
        question: str,
        document_id: str,
        *,
        collection: str,
        top_k: int | None = None,
        filters: Mapping[str, Any] | None = None,
    ) -> Inspection:
        """Raises `DocumentNotFound`, and what a search raises."""
        document, home, has_chunks = await anyio.to_thread.run_sync(self._look_up, document_id, collection)
        hindrance = _hindrance(document, collection, has_chunks)
        if hindrance is not None:
            return Inspection(document, False, hindrance, (), (), (), Needed(None, None, None), 0, 0)
        found = await self._retriever.retrieve(
            question, collection=collection, top_k=top_k, filters=filters, explain=True
        )
        vector = await self._embedders.of(home).embed_query(question)
        if self._one_at_a_time is None:
            self._one_at_a_time = CapacityLimiter(1)
        ranked = await anyio.to_thread.run_sync(
            self._rank, question, vector, document, filters, limiter=self._one_at_a_time
        )
        return _inspection(document, found, ranked)

    def _look_up(self, document_id: str, collection: str) -> tuple[Document, Collection, bool]:
        with self._database.read() as connection:
            home = get_collection(connection, collection)
            return get_document(connection, document_id), home, live_range(connection, document_id)[1] > 0

    def _rank(self, question: str, vector: Vector, document: Document, filters: Mapping[str, Any] | None) -> _Ranked:
        with self._database.read() as connection:
            collection = get_collection(connection, document.collection)
            own = IdSet([live_range(connection, document.id)])
            everything = self._projection.allowed(connection, collection, None)
            index = self._projection.index(collection)
            if index is None or not len(own):
                raise IndexUnavailable("The document has just changed.")
            limit = min(len(everything), _MOST_RANKED)
            try:
                snapshot = index.snapshot()
                dense = _standings(
                    snapshot.search_dense(vector, limit, everything), snapshot.search_dense(vector, len(own), own)
                )
                lexical = _standings(
                    snapshot.search_lexical(question, limit, everything),
                    snapshot.search_lexical(question, len(own), own),
                )
                snapshot.confirm()
            except IndexDamaged as error:
                raise IndexUnavailable from error
            best = sorted(own.ids.tolist(), key=lambda chunk: _best_rank(dense.get(chunk), lexical.get(chunk)))
            best = best[:_SHOWN_CHUNKS]
            failed = [
                key
                for key, condition in (filters or {}).items()
                if not meets(connection, collection.id, document.id, {key: condition})
            ]
            _, text = live_text(connection, document.id)
            stored = live_chunks(connection, collection.id, best)
        return _Ranked(len(everything), dense, lexical, stored, missing_terms(question, text), tuple(failed))


def missing_terms(question: str, text: str) -> tuple[str, ...]:
    """The words of a question, those of grammar left aside, that stand nowhere in a text; of Chinese, pairs."""
    known = set(analyse(text[:_READ_CHARACTERS]))
    words = [match.group() for match in _LATIN_WORD.finditer(unicodedata.normalize("NFKC", question))]
    words += [term for term in analyse(question) if len(term) == 2 and re.match(f"[{CJK}]", term)]
    return tuple(
        dict.fromkeys(
            word
            for word in words
            if not known.issuperset(terms := set(analyse(word))) and any(weight(term) == 1.0 for term in terms)
        )
    )


def _standings(everything: Sequence[Hit], own: Sequence[Hit]) -> dict[int, Standing]:
    """Ranks by score: how many of all are better, and one more."""
    scores = [hit.score for hit in everything]
    last = scores[-1] if scores else None
    standings = {}
    for hit in own:
        better = _count_above(scores, hit.score)
        is_beyond = len(scores) >= _MOST_RANKED and last is not None and hit.score < last
        standings[hit.id] = Standing(hit.score, None if is_beyond else better + 1)
    return standings


def _count_above(descending: Sequence[float], score: float) -> int:
    low, high = 0, len(descending)
    while low < high:
        middle = (low + high) // 2
        if descending[middle] > score:
            low = middle + 1
        else:
            high = middle
    return low


def _best_rank(*standings: Standing | None) -> tuple[int, float]:
    known = [each for each in standings if each is not None]
    ranks = [each.rank for each in known if each.rank is not None]
    return min(ranks, default=_MOST_RANKED + 1), -max((each.score or 0.0 for each in known), default=0.0)


def _hindrance(document: Document, collection: str, has_chunks: bool) -> str | None:
    """What keeps a document from being found by any question."""
    if document.collection != collection:
        return f"The document is in the collection {document.collection!r}, and {collection!r} was asked."
    if document.live_version is None:
        if document.status is DocumentStatus.FAILED:
            why = document.error_message or "it could not be read."
            return f"The document failed, so nothing of it can be found: {why}"
        return f"The document is not ready: it is {document.status.value}."
    if not has_chunks:
        return "The document has no text that could be found."
    return None


def _inspection(document: Document, found: Retrieval, ranked: _Ranked) -> Inspection:
    rows = (found.explain or {})["candidates"]
    by_chunk = {row["chunk_id"]: (rank, row) for rank, row in enumerate(_in_order(rows, found), start=1)}
    nothing = Standing(None, None)
    chunks = []
    for number, stored in ranked.stored.items():
        rank, row = by_chunk.get(stored.chunk_id, (None, {}))
        chunks.append(
            InspectedChunk(
                stored=stored,
                dense=ranked.dense.get(number, nothing),
                lexical=ranked.lexical.get(number, nothing),
                score=row.get("score"),
                rerank=row.get("rerank"),
                rank=rank,
                dropped=row.get("dropped"),
            )
        )
    chunks.sort(key=lambda chunk: (chunk.rank or len(rows) + 1, _best_rank(chunk.dense, chunk.lexical)))
    used = [rank for rank, each in enumerate(found.passages, start=1) if each.document_id == document.id]
    scores = {row["chunk_id"]: row["score"] for row in rows}
    needed = Needed(
        score=scores.get(found.passages[-1].chunk_id) if found.passages else None,
        dense=min((row["dense"] for row in rows if row["dense"] is not None), default=None),
        lexical=min((row["lexical"] for row in rows if row["lexical"] is not None), default=None),
    )
    return Inspection(
        document=document,
        used=bool(used),
        reason=_reason(document, used, chunks, needed, ranked, len(rows), len(found.passages)),
        failed_filters=ranked.failed_filters,
        missing_terms=ranked.missing_terms,
        chunks=tuple(chunks),
        needed=needed,
        candidates=len(rows),
        searched_chunks=ranked.searched,
    )


def _in_order(rows: Sequence[Mapping[str, Any]], found: Retrieval) -> list[Mapping[str, Any]]:
    """The candidates as they were finally ranked: those that were used first, then by the rerank model, then fused."""
    used = {passage.chunk_id: at for at, passage in enumerate(found.passages)}

    def place(row: Mapping[str, Any]) -> tuple[float, float, float]:
        rerank = row["rerank"]
        return (used.get(row["chunk_id"], len(used)), -rerank if rerank is not None else 1.0, -row["score"])

    return sorted(rows, key=place)


def _reason(
    document: Document,
    used: Sequence[int],
    chunks: Sequence[InspectedChunk],
    needed: Needed,
    ranked: _Ranked,
    candidates: int,
    passages: int,
) -> str:
    if used:
        return f"The document was used: its best passage is number {used[0]} of {passages}."
    if ranked.failed_filters:
        return (
            f"The filter excludes the document: it does not meet the condition on {', '.join(ranked.failed_filters)}."
        )
    lacks = f" It lacks these words of the question: {', '.join(ranked.missing_terms)}." if ranked.missing_terms else ""
    best = chunks[0] if chunks else None
    if best is None:
        raise FootnoteError("The document has no chunk that could be inspected.")
    if best.rank is not None:
        reranked = f" The rerank model gave it {best.rerank:.3f}." if best.rerank is not None else ""
        last = f", and the last passage that was used has {needed.score:.3f}" if needed.score is not None else ""
        return (
            f"Its best passage came {_ordinal(best.rank)} of {candidates} candidates, and {passages} passages were "
            f"used: its score is {best.score or 0.0:.3f}{last}.{reranked}{lacks}"
        )
    return (
        f"None of its passages is among the {candidates} candidates. By meaning its best comes "
        f"{_told(min((c.dense for c in chunks), key=_by_rank), needed.dense, 'cosine similarity')}; by words "
        f"{_told(min((c.lexical for c in chunks), key=_by_rank), needed.lexical, 'BM25')}.{lacks}"
    )


def _by_rank(standing: Standing) -> tuple[int, float]:
    return standing.rank or _MOST_RANKED + 1, -(standing.score or 0.0)


def _told(standing: Standing, needed: float | None, name: str) -> str:
    if standing.score is None:
        return "nowhere"
    rank = f"{_ordinal(standing.rank)}" if standing.rank is not None else f"behind the first {_MOST_RANKED}"
    wanted = f", where the last candidate has {needed:.3f}" if needed is not None else ""
    return f"{rank} ({name} {standing.score:.3f}{wanted})"


def _ordinal(number: int) -> str:
    ending = "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"

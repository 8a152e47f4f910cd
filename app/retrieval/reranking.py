"""A second look at the best candidates by a slower and better judge, for as long as the caller can wait."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Protocol

from app.retrieval.fusion import normalised
from app.telemetry import RERANKS
from app.types import Passage, indexed_text

logger = logging.getLogger(__name__)

RERANKED = 24  # candidates, the best of the fused ones
RERANK_BUDGET_MS = 500.0
_BATCH = 8  # pairs between two looks at the clock
_MOST_WAITING = 8  # whoever comes behind so many would wait in vain


class Scorer(Protocol):
    """Judges texts for a query. Called in one thread only."""

    def score(self, query: str, texts: Sequence[str]) -> Sequence[float]:
        """One number a text, higher is better."""


@dataclass(frozen=True, slots=True)
class Reranked:
    """Passages in their new order, or as they were, and why."""

    passages: tuple[Passage, ...]
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class _Request:
    query: str
    texts: Sequence[str]
    deadline: float
    scores: Future[list[float] | None]  # None: the time was up


class Reranker:
    """One model, loaded in the background, one thread, and a short queue: who cannot be served in time is told so."""

    def __init__(self, load: Callable[[], Scorer]) -> None:
        self._load = load
        self._requests: queue.Queue[_Request | None] = queue.Queue(_MOST_WAITING)
        self._loaded = threading.Event()
        self._problem: str | None = None
        self._is_closing = False
        self._thread = threading.Thread(target=self._load_and_run, name="reranker", daemon=True)

    def start(self) -> None:
        """Begin to load; returns at once. Until then every order stays as it is."""
        self._thread.start()

    def close(self) -> None:
        """Finish the batch that is under way, then stop."""
        self._is_closing = True
        while self._thread.is_alive():
            try:
                self._requests.put_nowait(None)
            except queue.Full:
                self._drop_one()
            self._thread.join(0.1)

    @property
    def is_loading(self) -> bool:
        return not self._loaded.is_set()

    @property
    def problem(self) -> str | None:
        """Why nothing is reranked; None once the model is loaded."""
        return "the rerank model is loading" if self.is_loading else self._problem

    async def rerank(self, query: str, passages: Sequence[Passage], budget_ms: float) -> Reranked:
        """The passages by the model's judgement, best first, `score` from 1 down to 0 and `scores.rerank` as it was
        given; as they are, with the reason, when that is not possible within the budget."""
        if len(passages) < 2:
            return Reranked(tuple(passages))
        reranked, outcome = await self._rerank(query, tuple(passages), budget_ms)
        RERANKS.labels(outcome).inc()
        return reranked

    async def _rerank(self, query: str, unchanged: tuple[Passage, ...], budget_ms: float) -> tuple[Reranked, str]:
        if self.problem is not None:
            return Reranked(unchanged, self.problem), "unavailable"
        texts = [indexed_text(each.filename, each.headings, each.header, each.text) for each in unchanged]
        request = _Request(query, texts, time.monotonic() + budget_ms / 1000, Future())
        try:
            self._requests.put_nowait(request)
        except queue.Full:
            return Reranked(unchanged, "too many requests wait for the rerank model"), "refused"
        try:
            async with asyncio.timeout(budget_ms / 1000):
                scores = await asyncio.wrap_future(request.scores)  # cancelled with us: it is skipped, then
        except TimeoutError:
            scores = None
        except Exception as error:
            logger.exception("the rerank model failed")
            return Reranked(unchanged, f"the rerank model failed: {error}"), "failed"
        if scores is None:
            return Reranked(unchanged, f"the budget of {budget_ms:g} ms was used up"), "late"
        return Reranked(_in_order(unchanged, scores)), "done"

    def _load_and_run(self) -> None:
        try:
            scorer = self._load()
            scorer.score("warm", ["warm"])
        except Exception as error:
            logger.exception("the rerank model could not be loaded")
            self._problem = str(error) or type(error).__name__
            self._loaded.set()
            return
        self._loaded.set()
        while (request := self._requests.get()) is not None and not self._is_closing:
            self._serve(scorer, request)

    def _serve(self, scorer: Scorer, request: _Request) -> None:
        if not request.scores.set_running_or_notify_cancel():
            return  # nobody waits for it any more
        try:
            scores: list[float] = []
            for start in range(0, len(request.texts), _BATCH):
                if self._is_closing or time.monotonic() >= request.deadline:
                    request.scores.set_result(None)
                    return
                scores += scorer.score(request.query, request.texts[start : start + _BATCH])
        except Exception as error:
            request.scores.set_exception(error)
        else:
            request.scores.set_result(scores)

    def _drop_one(self) -> None:
        try:
            request = self._requests.get_nowait()
        except queue.Empty:
            return
        if request is not None and request.scores.set_running_or_notify_cancel():
            request.scores.set_result(None)


def _in_order(passages: Sequence[Passage], scores: Sequence[float]) -> tuple[Passage, ...]:
    parts = normalised(dict(enumerate(scores)))
    best_first = sorted(range(len(passages)), key=lambda at: (-scores[at], at))  # ties stay in the fused order
    return tuple(
        replace(passages[at], score=parts[at], scores=replace(passages[at].scores, rerank=scores[at]))
        for at in best_first
    )

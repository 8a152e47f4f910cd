"""Reranking: the judge's order, the budget, and a queue that does not grow."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import anyio
import pytest

from app.bootstrap import build_retriever
from app.retrieval.reranking import Reranked, Reranker, Scorer
from app.store.collections import change_settings
from tests.answering.samples import passage
from tests.retrieval.shelves import TEXTS, Shelf
from tests.store.library import NOW
from tests.waiting import wait_until

PASSAGES = [passage(text, number=number, score=1 / number) for number, text in enumerate("abcdefghijkl", start=1)]
GENEROUS_MS = 30_000.0


class Alphabet:
    """Prefers the later letter; can be held back, and can fail."""

    def __init__(self) -> None:
        self.batches: list[Sequence[str]] = []
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self.fails = False

    def score(self, query: str, texts: Sequence[str]) -> list[float]:
        if query != "warm":
            self.batches.append(texts)
            self.may_go_on.wait(10)
        if self.fails:
            raise RuntimeError("out of memory")
        return [ord(text[-1]) / 256 for text in texts]


@contextmanager
def running(load: Callable[[], Scorer]) -> Iterator[Reranker]:
    reranker = Reranker(load)
    reranker.start()
    try:
        wait_until(lambda: reranker.problem != "the rerank model is loading", what="the rerank model")
        yield reranker
    finally:
        reranker.close()


def rerank(reranker: Reranker, budget_ms: float = GENEROUS_MS) -> Reranked:
    return anyio.run(reranker.rerank, "which?", PASSAGES, budget_ms)


def test_the_judge_decides() -> None:
    """The order is the model's, batch by batch; its own scores are told, and `score` falls from 1 to 0."""
    scorer = Alphabet()
    with running(lambda: scorer) as reranker:
        done = rerank(reranker)
    assert done.problem is None
    assert "".join(each.text for each in done.passages) == "lkjihgfedcba"
    assert done.passages[0].scores.rerank == ord("l") / 256
    assert done.passages[0].scores.dense == PASSAGES[-1].scores.dense
    assert [done.passages[0].score, done.passages[-1].score] == [1.0, 0.0]
    assert [len(batch) for batch in scorer.batches] == [8, 4]


def test_the_budget_ends() -> None:
    """When the time is up the fused order is used, and the model stops at its next look at the clock."""
    scorer = Alphabet()
    scorer.may_go_on.clear()
    with running(lambda: scorer) as reranker:
        done = rerank(reranker, budget_ms=20)
        assert done.passages == tuple(PASSAGES)
        assert "20 ms" in (done.problem or "")
        scorer.may_go_on.set()
        assert rerank(reranker).problem is None
    assert len(scorer.batches) == 1 + 2


def test_requests_do_not_pile_up() -> None:
    """While the model is busy only a few wait for it; the others get the fused order at once."""

    async def many(reranker: Reranker) -> list[Reranked]:
        tasks = [asyncio.create_task(reranker.rerank("which?", PASSAGES, GENEROUS_MS)) for _ in range(40)]
        refused, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        assert all(task.result().problem for task in refused)
        scorer.may_go_on.set()
        return list(await asyncio.gather(*tasks))

    scorer = Alphabet()
    scorer.may_go_on.clear()
    with running(lambda: scorer) as reranker:
        done = anyio.run(many, reranker)
    served = [each for each in done if each.problem is None]
    assert 8 <= len(served) <= 9
    assert {each.problem for each in done if each.problem} == {"too many requests wait for the rerank model"}


def test_who_leaves_is_not_waited_for() -> None:
    """A request whose client has left is not scored."""

    async def leave(reranker: Reranker) -> None:
        first = asyncio.create_task(reranker.rerank("which?", PASSAGES, GENEROUS_MS))
        await asyncio.to_thread(wait_until, lambda: scorer.batches, what="the first batch")
        second = asyncio.create_task(reranker.rerank("which?", PASSAGES, GENEROUS_MS))
        await asyncio.sleep(0)
        second.cancel()
        await asyncio.wait([second])
        scorer.may_go_on.set()
        await first

    scorer = Alphabet()
    scorer.may_go_on.clear()
    with running(lambda: scorer) as reranker:
        anyio.run(leave, reranker)
    assert len(scorer.batches) == 2


def test_a_model_that_fails() -> None:
    """One pass that fails costs one order; the next is asked as ever."""
    scorer = Alphabet()
    with running(lambda: scorer) as reranker:
        scorer.fails = True
        failed = rerank(reranker)
        assert failed.passages == tuple(PASSAGES)
        assert "out of memory" in (failed.problem or "")
        scorer.fails = False
        assert rerank(reranker).problem is None


def test_a_model_that_does_not_load() -> None:
    """Searches go on in the fused order, and it is known why."""

    def load() -> Scorer:
        raise RuntimeError("no such model")

    with running(load) as reranker:
        assert reranker.problem == "no such model"
        assert rerank(reranker) == Reranked(tuple(PASSAGES), "no such model")


class Contrary:
    """Prefers the text about loans, whatever is asked."""

    def score(self, query: str, texts: Sequence[str]) -> list[float]:
        return [0.9 if "lent" in text else 0.1 + len(text) / 1000 for text in texts]


@pytest.fixture
def reranking(shelf: Shelf) -> Iterator[Shelf]:
    with running(Contrary) as reranker:
        shelf.retriever = build_retriever(shelf.core, reranker)
        yield shelf


def test_a_search_is_reranked(reranking: Shelf) -> None:
    """The best candidates of both legs are judged, so the first may come from below the cut of the fused order."""
    found = reranking.search("When does the dome close?", top_k=1, explain=True)
    assert [each.text for each in found.passages] == [TEXTS["loans"]]
    assert found.passages[0].scores.rerank == 0.9
    assert "rerank" in found.timings_ms
    assert found.explain is not None
    rows = {row["filename"]: row for row in found.explain["candidates"]}
    assert (rows["loans.txt"]["rerank"], rows["loans.txt"]["dropped"]) == (0.9, None)
    assert rows["dome.txt"]["dropped"] == "reranked below the best 1"
    assert found.explain["rerank"]["problem"] is None
    assert [each.text for each in reranking.search("the dome", top_k=1).passages] == [TEXTS["loans"]]


def test_a_collection_has_its_own_budget(reranking: Shelf) -> None:
    """Without any time, the order is the fused one, and `explain` says so."""
    with reranking.database.write() as connection:
        change_settings(connection, "default", {"rerank_budget_ms": 0}, NOW)
    found = reranking.search("When does the dome close?", top_k=1, explain=True)
    assert [each.text for each in found.passages] == [TEXTS["dome"]]
    assert found.passages[0].scores.rerank is None
    assert found.explain is not None
    assert "budget" in found.explain["rerank"]["problem"]

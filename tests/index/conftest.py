"""A small library to index, and an exact index in memory that every other one must agree with."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from app.index.analysis import analyse
from app.index.idset import IdSet
from app.index.local import LocalIndex
from app.index.protocol import Hit, IndexEntry

DIMENSION = 24
RUN = 3  # chunks of a document

_ENGLISH = ("river", "bridge", "engine", "harbour", "lantern", "winter", "orchard", "copper", "signal", "velvet")
_CHINESE = "河流桥梁发动机港口灯笼冬天果园铜信号草地花岗岩"

Build = Callable[..., list[IndexEntry]]


@pytest.fixture
def entries() -> Build:
    """`entries(first, last)`: chunks with these ids, in documents of three, words and vectors drawn by id."""

    def build(first: int, last: int) -> list[IndexEntry]:
        return [_entry(number) for number in range(first, last + 1)]

    return build


def _entry(id: int) -> IndexEntry:
    random = np.random.default_rng(id)
    vector = random.standard_normal(DIMENSION)
    words = list(random.choice(_ENGLISH, size=int(random.integers(4, 12))))
    start = int(random.integers(0, len(_CHINESE) - 4))
    text = f"{' '.join(words)} {_CHINESE[start : start + 4]} number{id}"
    first_id = (id - 1) // RUN * RUN + 1
    return IndexEntry(id, first_id, (vector / np.linalg.norm(vector)).astype(np.float16), text)


@pytest.fixture
def query() -> Callable[[int], npt.NDArray[np.float32]]:
    """A unit vector drawn by number."""

    def draw(number: int) -> npt.NDArray[np.float32]:
        vector = np.random.default_rng(10_000_000 + number).standard_normal(DIMENSION)
        return (vector / np.linalg.norm(vector)).astype(np.float32)

    return draw


@pytest.fixture
def local(tmp_path: Path) -> LocalIndex:
    return LocalIndex(tmp_path / "index", DIMENSION)


@pytest.fixture
def reference() -> ExactIndex:
    return ExactIndex()


@pytest.fixture(params=["local", "exact"])
def index(request: pytest.FixtureRequest, tmp_path: Path) -> LocalIndex | ExactIndex:
    """Every implementation of `CollectionIndex`."""
    return LocalIndex(tmp_path / "index", DIMENSION) if request.param == "local" else ExactIndex()


class ExactIndex:
    """A `CollectionIndex` that looks at every chunk: cosine, and BM25 with k1 = 1.2 and b = 0.75."""

    def __init__(self) -> None:
        self._sequence = 0
        self._entries: dict[int, IndexEntry] = {}

    def checkpoint(self) -> int:
        return self._sequence

    def publish(self, entries: Iterable[IndexEntry], removed: Sequence[int], sequence: int) -> None:
        if self._sequence >= sequence:
            return
        self._entries |= {entry.id: entry for entry in entries}
        self._entries = {e.id: e for e in self._entries.values() if e.first_id not in removed}
        self._sequence = sequence

    @property
    def sequence(self) -> int:
        return self._sequence

    def snapshot(self) -> ExactIndex:
        return self

    def confirm(self) -> None:
        pass

    def search_dense(self, query: npt.NDArray[np.float32], limit: int, allowed: IdSet) -> list[Hit]:
        if not np.isfinite(query).all():
            return []
        hits = [Hit(e.id, float(e.embedding.astype(np.float32) @ query)) for e in self._entries.values()]
        return _best(hits, limit, allowed)

    def search_dense_together(self, queries: npt.NDArray[np.float32], limit: int, allowed: IdSet) -> list[list[Hit]]:
        return [self.search_dense(query, limit, allowed) for query in queries]

    def search_lexical(self, query: str, limit: int, allowed: IdSet) -> list[Hit]:
        documents = {e.id: Counter(analyse(e.text)) for e in self._entries.values()}
        average = sum(terms.total() for terms in documents.values()) / max(1, len(documents))
        scores: dict[int, float] = {}
        for term, repeats in Counter(analyse(query)).items():
            frequency = sum(term in terms for terms in documents.values())
            idf = math.log(1 + (len(documents) - frequency + 0.5) / (frequency + 0.5))
            for chunk, terms in documents.items():
                if count := terms[term]:
                    norm = 1.2 * (1 - 0.75 + 0.75 * terms.total() / average)
                    scores[chunk] = scores.get(chunk, 0.0) + repeats * idf * count * 2.2 / (count + norm)
        return _best([Hit(chunk, round(score, 4)) for chunk, score in scores.items()], limit, allowed)


def _best(hits: list[Hit], limit: int, allowed: IdSet) -> list[Hit]:
    return sorted((hit for hit in hits if hit.id in allowed), key=lambda hit: (-hit.score, hit.id))[:limit]

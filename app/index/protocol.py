"""What the rest of Footnote knows of an index. FAISS and tantivy behind it today, Milvus another day.

Ids are the collection's own sequence numbers (64-bit, from 1, never used twice). The chunks of one document version
are numbered in one run, so a set of chunks is a set of ranges, and a version is named by the first id of its run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from app.index.idset import IdSet


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """One chunk on its way into the index."""

    id: int
    first_id: int  # of its document version's run: what a removal names
    embedding: npt.NDArray[np.float16]  # shape (dimension,), unit length
    text: str  # what the lexical index reads, headings included


class Hit(NamedTuple):
    """A chunk that one leg found."""

    id: int
    score: float  # cosine similarity, or BM25


class TermFrequencies(NamedTuple):
    """How common terms are: what `search_lexical` weighs them by."""

    chunks: int  # in the index
    holding: Mapping[str, int]  # term → chunks that hold it; those of a version just removed may still count


NO_TERMS = TermFrequencies(0, {})


class IndexSnapshot(Protocol):
    """The index as it is at one moment, so that both legs of a search see the same chunks."""

    @property
    def sequence(self) -> int:
        """The sequence number up to which the collection's changes are in it."""

    def search_dense(self, query: npt.NDArray[np.float32], limit: int, allowed: IdSet) -> list[Hit]:
        """The nearest chunks among `allowed`, best first. `query` has shape (dimension,) and unit length."""

    def search_dense_together(
        self, queries: npt.NDArray[np.float32], limit: int, allowed: IdSet
    ) -> Sequence[Sequence[Hit]]:
        """The same for each of many queries, shape (queries, dimension)."""

    def search_lexical(self, query: str, limit: int, allowed: IdSet) -> list[Hit]:
        """The best chunks by BM25 among `allowed`, best first."""

    def term_frequencies(self, text: str) -> TermFrequencies:
        """Of the terms of a text, over all chunks of the index."""

    def confirm(self) -> None:
        """Raise `IndexDamaged` where what was found up to now is not to be used."""


class CollectionIndex(Protocol):
    """The index of one collection. Searches may run in many threads; publishing is for one writer at a time."""

    def checkpoint(self) -> int:
        """The sequence number up to which the index has taken up the collection's changes; 0 when empty."""

    def publish(self, entries: Iterable[IndexEntry], removed: Sequence[int], sequence: int) -> None:
        """Add entries, drop the versions whose first ids are `removed`, and move the checkpoint, all or nothing.

        Safe to repeat: entries that an interrupted publish left behind are not doubled.
        """

    def snapshot(self) -> IndexSnapshot:
        """The newest state, for one search."""

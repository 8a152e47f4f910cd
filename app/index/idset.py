"""A set of chunk ids as sorted ranges: small to keep, quick to test, and a bitmap when FAISS wants one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Ranges = npt.NDArray[np.int64]  # shape (n, 2): first and end, exclusive


class Change(NamedTuple):
    """How a set came out of another one."""

    origin: IdSet
    dropped: Ranges
    added: Ranges


class IdSet:
    """An immutable set of ids, given as disjoint ranges `(first, count)`, one a document version."""

    def __init__(self, ranges: Iterable[tuple[int, int]], *, everything: bool = False) -> None:
        """`everything` tells that no filter narrowed the set: it holds every live chunk of the collection."""
        pairs = _sorted(ranges)
        self.firsts: npt.NDArray[np.int64] = pairs[:, 0].copy()
        self.ends: npt.NDArray[np.int64] = pairs[:, 0] + pairs[:, 1]  # exclusive
        self.everything = everything
        self.change: Change | None = None

    def changed(self, dropped: Sequence[int], added: Iterable[tuple[int, int]]) -> IdSet:
        """A set without the ranges that begin at `dropped`, where it has them, and with those of `added`.

        It remembers what it was made of, so that whoever derived something from this set need not begin anew.
        """
        result = IdSet((), everything=self.everything)
        gone = np.isin(self.firsts, np.asarray(dropped, dtype=np.int64))
        new = _sorted(added)
        firsts = np.concatenate([self.firsts[~gone], new[:, 0]])
        ends = np.concatenate([self.ends[~gone], new.sum(axis=1)])
        order = np.argsort(firsts, kind="stable")
        result.firsts, result.ends = firsts[order], ends[order]
        dropped_ranges = np.stack([self.firsts[gone], self.ends[gone]], axis=1)
        self.change = None  # one step is remembered, not the whole history
        result.change = Change(self, dropped_ranges, np.stack([new[:, 0], new.sum(axis=1)], axis=1))
        return result

    @property
    def last(self) -> int:
        """The largest id; 0 for an empty set."""
        return int(self.ends[-1]) - 1 if len(self.ends) else 0

    def __len__(self) -> int:
        return int((self.ends - self.firsts).sum())

    def __contains__(self, id: int) -> bool:
        return bool(self.contains(np.array([id], dtype=np.int64))[0])

    def contains(self, ids: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Which of `ids` (any shape) are in the set; the same shape back."""
        if not len(self.firsts):
            return np.zeros(ids.shape, dtype=np.bool_)
        at = np.searchsorted(self.firsts, ids, side="right") - 1
        return np.asarray((at >= 0) & (ids < self.ends[np.maximum(at, 0)]))

    @cached_property
    def ids(self) -> npt.NDArray[np.int64]:
        """All ids, ascending."""
        if not len(self.firsts):
            return np.empty(0, dtype=np.int64)
        return np.concatenate([np.arange(a, b) for a, b in zip(self.firsts, self.ends, strict=True)])


def _sorted(ranges: Iterable[tuple[int, int]]) -> npt.NDArray[np.int64]:
    return np.array(sorted(ranges), dtype=np.int64).reshape(-1, 2)

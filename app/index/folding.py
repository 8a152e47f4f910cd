"""Folding small segments into larger ones, so that five hundred uploads do not leave five hundred segments.

Tiers as in Lucene's merge policy: when `FAN_IN` segments of one size class exist, they become one. A segment costs
every search as much as scanning a thousand rows, so there are few and wide classes: a row is rewritten some five times
a class, and a collection has at most three segments of each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

FAN_IN = 4
_CLASS_RATIO = 16
TOP_CLASS = 4  # from 16 ** 4 = 65,536 rows on a segment is left alone, unless it is mostly dead


@dataclass(frozen=True, slots=True)
class Load:
    """How full a segment is: rows that it has, and rows that still belong to a version."""

    name: str
    rows: int
    live: int


def choose_fold(segments: Sequence[Load]) -> list[Load]:
    """The segments to be made one next, oldest first; empty when all is well.

    A single one is chosen when more than half of its rows are dead: it is rewritten without them.
    """
    for segment in segments:
        if segment.live * 2 < segment.rows:
            return [segment]
    for size_class, group in groupby(sorted(segments, key=_size_class), key=_size_class):
        members = list(group)
        if size_class < TOP_CLASS and len(members) >= FAN_IN:
            return members[:FAN_IN]
    return []


def _size_class(segment: Load) -> int:
    size_class, rows = 0, segment.live
    while rows >= _CLASS_RATIO:
        size_class, rows = size_class + 1, rows // _CLASS_RATIO
    return size_class

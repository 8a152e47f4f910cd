"""Which segments become one, so that five hundred uploads do not leave five hundred segments.

Tiers as in Lucene's merge policy: when `FAN_IN` segments of one size class exist, they become one. A segment costs
every search as much as scanning a thousand rows, so there are few and wide classes: a row is rewritten some five times
a class, and a collection has at most three segments of each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

FAN_IN = 4
TOP_CLASS = 5  # from 16 ** 5 = 1,048,576 rows on a segment is left alone, unless it is mostly dead
# Up to so many rows are merged by the publish itself, in milliseconds; what is larger waits for the worker.
PUBLISH_ROWS = 16_384
_CLASS_RATIO = 16
_MOST_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Load:
    """How full a segment is: rows that it has, and rows that still belong to a version."""

    name: str
    rows: int
    live: int


def choose_merge(segments: Sequence[Load], most_rows: int | None = None) -> list[Load]:
    """The segments to be made one next, oldest first; empty when all is well.

    A single one is chosen when more than half of its rows are dead: it is rewritten without them. `most_rows` leaves
    out what would have more live rows than that.
    """
    for segment in segments:
        if segment.live * 2 < segment.rows and _fits([segment], most_rows):
            return [segment]
    for size_class, group in groupby(sorted(segments, key=_size_class), key=_size_class):
        members = list(group)
        if size_class < TOP_CLASS and len(members) >= FAN_IN:
            # After a rebuild there are many of one size: once for all, then, and not four by four.
            chosen = members[: FAN_IN if most_rows else _MOST_AT_ONCE]
            if _fits(chosen, most_rows):
                return chosen
    return []


def _fits(segments: Sequence[Load], most_rows: int | None) -> bool:
    return most_rows is None or sum(segment.live for segment in segments) <= most_rows


def _size_class(segment: Load) -> int:
    size_class, rows = 0, segment.live
    while rows >= _CLASS_RATIO:
        size_class, rows = size_class + 1, rows // _CLASS_RATIO
    return size_class

"""A set of ids as ranges behaves as a set of ids."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from app.index.idset import IdSet
from app.index.segments import mask_of

# Disjoint ranges, some of them touching: a gap and a length for each.
RANGES = st.lists(st.tuples(st.integers(0, 5), st.integers(1, 6)), max_size=30)


def ranges_of(steps):
    ranges, position = [], 1
    for gap, count in steps:
        ranges.append((position + gap, count))
        position += gap + count
    return ranges


@given(RANGES, st.randoms())
def test_it_equals_a_python_set(steps, random):
    """Length, membership of many and of one, and the list of ids are those of a set, in whatever order ranges come."""
    ranges = ranges_of(steps)
    expected = {member for first, count in ranges for member in range(first, first + count)}
    random.shuffle(ranges)
    ids = IdSet(ranges)
    candidates = np.arange(-3, 400)
    assert len(ids) == len(expected)
    assert ids.ids.tolist() == sorted(expected)
    assert ids.contains(candidates).tolist() == [one in expected for one in candidates.tolist()]
    assert all((one in ids) == (one in expected) for one in range(60))


@given(RANGES, st.sets(st.integers(1, 400)))
def test_the_mask_of_ascending_rows_equals_membership(steps, rows):
    """The quick way by the ranges' edges and the plain way by membership agree."""
    allowed = IdSet(ranges_of(steps))
    ids = np.array(sorted(rows), dtype=np.int64)
    assert mask_of(ids, allowed).tolist() == allowed.contains(ids).tolist()


def test_shape_is_kept():
    """`contains` answers in the shape in which it was asked."""
    assert IdSet([(1, 3)]).contains(np.arange(6).reshape(2, 3)).tolist() == [[False, True, True], [True, False, False]]
    assert IdSet([]).contains(np.arange(4).reshape(2, 2)).shape == (2, 2)

"""A set of ids as ranges behaves as a set of ids."""

from __future__ import annotations

from weakref import WeakKeyDictionary

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from app.index.idset import IdSet
from app.index.segments import Segment, mask_of

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


@given(RANGES, RANGES, st.randoms())
def test_a_changed_set_and_its_masks_equal_a_new_one(steps, more, random):
    """Ranges dropped and added by difference give what a set and a mask made anew give."""
    before = ranges_of(steps)
    dropped = [each for each in before if random.random() < 0.3]
    end = max([first + count for first, count in before], default=1)
    added = [(first + end, count) for first, count in ranges_of(more)]
    again = [each for each in dropped if random.random() < 0.5]  # the document changed, and is still found
    expected = IdSet([each for each in before if each not in dropped] + added + again)

    old = IdSet(before, everything=True)
    changed = old.changed([first for first, _ in dropped] + [9999], added + again)

    assert (changed.firsts.tolist(), changed.ends.tolist()) == (expected.firsts.tolist(), expected.ends.tolist())
    assert changed.everything
    segment = Rows(np.arange(1, end + 400))
    segment.mask(old)
    assert segment.mask(changed).tolist() == mask_of(segment.ids, expected).tolist()


class Rows(Segment):
    """A segment of ids alone."""

    vectors = select = search = None

    def __init__(self, ids):
        self.ids, self._masks = ids, WeakKeyDictionary()

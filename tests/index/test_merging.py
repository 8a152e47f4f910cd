"""The fold policy, a pure function."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from app.index.merging import FAN_IN, PUBLISH_ROWS, TOP_CLASS, Load, choose_merge


def load(name, rows, live=None):
    return Load(str(name), rows, rows if live is None else live)


def test_few_segments_are_left_alone():
    """Three segments of a size are no reason to write anything."""
    assert choose_merge([load(n, 3) for n in range(FAN_IN - 1)]) == []


def test_four_of_a_size_become_one():
    """The fourth segment of a size class makes all four fold, and others stay out of it."""
    small = [load(n, 3) for n in range(FAN_IN)]
    assert choose_merge([load("large", 5000), *small]) == small


def test_large_segments_are_not_rewritten_for_tidiness():
    """Segments of more than a million rows are never merged, however many there are."""
    assert choose_merge([load(n, 1_100_000) for n in range(50)]) == []


def test_after_a_rebuild_many_of_a_size_become_one_at_once():
    """Sixteen segments of 65,536 rows are rewritten once, and not four by four; a publish leaves them alone."""
    rebuilt = [load(n, 65_536) for n in range(16)]
    assert choose_merge(rebuilt) == rebuilt
    assert choose_merge(rebuilt, PUBLISH_ROWS) == []


def test_a_mostly_dead_segment_is_rewritten_alone():
    """A segment of any size is rewritten once more than half of its rows are dead."""
    dead = load("dead", 100_000, 49_999)
    assert choose_merge([load(1, 10), dead]) == [dead]
    assert choose_merge([load(1, 10), load("half", 100_000, 50_000)]) == []


@given(st.lists(st.integers(1, 300), max_size=300))
def test_any_sequence_of_publishes_ends_with_few_segments(sizes):
    """Whatever is published, folding ends, loses no row, and leaves fewer than four segments of each class."""
    segments: list[Load] = []
    for number, size in enumerate(sizes):
        segments.append(load(number, size))
        while chosen := choose_merge(segments):
            rest = [segment for segment in segments if segment not in chosen]
            segments = [*rest, load(f"{number}-{len(rest)}", sum(segment.rows for segment in chosen))]
    assert sum(segment.rows for segment in segments) == sum(sizes)
    assert len(segments) <= (FAN_IN - 1) * (TOP_CLASS + 1)

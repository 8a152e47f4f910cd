"""The fold policy, a pure function."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from app.index.folding import FAN_IN, TOP_CLASS, Load, choose_fold


def load(name, rows, live=None):
    return Load(str(name), rows, rows if live is None else live)


def test_few_segments_are_left_alone():
    """Three segments of a size are no reason to write anything."""
    assert choose_fold([load(n, 3) for n in range(FAN_IN - 1)]) == []


def test_four_of_a_size_become_one():
    """The fourth segment of a size class makes all four fold, and others stay out of it."""
    small = [load(n, 3) for n in range(FAN_IN)]
    assert choose_fold([load("large", 5000), *small]) == small


def test_large_segments_are_not_rewritten_for_tidiness():
    """Segments of more than 65,536 rows are never folded, however many there are."""
    assert choose_fold([load(n, 70_000) for n in range(50)]) == []


def test_a_mostly_dead_segment_is_rewritten_alone():
    """A segment of any size is rewritten once more than half of its rows are dead."""
    dead = load("dead", 100_000, 49_999)
    assert choose_fold([load(1, 10), dead]) == [dead]
    assert choose_fold([load(1, 10), load("half", 100_000, 50_000)]) == []


@given(st.lists(st.integers(1, 300), max_size=300))
def test_any_sequence_of_publishes_ends_with_few_segments(sizes):
    """Whatever is published, folding ends, loses no row, and leaves fewer than four segments of each class."""
    segments: list[Load] = []
    for number, size in enumerate(sizes):
        segments.append(load(number, size))
        while chosen := choose_fold(segments):
            rest = [segment for segment in segments if segment not in chosen]
            segments = [*rest, load(f"{number}-{len(rest)}", sum(segment.rows for segment in chosen))]
    assert sum(segment.rows for segment in segments) == sum(sizes)
    assert len(segments) <= (FAN_IN - 1) * (TOP_CLASS + 1)

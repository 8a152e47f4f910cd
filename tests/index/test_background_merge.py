"""Merges that the worker does beside everything else: large segments become one clustered segment."""

from __future__ import annotations

import os
import time

import numpy as np
import pytest

import app.index.building
from app.errors import StorageFull
from app.index.building import MergePolicy
from app.index.idset import IdSet
from app.index.local import LocalIndex
from app.index.manifest import SegmentKind
from app.types import Quantization

DIMENSION = 24
ROWS = 2400
ALL = IdSet([(1, 10_000)], everything=True)


@pytest.fixture(params=list(Quantization))
def policy(request):
    return MergePolicy(clustered_from=500, quantization=request.param)


@pytest.fixture
def index(tmp_path, entries, monkeypatch):
    """Four segments that a publish leaves alone."""
    monkeypatch.setattr(app.index.building, "PUBLISH_ROWS", 100)
    index = LocalIndex(tmp_path / "index", DIMENSION)
    for number in range(4):
        index.publish(entries(600 * number + 1, 600 * number + 600), [], number + 1)
    assert len(index.describe().segments) == 4
    return index


def found(index, query, number, allowed=ALL):
    return index.snapshot().search_dense(query(number), 10, allowed)


def recall(index, query, expected, allowed=ALL):
    hits = [{hit.id for hit in found(index, query, n, allowed)} for n in range(50)]
    return sum(len(a & b) for a, b in zip(hits, expected, strict=True)) / sum(map(len, expected))


def exact(query, vectors, allowed):
    """The ten nearest of `vectors`, row r being id r + 1, for each of 50 queries."""
    keep = allowed.contains(np.arange(1, len(vectors) + 1))
    scores = [np.where(keep, vectors @ query(n), -2) for n in range(50)]
    return [set((np.argsort(-each)[: min(10, keep.sum())] + 1).tolist()) for each in scores]


def test_a_merge_finds_what_was_found_before(index, policy, entries, query):
    """Nearly all of the ten nearest, by exact cosines, and every chunk exactly once."""
    before = [found(index, query, n) for n in range(50)]
    assert index.merge(policy)
    (segment,) = index.describe().segments
    expected = {Quantization.INT8: SegmentKind.CLUSTERED_INT8, Quantization.FP16: SegmentKind.CLUSTERED_FP16}
    assert (segment.kind, segment.count) == (expected[policy.quantization], ROWS)
    assert recall(index, query, [{hit.id for hit in hits} for hits in before]) >= 0.98
    scores = {(n, hit.id): hit.score for n, hits in enumerate(before) for hit in hits}
    again = {(n, hit.id): hit.score for n in range(50) for hit in found(index, query, n)}
    assert all(again[each] == pytest.approx(scores[each], abs=1e-5) for each in again.keys() & scores.keys())
    assert index.verify() == []
    assert [part.tolist() for part in index.ids()] == [list(range(1, ROWS + 1))] * 2
    assert not index.merge(policy), "there is nothing left to do"
    assert LocalIndex(index._directory, DIMENSION).verify() == [], "another process opens it"


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5])
def test_a_filter_costs_no_recall(index, policy, entries, query, share):
    """Whether it keeps documents here and there, or those of one subject."""
    assert index.merge(policy)
    vectors = np.stack([entry.embedding for entry in entries(1, ROWS)]).astype(np.float32)
    scattered = np.flatnonzero(np.random.default_rng(1).random(ROWS) < share) + 1
    subject = np.argsort(-(vectors @ vectors[0]))[: round(share * ROWS)] + 1
    everything = recall(index, query, exact(query, vectors, ALL))
    for ids in (scattered, subject):
        allowed = IdSet((int(each), 1) for each in ids)
        assert recall(index, query, exact(query, vectors, allowed), allowed) >= everything - 0.01
        assert all(hit.id in allowed for n in range(50) for hit in found(index, query, n, allowed))


def test_publishes_and_deletions_go_on_during_a_merge(index, policy, entries, query):
    """What is added meanwhile is found at once and stays; what is removed meanwhile is in nobody's answer."""
    moments = iter(range(1000))

    def in_between():
        if next(moments) == 1:
            index.publish(entries(ROWS + 1, ROWS + 3), [1], 5)
            assert index.describe().is_merging
            assert found(index, lambda _: entries(ROWS + 2, ROWS + 2)[0].embedding.astype(np.float32), 0)[0].id == 2402
        return False

    assert index.merge(policy, in_between)
    assert sorted(segment.count for segment in index.describe().segments) == [3, ROWS]
    assert index.describe().removed_versions == 1
    assert not index.describe().is_merging
    expected = list(range(4, ROWS + 4))
    assert [part.tolist() for part in index.ids()] == [expected] * 2
    assert index.verify() == []


def test_a_stopped_merge_changes_nothing(index, policy, tmp_path):
    """The generation stays, and no file is left of what was begun."""
    before, calls = index.describe(), iter([False, False, False, True])
    files = sorted(path.name for path in tmp_path.rglob("*") if path.name != "merge.lock")
    assert not index.merge(policy, lambda: next(calls))
    assert index.describe() == before
    assert sorted(path.name for path in tmp_path.rglob("*") if path.name != "merge.lock") == files


def test_a_merge_that_comes_too_late_is_dropped(index, policy, entries):
    """A rebuild in the middle of it takes away the segments that it read."""
    moments = iter(range(1000))

    def in_between():
        if next(moments) == 1:
            index.rebuild(entries(1, 90), 9)
        return False

    assert not index.merge(policy, in_between)
    assert [part.tolist() for part in index.ids()] == [list(range(1, 91))] * 2
    assert index.verify() == []


def test_a_full_disk_ends_a_merge_and_nothing_else(index, policy, monkeypatch):
    """The old segments go on answering, and the merge is done when there is room."""
    before = index.describe()

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(app.index.building, "write_clustered_segment", full)
        with pytest.raises(StorageFull):
            index.merge(policy)
    assert index.describe() == before
    assert index.merge(policy)


def test_dead_rows_are_dropped(index, policy, entries, query):
    """A merge takes over no row of a removed version, and then forgets the removal."""
    index.publish([], [1, 601, 2398], 5)
    assert index.merge(policy)
    assert index.describe().rows == ROWS - 9
    assert index.describe().removed_versions == 0
    assert {1, 2, 3, 601, 602, 603}.isdisjoint(hit.id for n in range(50) for hit in found(index, query, n))


def test_the_generation_before_a_merge_goes_when_nobody_can_be_opening_it(index, policy, tmp_path, query):
    """Its segments stay for a minute, and then free their room; what is found stays the same."""
    assert index.merge(policy)
    segments = tmp_path / "index" / "segments"
    index.tidy()
    assert len(list(segments.glob("*.faiss"))) == 5
    before = found(index, query, 1)
    long_ago = time.time() - 120
    os.utime(tmp_path / "index" / "CURRENT", (long_ago, long_ago))
    index.tidy()
    assert len(list(segments.glob("*.faiss"))) == 1
    assert found(index, query, 1) == before
    assert LocalIndex(tmp_path / "index", DIMENSION).verify() == []

"""The local index: atomic generations, folds, many readers and writers."""

from __future__ import annotations

import multiprocessing
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import app.index.building
from app.errors import EmbeddingModelMismatch, IndexUnavailable, StorageFull
from app.index.durable import exclusive
from app.index.idset import IdSet
from app.index.local import LocalIndex
from app.index.protocol import IndexEntry

ALL = IdSet([(1, 10_000)], everything=True)
WORDS = ["river bridge", "港口 信号", "copper winter orchard", "number3"]


def answers(index, query):
    return [index.snapshot().search_dense(query(n), 10, ALL) for n in range(8)] + [
        index.snapshot().search_lexical(w, 10, ALL) for w in WORDS
    ]


def names(directory):
    return sorted(path.relative_to(directory).as_posix() for path in directory.rglob("*"))


def test_a_crash_before_the_switch_leaves_the_old_generation(local, tmp_path, entries, query, monkeypatch):
    """A publish that ends between the lexical commit and the switch never happened, and can be repeated."""
    local.publish(entries(1, 9), [], 1)
    before, files = answers(local, query), names(tmp_path)

    def crash(*_):
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(app.index.building, "commit_manifest", crash)
        with pytest.raises(SystemExit):
            local.publish(entries(10, 18), [1], 2)
    assert names(tmp_path) == files
    fresh = LocalIndex(tmp_path / "index", local_dimension(entries))
    assert fresh.checkpoint() == 1
    assert answers(fresh, query) == before
    fresh.publish(entries(10, 18), [1], 2)
    assert fresh.verify() == []
    assert [part.tolist() for part in fresh.ids()] == [list(range(4, 19))] * 2


def local_dimension(entries):
    return len(entries(1, 1)[0].embedding)


def _publish_and_die(directory, dimension, batch):
    import os

    app.index.building.commit_manifest = lambda *_: os._exit(9)
    LocalIndex(directory, dimension).publish(batch, [], 2)


def _publish(directory, dimension, batch, sequence):
    LocalIndex(directory, dimension).publish(batch, [], sequence)


def test_a_killed_publisher_leaves_no_lock_and_no_litter(local, tmp_path, entries, query):
    """After a process died in mid-publish the next publish goes through and clears what it left."""
    local.publish(entries(1, 9), [], 1)
    local.publish(entries(10, 12), [], 2)
    clean = len(names(tmp_path))
    process = multiprocessing.get_context("spawn").Process(
        target=_publish_and_die, args=(tmp_path / "index", local_dimension(entries), entries(10, 18))
    )
    process.start()
    process.join(60)
    assert local.snapshot().search_lexical("number10", 1, ALL)
    local.publish(entries(13, 18), [], 3)
    assert local.verify() == []
    assert len(local.ids()[0]) == 18
    assert not list(tmp_path.rglob("*.tmp"))
    assert len(list((tmp_path / "index").glob("lexical-*"))) == 2
    assert len(names(tmp_path)) < clean + 30


def test_a_reader_sees_what_another_process_published(local, tmp_path, entries, query):
    """The next search after another process's publish finds it."""
    local.publish(entries(1, 9), [], 1)
    assert local.snapshot().search_lexical("number12", 1, ALL) == []
    process = multiprocessing.get_context("spawn").Process(
        target=_publish, args=(tmp_path / "index", local_dimension(entries), entries(10, 12), 2)
    )
    process.start()
    process.join(60)
    assert process.exitcode == 0
    assert local.checkpoint() == 2
    assert [hit.id for hit in local.snapshot().search_lexical("number12", 1, ALL)] == [12]
    assert local.snapshot().search_dense(entries(12, 12)[0].embedding.astype(np.float32), 1, ALL)[0].id == 12


def test_many_single_publishes_leave_few_segments(local, entries, query):
    """Eighty publishes of one document fold into a handful of segments with every chunk once."""
    for number in range(80):
        local.publish(entries(3 * number + 1, 3 * number + 3), [], number + 1)
    description = local.describe()
    assert len(description.segments) <= 14
    assert description.rows == description.lexical_documents == 240
    assert description.last_merge is not None
    assert local.verify() == []
    before = answers(local, query)
    local.rebuild(entries(1, 240), 80)
    assert answers(local, query) == before


def test_a_fold_drops_the_rows_of_removed_versions(local, entries, query):
    """A segment that is mostly dead is rewritten without its dead rows, and the removals are forgotten."""
    local.publish(entries(1, 12), [], 1)
    local.publish([], [1], 2)
    assert (local.describe().rows, local.describe().removed_versions) == (12, 1)
    local.publish([], [4, 7], 3)
    assert (local.describe().rows, local.describe().removed_versions) == (3, 0)
    assert sorted(hit.id for hit in local.snapshot().search_dense(query(0), 5, ALL)) == [10, 11, 12]
    local.publish([], [10, 999], 4)
    assert local.describe().segments == ()
    assert local.verify() == []


def test_rebuild_replaces_everything(local, entries, query):
    """After a rebuild only its entries are there, at its sequence, and publishing goes on from it."""
    local.publish(entries(1, 30), [4], 9)
    local.rebuild(iter(entries(7, 12)), 5)
    assert local.checkpoint() == 5
    assert [part.tolist() for part in local.ids()] == [[7, 8, 9, 10, 11, 12]] * 2
    local.publish(entries(13, 15), [7], 6)
    assert [part.tolist() for part in local.ids()] == [[10, 11, 12, 13, 14, 15]] * 2


def test_a_rebuild_that_fails_leaves_the_old_index(local, entries, query):
    """An error while the entries are read changes nothing."""
    local.publish(entries(1, 9), [], 1)
    before = answers(local, query)

    def broken():
        yield from entries(1, 3)
        raise ConnectionError

    with pytest.raises(ConnectionError):
        local.rebuild(broken(), 2)
    assert answers(local, query) == before
    assert local.verify() == []


def test_a_large_rebuild_is_cut_into_segments(local, entries, query, monkeypatch):
    """A rebuild writes segments of bounded size, and finds the same as one large segment."""
    local.rebuild(entries(1, 90), 1)
    before = answers(local, query)
    monkeypatch.setattr(app.index.building, "_MOST_SEGMENT_ROWS", 40)
    local.rebuild(entries(1, 90), 1)
    assert sorted(segment.count for segment in local.describe().segments) == [10, 40, 40]
    assert answers(local, query) == before


def test_readers_are_right_while_generations_come_and_go(local, tmp_path, entries, query):
    """Every search during twenty publishes sees all that was published before it began, and no error."""
    local.publish(entries(1, 3), [], 1)
    published, stop = [3], threading.Event()
    reader = LocalIndex(tmp_path / "index", local_dimension(entries))

    def read():
        searches = 0
        while not stop.is_set() or searches < 3:
            least = published[0]
            assert len(reader.snapshot().search_dense(query(searches), 1000, ALL)) >= least
            assert reader.snapshot().search_lexical(f"number{least}", 1, ALL)[0].id == least
            searches += 1

    with ThreadPoolExecutor(3) as pool:
        readers = [pool.submit(read) for _ in range(3)]
        try:
            for number in range(1, 21):
                local.publish(entries(3 * number + 1, 3 * number + 3), [], number + 1)
                published[0] = 3 * number + 3
        finally:
            stop.set()
        for result in readers:
            result.result()


def test_publishers_take_turns(tmp_path, entries):
    """Publishers in several threads never lose each other's work."""
    size = local_dimension(entries)

    def publish(number):
        # A publisher that comes late with an older sequence has been overtaken by one that saw more.
        LocalIndex(tmp_path / "index", size).publish(entries(1, 3 * number), [], number)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(publish, range(1, 13)))
    index = LocalIndex(tmp_path / "index", size)
    assert index.checkpoint() == 12
    assert index.verify() == []
    assert index.ids()[0].tolist() == list(range(1, 37))


def test_a_held_lock_is_waited_for_only_so_long(tmp_path):
    """A writer that cannot get the lock in time says that the index is busy."""
    lock = tmp_path / "lock"
    with exclusive(lock, 1), pytest.raises(IndexUnavailable), exclusive(lock, 0.02):
        pass
    with exclusive(lock, 0):
        pass


def test_a_full_disk_is_reported_and_changes_nothing(local, entries, query, monkeypatch):
    """Without room the publish raises `StorageFull`, the old generation answers, and the repeat succeeds."""
    local.publish(entries(1, 9), [], 1)
    before = answers(local, query)

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("app.index.durable.os.fsync", full)
        with pytest.raises(StorageFull):
            local.publish(entries(10, 12), [], 2)
    assert answers(local, query) == before
    local.publish(entries(10, 12), [], 2)
    assert local.checkpoint() == 2


def test_vectors_of_another_model_are_refused(local, entries, query):
    """An entry or a query of another dimension is an error that says so, and changes nothing."""
    local.publish(entries(1, 3), [], 1)
    with pytest.raises(EmbeddingModelMismatch):
        local.publish([IndexEntry(4, 4, np.zeros(7, dtype=np.float16), "river")], [], 2)
    with pytest.raises(EmbeddingModelMismatch):
        local.snapshot().search_dense(np.zeros(7, dtype=np.float32), 1, ALL)
    assert local.checkpoint() == 1
    assert local.verify() == []


def test_dead_hits_do_not_crowd_out_living_ones(local, entries):
    """When most of the best words belong to chunks that are no longer allowed, the limit is still filled."""
    text = "river " * 5
    many = [IndexEntry(e.id, e.first_id, e.embedding, text) for e in entries(1, 300)]
    weaker = [
        IndexEntry(e.id, e.first_id, e.embedding, "river and many other words beside it") for e in entries(301, 306)
    ]
    local.publish(many + weaker, [], 1)
    live = IdSet([(301, 6)], everything=True)
    assert [hit.id for hit in local.snapshot().search_lexical("river", 6, live)] == [301, 302, 303, 304, 305, 306]


def test_equal_scores_come_in_the_order_of_ids(local, entries):
    """Chunks with the same vector and the same words are told apart by id alone, however they were published."""
    same = [IndexEntry(e.id, e.first_id, entries(1, 1)[0].embedding, "granite") for e in entries(1, 60)]
    for sequence, start in enumerate((30, 0, 15, 45), start=1):
        local.publish(same[start : start + 15], [], sequence)
    assert [hit.id for hit in local.snapshot().search_lexical("granite", 5, ALL)] == [1, 2, 3, 4, 5]
    assert [hit.id for hit in local.snapshot().search_dense(same[0].embedding.astype(np.float32), 5, ALL)] == [
        1,
        2,
        3,
        4,
        5,
    ]


def test_a_page_pasted_as_a_query_is_cut_to_its_rarest_terms(local, entries):
    """Ten thousand characters still find the one chunk that they name."""
    local.publish(entries(1, 300), [], 1)
    absent = " ".join(f"absent{number}" for number in range(1000))
    page = f"River, river: {absent} number137"
    assert local.snapshot().search_lexical(page, 1, ALL)[0].id == 137

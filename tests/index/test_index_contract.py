"""What every `CollectionIndex` does, and that all do it alike."""

from __future__ import annotations

import numpy as np
import pytest

from app.index.idset import IdSet

ALL = IdSet([(1, 60)], everything=True)


def ids(hits):
    return [hit.id for hit in hits]


def both_legs(index, query):
    snapshot = index.snapshot()
    return snapshot.search_dense(query, 50, ALL), snapshot.search_lexical("river", 50, ALL)


def test_a_new_index_is_empty(index, query):
    """An index that was never published to has checkpoint 0 and finds nothing."""
    assert index.checkpoint() == 0
    assert index.snapshot().search_dense(query(0), 5, ALL) == []
    assert index.snapshot().search_lexical("river", 5, ALL) == []


def test_a_published_chunk_is_found_by_its_vector_and_by_its_words(index, entries):
    """Both legs find a published chunk, in English and in Chinese."""
    published = entries(1, 60)
    index.publish(published, [], 7)
    assert index.checkpoint() == 7
    hit = index.snapshot().search_dense(published[30].embedding.astype(np.float32), 1, ALL)[0]
    assert (hit.id, hit.score) == (31, pytest.approx(1.0, abs=1e-3))
    assert ids(index.snapshot().search_lexical("Number31", 5, ALL)) == [31]
    found = index.snapshot().search_lexical("发动机", 60, ALL)
    assert {hit.id for hit in found[:3]} <= {entry.id for entry in published if "发动" in entry.text}


def test_a_publish_that_is_repeated_changes_nothing(index, entries, query):
    """The same sequence, or an older one, is taken for done."""
    index.publish(entries(1, 9), [], 3)
    before = both_legs(index, query(1))
    index.publish(entries(1, 9), [], 3)
    index.publish(entries(10, 12), [], 2)
    assert index.checkpoint() == 3
    assert (
        index.snapshot().search_dense(query(1), 50, ALL),
        index.snapshot().search_lexical("river", 50, ALL),
    ) == before


def test_an_entry_that_is_there_already_is_not_doubled(index, entries, query):
    """Two publishers that read the same changes leave each chunk once."""
    index.publish(entries(1, 6), [], 1)
    index.publish(entries(4, 9), [], 2)
    assert sorted(ids(index.snapshot().search_dense(query(2), 50, ALL))) == list(range(1, 10))
    assert ids(index.snapshot().search_lexical("number5", 50, ALL)) == [5]


def test_a_removed_version_is_not_found(index, entries, query):
    """From the publish on that removes it, no leg finds any chunk of a version, and the others are still found."""
    index.publish(entries(1, 12), [], 1)
    index.publish([], [4], 2)
    alive = [1, 2, 3, *range(7, 13)]
    assert sorted(ids(index.snapshot().search_dense(query(3), 50, ALL))) == alive
    assert index.snapshot().search_lexical("number5", 5, ALL) == []
    assert ids(index.snapshot().search_lexical("number7", 5, ALL)) == [7]


def test_a_sequence_can_move_without_a_change(index, query):
    """A publish of nothing moves the checkpoint."""
    index.publish([], [], 5)
    assert index.checkpoint() == 5
    assert index.snapshot().search_dense(query(0), 3, ALL) == []


@pytest.mark.parametrize("allowed", [IdSet([]), IdSet([(500, 3)])])
def test_nothing_is_found_where_nothing_is_allowed(index, entries, query, allowed):
    """An empty filter, and one that names only other chunks, give empty lists."""
    index.publish(entries(1, 60), [], 1)
    assert index.snapshot().search_dense(query(0), 5, allowed) == []
    assert index.snapshot().search_lexical("river bridge", 5, allowed) == []


@pytest.mark.parametrize("text", ["", "   ", "?!…—", "\x00\ud800", "AND OR NOT", '"(unclosed', "title:river^2", "🦊🦊"])
def test_an_odd_query_is_no_error(index, entries, text):
    """Whatever a person types is words to look for, never a syntax."""
    index.publish(entries(1, 60), [], 1)
    assert all(hit.id >= 1 for hit in index.snapshot().search_lexical(text, 5, ALL))


def test_a_vector_that_is_no_number_finds_nothing(index, entries, query):
    """NaN and infinity give an empty list, never id -1."""
    index.publish(entries(1, 6), [], 1)
    for bad in (np.nan, np.inf):
        assert index.snapshot().search_dense(np.full_like(query(0), bad), 3, ALL) == []


def test_queries_that_go_together_find_what_each_finds_alone(index, entries, query):
    """Whatever the others are: in number, and whether they are numbers."""
    index.publish(entries(1, 40), [], 1)
    index.publish(entries(41, 60), [], 2)
    snapshot, few = index.snapshot(), IdSet([(4, 3), (43, 3)])
    queries = np.stack([query(0), np.full_like(query(0), np.nan), *(query(number) for number in range(1, 9))])
    for some, limit, allowed in ((queries, 7, ALL), (queries[:1], 7, ALL), (queries, 7, few), (queries, 0, ALL)):
        found = snapshot.search_dense_together(some, limit, allowed)
        assert found == [snapshot.search_dense(each, limit, allowed) for each in some]
    assert len(snapshot.search_dense_together(queries, 7, few)[2]) == 6


def test_asking_for_more_than_there_is_gives_what_there_is(index, entries, query):
    """A limit beyond the size of the index is filled with nothing; a limit of zero gives nothing."""
    index.publish(entries(1, 6), [], 1)
    assert sorted(ids(index.snapshot().search_dense(query(0), 1000, ALL))) == [1, 2, 3, 4, 5, 6]
    assert index.snapshot().search_dense(query(0), 0, ALL) == []
    assert index.snapshot().search_lexical("number1", 0, ALL) == []


def test_local_search_equals_exact_search(local, reference, entries, query):
    """Over several segments, both legs agree with a look at every chunk: ids, order and scores."""
    for sequence, first in enumerate(range(1, 601, 60), start=1):
        for index in (local, reference):
            index.publish(entries(first, first + 59), [], sequence)
    filters = [
        IdSet([(1, 600)], everything=True),
        IdSet([(i, 3) for i in range(1, 600, 3) if i % 2]),
        IdSet([(i, 3) for i in range(1, 600, 30)]),
        IdSet([(i, 3) for i in range(1, 600, 3) if i % 7]),
        IdSet([(301, 3)]),
    ]
    for allowed in filters:
        for number in range(10):
            expected, found = (i.snapshot().search_dense(query(number), 10, allowed) for i in (reference, local))
            assert ids(found) == ids(expected)
            assert [hit.score for hit in found] == pytest.approx([hit.score for hit in expected], abs=1e-5)
        for text in ("river", "copper lantern winter", "velvet 港口 velvet", "桥梁发动机", "number17 number302 meadow"):
            expected, found = (i.snapshot().search_lexical(text, 20, allowed) for i in (reference, local))
            assert [hit.score for hit in found] == pytest.approx([hit.score for hit in expected], abs=3e-4)
            assert {hit.id for hit in found} <= {
                hit.id for hit in reference.snapshot().search_lexical(text, 600, allowed)
            }

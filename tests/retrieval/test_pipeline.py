"""From a query to passages, over a real database and a real index."""

from __future__ import annotations

import asyncio
import shutil
from typing import Any

import pytest

from app.errors import CollectionNotFound, EmbeddingModelMismatch, FootnoteError, IndexDamaged, InvalidFilter
from app.index.idset import IdSet
from app.index.snapshot import Snapshot
from app.store import documents
from app.store.collections import change_settings, create_collection, get_collection
from tests.retrieval.shelves import TEXTS, Shelf
from tests.store.library import NOW


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("When does the dome close?", "dome"),
        ("instrument lending", "loans"),
        ("圆顶何时关闭", "圆顶"),
        ("夜班几点", "夜班"),
    ],
)
def test_both_languages_are_found(shelf: Shelf, query: str, name: str) -> None:
    """In a mixed collection the best passage is the right one, in either language."""
    passage = shelf.search(query).passages[0]
    assert passage.text == TEXTS[name]
    assert passage.filename == f"{name}.txt"
    assert passage.scores.lexical is not None
    assert passage.scores.dense is not None


@pytest.mark.anyio
async def test_texts_are_compared_with_a_query(shelf: Shelf) -> None:
    """By the cosine of their embeddings, in the order of the texts; of none there is nothing to say."""
    with shelf.database.read() as connection:
        collection = get_collection(connection, "default")
    same, near, far = await shelf.retriever.similarities(
        "the dome closes", ["the dome closes", "the dome opens", "onion soup"], collection=collection
    )
    assert same == pytest.approx(1.0, abs=1e-5)
    assert same > near > far
    assert await shelf.retriever.similarities("the dome", [], collection=collection) == []


def test_a_deleted_document_is_never_returned(shelf: Shelf) -> None:
    """From its DELETE on nothing of it is found, though the index still holds it until the next sync."""
    gone = shelf.put("The dome is copper and green.")
    assert "The dome is copper and green." in shelf.found("copper dome")
    shelf.delete(gone)
    assert "The dome is copper and green." not in shelf.found("copper dome", top_k=20)
    collection_id = shelf.read(shelf.put("Another note.")).collection_id
    with shelf.database.read() as connection:
        collection = get_collection(connection, "default")
    shelf.core.projection.sync(collection_id)
    assert shelf.core.projection.problems(collection) == []


def test_what_is_not_live_is_not_found(shelf: Shelf) -> None:
    """A version that is in the index but not live yet is not returned."""
    shelf.upload("The dome is copper and green.")
    job = shelf.claim()
    assert job is not None
    shelf.store(job, ["The dome is copper and green."])
    shelf.core.projection.sync(shelf.read(job.document_id).collection_id)
    assert "The dome is copper and green." not in shelf.found("copper dome", top_k=20)
    shelf.go_live(job)
    assert shelf.found("copper dome")[0] == "The dome is copper and green."


def test_a_filter_is_applied_before_the_search(shelf: Shelf) -> None:
    """A document that meets the filter is found, however many others rank before it."""
    assert shelf.found("dome", filters={"name": "loans"}) == [TEXTS["loans"]]
    both = shelf.found("dome", filters={"name": {"$in": ["loans", "watch"]}})
    assert sorted(both) == sorted([TEXTS["loans"], TEXTS["watch"]])
    assert shelf.found("dome", filters={"name": {"$nin": list(TEXTS)}}) == []
    with pytest.raises(InvalidFilter):
        shelf.search("dome", filters={"nothing": 1})


def test_a_remembered_filter_follows_the_metadata(shelf: Shelf) -> None:
    """A filter finds what is true now, also right after the metadata changed."""
    shelf.put("The lamp is lit.", external_id="lamp", metadata={"name": "lamp"})
    assert shelf.found("lamp", filters={"name": "lamp"}) == ["The lamp is lit."]
    shelf.upload("The lamp is out.", external_id="lamp", metadata={"name": "lantern"})
    assert shelf.found("lamp", filters={"name": "lantern"}) == ["The lamp is lit."]
    with pytest.raises(InvalidFilter):
        shelf.search("lamp", filters={"name ": "lamp"})
    assert shelf.found("lamp", filters={"name": "lamp"}) == []


def test_what_may_be_found_is_changed_and_not_made_anew(shelf: Shelf) -> None:
    """A set of live chunks comes out of the one before, whose bitmaps it can use; chunks that wait change nothing."""

    def allowed() -> IdSet:
        with shelf.database.read() as connection:
            return shelf.core.projection.allowed(connection, get_collection(connection, "default"), None)

    before = allowed()
    shelf.put("A sixth note.")
    after = allowed()
    assert after.change is not None
    assert after.change.origin is before
    assert len(after) == len(before) + 1
    shelf.upload("A seventh note.")
    job = shelf.claim()
    assert job is not None
    shelf.store(job, ["A seventh note."])
    assert allowed() is after


def test_explain_tells_why(shelf: Shelf) -> None:
    """Every candidate of every leg is told, with its scores and why it was dropped."""
    found = shelf.search("When does the dome close?", top_k=2, explain=True)
    assert found.explain is not None
    rows = found.explain["candidates"]
    assert len(rows) == len(TEXTS)
    assert [row["dropped"] for row in rows] == [None, None] + ["ranked below the best 2"] * 3
    assert found.explain["dense_weight"] == pytest.approx(0.5 * found.coverage)
    assert [row["chunk_id"] for row in rows[:2]] == [passage.chunk_id for passage in found.passages]


def test_a_collection_chooses_how_many_passages(shelf: Shelf) -> None:
    """Without a number in the request it is the collection's, and without one there, the server's."""
    everything = shelf.search("the dome of the night", top_k=None).passages
    with shelf.database.write() as connection:
        change_settings(connection, "default", {"top_k": 2}, NOW)
    assert len(everything) > 2
    assert shelf.search("the dome of the night", top_k=None).passages == everything[:2]
    assert len(shelf.search("the dome of the night", top_k=3).passages) == 3


def test_a_collection_chooses_its_weight(shelf: Shelf) -> None:
    """The weight of the dense leg is the collection's where it has one."""
    with shelf.database.write() as connection:
        change_settings(connection, "default", {"dense_weight": 0.0}, NOW)
    found = shelf.search("dome", explain=True)
    assert found.explain is not None
    assert found.explain["dense_weight"] == 0


@pytest.mark.parametrize("damage", ["folder", "pointer", "pointer is a folder", "segment", "every file"])
def test_a_damaged_index_heals_by_itself(shelf: Shelf, damage: str) -> None:
    """Whatever happens to the index's files, the next search rebuilds them from the database and finds the same."""
    expected = shelf.found("When does the dome close?")
    folder = next(path for path in shelf.core.settings.index_dir.iterdir() if path.is_dir())
    files = [path for path in folder.rglob("*") if path.is_file()]
    if damage == "folder":
        shutil.rmtree(folder)
    elif damage == "pointer":
        (folder / "CURRENT").write_bytes(b"nothing")
    elif damage == "pointer is a folder":
        (folder / "CURRENT").unlink()
        (folder / "CURRENT").mkdir()
    else:
        for path in files:
            if damage == "every file" or path.parent.name == "segments" or path.parent.parent.name == "segments":
                content = path.read_bytes()
                path.write_bytes(content[: len(content) // 2] + b"\xff" * (len(content) - len(content) // 2))
    assert shelf.found("When does the dome close?") == expected
    with shelf.database.read() as connection:
        collection = get_collection(connection, "default")
    assert shelf.core.projection.problems(collection) == []


@pytest.mark.parametrize("leg", ["search_dense_together", "search_lexical"])
def test_damage_that_a_leg_meets_is_healed(shelf: Shelf, monkeypatch: pytest.MonkeyPatch, leg: str) -> None:
    """Whichever leg it is, and in whatever thread it runs: the index is made anew, and the search goes on."""
    expected = shelf.found("When does the dome close?")
    real = getattr(Snapshot, leg)
    met: list[str] = []

    def broken_once(*arguments: Any) -> Any:
        if not met:
            met.append(leg)
            raise IndexDamaged("A file ends too soon.")
        return real(*arguments)

    monkeypatch.setattr(Snapshot, leg, broken_once)
    assert shelf.found("When does the dome close?") == expected
    assert met == [leg]


@pytest.mark.anyio
async def test_searches_that_go_together_stay_apart(shelf: Shelf) -> None:
    """Each finds, or fails, as if it were alone: other filters, other collections, and what is wrong with one."""
    with shelf.database.write() as connection:
        create_collection(connection, "empty", {}, NOW)
    asked: list[dict[str, Any]] = [
        {"query": "When does the dome close?"},
        {"query": "When does the dome close?", "filters": {"name": "loans"}},
        {"query": "the night watch", "collection": "empty"},
        {"query": "instrument lending", "explain": True},
        {"query": "instrument lending", "collection": "unknown"},
        {"query": "夜班几点", "filters": {"name": {"$near": 1}}},
        {"query": "夜班几点", "top_k": 2},
    ]

    async def search(**options: Any) -> Any:
        try:
            found = await shelf.retriever.retrieve(**{"collection": "default", "top_k": 3, **options})
        except FootnoteError as error:
            return type(error)
        return found.passages, found.legs

    together = await asyncio.gather(*(search(**each) for each in asked))
    assert together == [await search(**each) for each in asked]
    assert together[4:6] == [CollectionNotFound, InvalidFilter]
    assert [len(found[0]) for found in (together[0], together[1], together[2], together[6])] == [3, 1, 0, 2]


def test_a_damaged_index_is_found_and_rebuilt_on_request(shelf: Shelf) -> None:
    """Chunks that the index lost without a trace are noticed, and a rebuild brings them back."""
    with shelf.database.read() as connection:
        collection = get_collection(connection, "default")
    index = shelf.core.projection.index(collection)
    assert index is not None
    index.rebuild([], collection.sequence)
    assert "5 chunks are missing from the vector index" in shelf.core.projection.problems(collection)
    shelf.core.projection.rebuild(collection.id)
    assert shelf.core.projection.problems(collection) == []
    assert shelf.found("dome")[0] == TEXTS["dome"]


def test_another_model_is_refused(shelf: Shelf) -> None:
    """A collection that was embedded with another model is not searched with this one's vectors."""
    with shelf.database.write() as connection:
        connection.exec_driver_sql("UPDATE spaces SET model = 'other'")
    with pytest.raises(EmbeddingModelMismatch, match="other"):
        shelf.search("dome")


def test_an_index_that_has_everything_does_not_lag(shelf: Shelf) -> None:
    """Nothing is left to take up once a document is live."""
    with shelf.database.read() as connection:
        assert shelf.core.projection.lag(get_collection(connection, "default")) == 0
        assert len(documents.live_ranges(connection, get_collection(connection, "default").id)) == len(TEXTS)


@pytest.mark.parametrize("query", ["?", "。", "a" * 10_000, "\x00", "*:* AND (", "🙂", '"unclosed'])
def test_any_text_can_be_searched(shelf: Shelf, query: str) -> None:
    """No query is an error, whatever it is made of."""
    assert len(shelf.search(query).passages) <= 3

"""Chunks, and the numbers that the index follows."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from app.errors import EmbeddingModelMismatch
from app.store import documents
from app.store.chunks import chunk_ids, chunks_after, document_chunks, live_chunks, removals_after
from app.store.collections import advance_sequence, get_collection
from app.store.spaces import bind_model
from tests.store.library import EMBEDDER, Library


def test_a_chunk_comes_back_as_it_was_stored(library: Library) -> None:
    """Text, offsets and embedding are the ones that were stored, the embedding as float16."""
    document_id = library.ingest("One. 二。", texts=["One.", "二。"])
    with library.database.read() as connection:
        collection = get_collection(connection, "default")
        stored = list(chunks_after(connection, collection.id, 1, 0, collection.sequence))
        shown = document_chunks(connection, document_id, limit=10, after_ordinal=-1)
        _, text = documents.live_text(connection, document_id)
    assert [chunk.text for chunk in stored] == ["note\nOne.", "note\n二。"]
    assert all(chunk.first_id == stored[0].id for chunk in stored)
    expected = EMBEDDER.embed_documents(["One.", "二。"]).astype(np.float16)
    assert np.array_equal(np.stack([chunk.embedding for chunk in stored]), expected)
    assert [each.chunk_id for each in shown] == [f"{document_id}.1.0", f"{document_id}.1.1"]
    assert all(text[each.chunk.start : each.chunk.end] == each.chunk.text for each in shown)


def test_only_what_is_live_is_hydrated(library: Library) -> None:
    """A hit on a chunk that is not live, or no more, becomes nothing."""
    library.upload("A note.")
    job = library.claim()
    assert job is not None
    last = library.store(job, ["A", "note."])
    with library.database.read() as connection:
        collection = get_collection(connection, "default")
        assert live_chunks(connection, collection.id, [last - 1, last]) == {}
    library.go_live(job)
    with library.database.read() as connection:
        assert live_chunks(connection, collection.id, [last - 1, last, 999]).keys() == {last - 1, last}
        assert live_chunks(connection, "col_other", [last]) == {}
    library.delete(job.document_id)
    with library.database.read() as connection:
        assert live_chunks(connection, collection.id, [last - 1, last]) == {}


def test_the_sequence_never_goes_back(library: Library) -> None:
    """Numbers that many threads take at once are all different, and the last is the largest."""
    with library.database.read() as connection:
        collection = get_collection(connection, "default")
    taken: list[int] = []

    def take() -> None:
        for _ in range(10):
            with library.database.write() as connection:
                taken.append(advance_sequence(connection, collection.id, 3))

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == list(range(3, 121, 3))


def test_removals_are_told_once(library: Library) -> None:
    """A removal is read between two sequence numbers, so whoever is past it does not see it again."""
    first = library.ingest("First.")
    library.ingest("Second.")
    library.delete(first)
    with library.database.write() as connection:
        collection = get_collection(connection, "default")
        assert removals_after(connection, collection.id, 0, collection.sequence) == [1]
        assert removals_after(connection, collection.id, 0, collection.sequence - 1) == []
        assert list(chunk_ids(connection, collection.id)) != [1]
        assert removals_after(connection, collection.id, collection.sequence, collection.sequence) == []


def test_a_collection_keeps_its_model(library: Library) -> None:
    """Embeddings of another model, or of another length, are refused with both names."""
    library.ingest("First.")
    with library.database.write() as connection:
        collection = get_collection(connection, "default")
        assert bind_model(connection, collection.id, EMBEDDER.name, EMBEDDER.dimension) == 1
        for model, dimension in (("other", EMBEDDER.dimension), (EMBEDDER.name, 3)):
            with pytest.raises(EmbeddingModelMismatch, match=r"hashing \(64 dimensions\)"):
                bind_model(connection, collection.id, model, dimension)

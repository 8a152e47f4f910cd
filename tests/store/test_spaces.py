"""The embedding models of a collection, in both databases."""

from __future__ import annotations

import numpy as np
import pytest

from app.errors import EmbeddingModelChanged, EmbeddingModelMismatch, IndexUnavailable
from app.store import spaces
from app.store.chunks import chunks_after
from app.store.collections import get_collection, lock_collection
from app.store.tables import embeddings
from app.types import Collection
from tests.store.library import NOW, Library


def collection_of(library: Library) -> Collection:
    with library.database.read() as connection:
        return get_collection(connection, "default")


def give(library: Library, model: str, dimension: int) -> spaces.Space:
    """Every chunk gets a vector of this model, but not yet the collection."""
    with library.database.write() as connection:
        collection = lock_collection(connection, collection_of(library).id)
        space = spaces.begin(connection, collection, model, dimension)
        found = spaces.unembedded(connection, collection.id, space.number, after=-1, limit=100)
        vectors = np.ones((len(found), dimension), dtype=np.float32)
        spaces.add_embeddings(connection, collection.id, space.number, [chunk.id for chunk in found], vectors)
    return space


def switch(library: Library, space: spaces.Space, now: float = NOW) -> None:
    with library.database.write() as connection:
        spaces.switch(connection, collection_of(library), space.number, now)


def test_a_chunk_has_a_vector_in_each_space(library: Library) -> None:
    """Each is read in its own space; a space that lacks one cannot be read."""
    library.ingest("First.", texts=["First.", "Second."])
    space = give(library, "other", 3)
    library.ingest("Third.")
    collection = collection_of(library)
    assert (collection.space, collection.next_model) == (1, "other")
    with library.database.read() as connection:
        assert spaces.count_unembedded(connection, collection.id, space.number) == 1
        first = spaces.first_unembedded(connection, collection.id, space.number)
        assert first is not None
        known = list(chunks_after(connection, collection.id, space.number, 0, first - 1))
        assert [chunk.embedding.tolist() for chunk in known] == [[1, 1, 1]] * 2
        with pytest.raises(IndexUnavailable, match="footnote reindex"):
            list(chunks_after(connection, collection.id, space.number, 0, collection.sequence))
        assert len(list(chunks_after(connection, collection.id, 1, 0, collection.sequence))) == 3


def test_a_space_is_begun_once(library: Library) -> None:
    """The same model goes on in its space, with another length or name it gets a new one."""
    library.ingest("First.")
    numbers = [give(library, model, size).number for model, size in (("a", 3), ("b", 3), ("a", 3), ("a", 4))]
    assert numbers == [2, 3, 2, 4]


def test_there_and_back(library: Library) -> None:
    """The one that answered last is the one to go back to."""
    library.ingest("First.")
    with library.database.read() as connection:
        assert spaces.previous(connection, collection_of(library)) is None
    for seconds, model in enumerate("ab"):
        switch(library, give(library, model, 3), NOW + seconds)
    with library.database.read() as connection:
        before = spaces.previous(connection, collection_of(library))
    assert before is not None
    assert before.model == "a"
    assert collection_of(library).is_model_chosen


def test_who_embedded_before_the_switch_comes_too_late(library: Library) -> None:
    """After a reindex it is to be done again; without one the settings are wrong."""
    library.ingest("First.")
    collection_id = collection_of(library).id
    with library.database.write() as connection, pytest.raises(EmbeddingModelMismatch):
        spaces.bind_model(connection, collection_id, "other", 3)
    switch(library, give(library, "other", 3))
    with library.database.write() as connection:
        assert spaces.bind_model(connection, collection_id, "other", 3) == 2
        with pytest.raises(EmbeddingModelChanged):
            spaces.bind_model(connection, collection_id, "hashing", 64)


def test_vectors_go_with_their_chunks(library: Library) -> None:
    """A deleted document leaves nothing in any space, and what is added for it then is not stored."""
    document_id = library.ingest("First.")
    give(library, "other", 3)
    collection = collection_of(library)
    library.delete(document_id)
    with library.database.write() as connection:
        spaces.add_embeddings(connection, collection.id, 2, [1], np.ones((1, 3), dtype=np.float32))
        assert connection.execute(embeddings.select()).all() == []


def test_pruning_leaves_the_space_that_answers(library: Library) -> None:
    """Every chunk keeps one vector, that of its collection's model; it takes as many steps as are asked for."""
    library.ingest("First.", texts=["First.", "Second.", "Third."])
    switch(library, give(library, "other", 3))
    give(library, "unfinished", 5)
    counts = []
    while not counts or counts[-1]:
        with library.database.write() as connection:
            counts.append(spaces.prune(connection, lock_collection(connection, collection_of(library).id), 2))
    assert counts == [2, 1, 0]
    collection = collection_of(library)
    assert (collection.embedding_model, collection.next_model) == ("other", None)
    with library.database.read() as connection:
        assert connection.execute(embeddings.select()).all() == []
        assert spaces.index_names(connection) == {f"{collection.id}.2"}
        found = list(chunks_after(connection, collection.id, 2, 0, collection.sequence))
    assert [chunk.embedding.tolist() for chunk in found] == [[1, 1, 1]] * 3

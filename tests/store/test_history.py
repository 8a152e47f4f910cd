"""Versions that are kept, and the way back to one."""

from __future__ import annotations

import pytest

from app.errors import Conflict, DocumentNotFound, VersionNotFound
from app.store import documents, originals
from app.store.chunks import chunk_ids, chunks_after, document_chunks, live_embeddings
from app.store.collections import change_settings, get_collection
from app.store.history import list_versions, restore_version
from tests.store.library import EMBEDDER, NOW, Library


def put(library: Library, *editions: str) -> str:
    """A document that was replaced so often."""
    for edition in editions:
        document_id = library.ingest(edition, texts=edition.split("|"), external_id="page")
    return document_id


def live_texts(library: Library, document_id: str) -> list[str]:
    with library.database.read() as connection:
        return [each.chunk.text for each in document_chunks(connection, document_id, limit=99, after_ordinal=-1)]


def test_earlier_versions_are_kept_but_not_indexed(library: Library) -> None:
    """The index holds the live version alone, the list all of them, the newest first."""
    document_id = put(library, "One.", "Two.|More.", "Three.")
    with library.database.read() as connection:
        found = list_versions(connection, document_id)
        collection = get_collection(connection, "default")
        ids = chunk_ids(connection, collection.id)
        indexed = list(chunks_after(connection, collection.id, 1, 0, collection.sequence))
        assert len(originals.needed(connection)) == 3
    assert [(each.number, each.chunks, each.is_live) for each in found] == [(3, 1, True), (2, 2, False), (1, 1, False)]
    assert [chunk.text for chunk in indexed] == ["note\nThree."]
    assert list(ids) == [chunk.id for chunk in indexed]


@pytest.mark.parametrize(("keep", "left"), [(None, [6, 5, 4, 3]), (1, [6, 5]), (0, [6])])
def test_only_a_few_are_kept(library: Library, keep: int | None, left: list[int]) -> None:
    """As many as the collection says; with the others go their originals."""
    if keep is not None:
        with library.database.write() as connection:
            change_settings(connection, "default", {"keep_versions": keep}, NOW)
    document_id = put(library, *(f"Edition {number}." for number in range(6)))
    with library.database.read() as connection:
        assert [each.number for each in list_versions(connection, document_id)] == left
        assert len(originals.needed(connection)) == len(left)


def test_back_to_an_earlier_version(library: Library) -> None:
    """It answers again with its own text, chunks and vectors, under a new number; both others are kept."""
    document_id = put(library, "One.|Same.", "Two.|Same.")
    with library.database.write() as connection:
        assert restore_version(connection, document_id, 1, NOW) == 3
    assert live_texts(library, document_id) == ["Two.", "Same."]
    job = library.claim()
    assert job is not None
    library.go_live(job)
    assert live_texts(library, document_id) == ["One.", "Same."]
    with library.database.read() as connection:
        collection = get_collection(connection, "default")
        assert documents.live_text(connection, document_id) == (3, "One.\nSame.")
        found = live_embeddings(connection, collection.id, 1, [document_id])
        assert [each.number for each in list_versions(connection, document_id)] == [3, 2, 1]
    assert found["note\nOne."].tolist() == EMBEDDER.embed_documents(["One."])[0].astype("float16").tolist()


def test_what_cannot_be_restored(library: Library) -> None:
    """The version that answers, one that is not there, one without text, and a document that is gone."""
    document_id = put(library, "One.", "Two.")
    library.upload("Three.", external_id="page")
    for number, error in ((7, VersionNotFound), (3, VersionNotFound)):
        with library.database.write() as connection, pytest.raises(error):
            restore_version(connection, document_id, number, NOW)
    with library.database.write() as connection:
        assert restore_version(connection, document_id, 2, NOW) == 4  # instead of the third, which was on its way
    job = library.claim()
    assert job is not None
    library.go_live(job)
    with library.database.write() as connection, pytest.raises(Conflict):
        restore_version(connection, document_id, 4, NOW)
    with library.database.write() as connection, pytest.raises(DocumentNotFound):
        restore_version(connection, "doc_missing", 1, NOW)


def test_a_deleted_document_leaves_no_version(library: Library) -> None:
    """Nothing of it is in the database, and the index is told once of what it still holds."""
    document_id = put(library, "One.", "Two.")
    library.delete(document_id)
    with library.database.read() as connection:
        assert originals.needed(connection) == set()
        assert list(chunk_ids(connection, get_collection(connection, "default").id)) == []

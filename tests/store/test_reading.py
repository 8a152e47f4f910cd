"""Reading around a chunk: live versions only, in the order of the text."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from app.store import reading
from app.store.chunks import VersionContent, store_chunks
from app.store.collections import get_collection
from app.store.database import Database
from app.store.documents import NewVersion, get_document, insert_document, make_live
from app.types import Chunk
from tests.store.library import NOW

TEXT = "one. two. three. four. five. six."
CHUNKS = [
    Chunk(at, start, start + 4, TEXT[start : start + 4], page, headings, 2)
    for at, (start, page, headings) in enumerate(
        [(0, 1, ("A",)), (5, 1, ("A",)), (10, 1, ("A", "B")), (17, 2, ("A", "B")), (23, 3, ()), (29, 3, ("C",))]
    )
]


def put(database: Database) -> str:
    chunks = [*CHUNKS]
    chunks[2] = replace(chunks[2], page_breaks=((12, 2),))
    with database.write() as connection:
        collection = get_collection(connection, "default")
        content = NewVersion("a.txt", "text/plain", 1, "0" * 64)
        document_id = insert_document(connection, collection.id, content, external_id=None, metadata={}, now=NOW)
        vectors = np.ones((len(chunks), 64), dtype=np.float32)
        store_chunks(connection, collection.id, "hashing", [VersionContent(document_id, 1, TEXT, 3, chunks, vectors)])
        make_live(connection, [get_document(connection, document_id)], NOW)
    return document_id


def test_neighbours(database: Database) -> None:
    """What stands before and behind, itself left out, as far as the document goes."""
    document_id = put(database)
    with database.read() as connection:
        around = reading.neighbours(connection, document_id, 1, 1, distance=2)
        assert [each.chunk.ordinal for each in around] == [0, 2, 3]
        assert reading.neighbours(connection, document_id, 2, 1, distance=2) == []  # another version


def test_a_page(database: Database) -> None:
    """A page begins with the chunk that runs into it from the page before."""
    document_id = put(database)
    with database.read() as connection:
        pages = {
            page: [each.chunk.ordinal for each in reading.page_chunks(connection, document_id, 1, page, limit=9)]
            for page in (1, 2, 3, 4)
        }
        assert pages == {1: [0, 1, 2], 2: [2, 3], 3: [4, 5], 4: []}
        assert len(reading.page_chunks(connection, document_id, 1, 1, limit=1)) == 1


def test_an_outline(database: Database) -> None:
    """Each heading path once where it begins, with its page; chunks without one are passed over."""
    document_id = put(database)
    with database.read() as connection:
        found = [(each.path, each.page) for each in reading.outline(connection, document_id, 1, limit=9)]
        assert found == [(("A",), 1), (("A", "B"), 1), (("C",), 3)]
        assert len(reading.outline(connection, document_id, 1, limit=1)) == 1
        assert reading.live_versions(connection, [document_id, "doc_none"]) == {document_id: 1}
        assert reading.live_range(connection, document_id)[1] == len(CHUNKS)
        assert reading.live_range(connection, "doc_none") == (0, 0)

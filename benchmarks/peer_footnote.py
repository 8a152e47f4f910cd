"""Footnote behind the interface of its peers: its store and its index in this process, without server and model."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from app.errors import IndexDamaged
from app.projection import Projection
from app.store.chunks import live_chunks
from app.store.collections import get_collection
from app.store.documents import delete_document, find_by_external_id
from benchmarks.filling import COLLECTION, collection_id, go_live, open_store, store_rows
from benchmarks.peer_engines import ROWS_PER_DOCUMENT, Found, Vectors

_ROWS_PER_TRANSACTION = 10_000
_CANDIDATES = 60  # as the pipeline asks for
_FIRST_ROW = re.compile(r"rows-(\d+)\.txt")


class FootnoteLibrary:
    """Everything that a search does but the words: the dense leg, and the hits' live rows."""

    efforts = (None,)  # the index chooses

    def __init__(self, folder: Path) -> None:
        self.healed = False
        self._opened = open_store(folder)
        self._database = self._opened.__enter__()
        self._projection = Projection(self._database, folder / "index")

    def build(self, vectors: Vectors, texts: Sequence[str]) -> None:
        for at in range(0, len(texts), _ROWS_PER_TRANSACTION):
            part = slice(at, at + _ROWS_PER_TRANSACTION)
            go_live(self._database, store_rows(self._database, at, texts[part], vectors[part].astype(np.float16)))
        self._projection.rebuild(collection_id(self._database))

    def open(self) -> None:
        """As a worker that starts: what the index lacks is taken up, and all of it where it is damaged."""
        with self._database.read() as connection:
            index = self._projection.index(get_collection(connection, COLLECTION))
        try:
            if index is not None:
                index.snapshot()
        except IndexDamaged:
            self.healed = True
            self._projection.heal(collection_id(self._database))
        self._projection.sync(collection_id(self._database))

    def add(self, first: int, vectors: Vectors, texts: Sequence[str]) -> None:
        document_ids = store_rows(self._database, first, texts, vectors.astype(np.float16))
        self._projection.sync(collection_id(self._database))
        go_live(self._database, document_ids)

    def delete(self, document: int) -> None:
        with self._database.write() as connection:
            name = f"rows-{document * ROWS_PER_DOCUMENT}"
            found = find_by_external_id(connection, get_collection(connection, COLLECTION).id, name)
            if found is not None:
                delete_document(connection, found.id)

    def search(self, vector: Vectors, count: int, effort: Any) -> list[Found]:
        try:
            return self._search(vector, count)
        except IndexDamaged:
            self.healed = True
            self._projection.heal(collection_id(self._database))
            return self._search(vector, count)

    def close(self) -> None:
        self._opened.__exit__(None, None, None)

    def _search(self, vector: Vectors, count: int) -> list[Found]:
        with self._database.read() as connection:
            collection = get_collection(connection, COLLECTION)
            index = self._projection.index(collection)
            if index is None:
                return []
            allowed = self._projection.allowed(connection, collection, None)
            hits = index.snapshot().search_dense(vector, _CANDIDATES, allowed)[:count]
            stored = live_chunks(connection, collection.id, [hit.id for hit in hits])
        return [
            Found(_row(stored[hit.id].filename, stored[hit.id].chunk.ordinal), stored[hit.id].chunk.text, hit.score)
            for hit in hits
            if hit.id in stored
        ]


def _row(filename: str, ordinal: int) -> int:
    match = _FIRST_ROW.fullmatch(filename)
    return int(match[1]) + ordinal if match else -1

"""A library that can be searched."""

from __future__ import annotations

from typing import Any

import anyio

from app.bootstrap import Core, build_retriever
from app.retrieval.pipeline import Retrieval
from app.store.collections import get_collection_by_id
from tests.store.library import Library

TEXTS = {
    "dome": "The dome closes at 15 m/s.",
    "watch": "The night watch begins at nine.",
    "loans": "Instruments are lent for two weeks.",
    "圆顶": "风速达到每秒十五米时，圆顶必须关闭。",
    "夜班": "夜班从九点开始，值班员记录天气。",
}


class Shelf(Library):
    """A library whose index is kept up to date, and that can be searched."""

    def __init__(self, core: Core) -> None:
        super().__init__(core.database, core.blobs)
        self.core = core
        self.retriever = build_retriever(core)

    def put(self, text: str, **fields: Any) -> str:
        """As the pipeline does it: the index has a version before it goes live."""
        document_id = self.upload(text, **fields).document.id
        job = self.claim()
        assert job is not None
        with self.database.read() as connection:
            collection = get_collection_by_id(connection, self.read(document_id).collection_id)
        self.store(job, [text], self.core.embedders.of(collection))
        self.core.projection.sync(collection.id)
        self.go_live(job)
        return document_id

    def search(self, query: str, top_k: int | None = 3, **options: Any) -> Retrieval:
        return anyio.run(lambda: self.retriever.retrieve(query, collection="default", top_k=top_k, **options))

    def found(self, query: str, **options: Any) -> list[str]:
        return [passage.text for passage in self.search(query, **options).passages]

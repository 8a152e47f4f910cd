"""Search over vector stores, with what OpenAI's clients are told of each passage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from starlette.concurrency import run_in_threadpool

from app.api.dependencies import Services
from app.api.schemas.openai_filters import to_filters
from app.api.schemas.openai_vector_stores import Attribute, ContentPart, FoundOut, attributes_of
from app.retrieval.pipeline import Retrieval
from app.store.attachments import attribute_keys, file_ids
from app.store.documents import get_documents
from app.types import Collection, Passage


class FileSearch:
    """One search, or several for one answer: over some collections, with one filter. Remembers what it found."""

    def __init__(
        self,
        services: Services,
        collections: Sequence[Collection],
        *,
        filters: Mapping[str, Any] | None = None,
        most: int | None = None,
        score_threshold: float | None = None,
    ) -> None:
        """`most` passages in all; without a number, as many as the first collection gives for an answer."""
        self._services = services
        self._collections = collections
        self._filters = filters
        self._most = most or collections[0].setting("top_k", services.core.settings.top_k)
        self._score_threshold = score_threshold or 0.0
        self.queries: list[str] = []
        self._files: dict[str, str] = {}
        self._attributes: dict[str, dict[str, Attribute]] = {}

    async def __call__(self, query: str) -> Retrieval:
        """The best passages of all collections. Raises what the retriever raises.

        Scores are comparable within a collection; over several the best of each come first.
        """
        self.queries.append(query)
        found = [await self._search(query, collection) for collection in self._collections]
        passages = sorted((passage for each in found for passage in each.passages), key=lambda p: -p.score)
        kept = tuple(passage for passage in passages[: self._most] if passage.score >= self._score_threshold)
        await run_in_threadpool(self._describe, kept)
        timings = {name: sum(each.timings_ms.get(name, 0.0) for each in found) for name in found[0].timings_ms}
        return Retrieval(query, kept, min(each.coverage for each in found), timings)

    def file_id(self, document_id: str) -> str:
        """The file of a document that was found, or the document itself where it came without one."""
        return self._files.get(document_id, document_id)

    def found(self, passage: Passage) -> FoundOut:
        """What a client is told of a passage."""
        return FoundOut(
            file_id=self.file_id(passage.document_id),
            filename=passage.filename,
            score=passage.score,
            attributes=self._attributes.get(passage.document_id, {}),
            content=[ContentPart(text=passage.text)],
        )

    async def _search(self, query: str, collection: Collection) -> Retrieval:
        filters = None
        if self._filters is not None:
            filters = to_filters(self._filters, await run_in_threadpool(self._keys, collection))
        return await self._services.retriever.retrieve(
            query, collection=collection.name, top_k=self._most, filters=filters
        )

    def _keys(self, collection: Collection) -> set[str]:
        with self._services.core.database.read() as connection:
            return attribute_keys(connection, collection.id)

    def _describe(self, passages: Sequence[Passage]) -> None:
        with self._services.core.database.read() as connection:
            documents = get_documents(connection, list({passage.document_id for passage in passages}))
            self._files.update(file_ids(connection, documents))
        self._attributes.update({each.id: attributes_of(each.metadata) for each in documents.values()})


def merged(found: Sequence[Retrieval], most: int) -> list[Passage]:
    """The passages of several searches of the same collections, each once, with the best of its scores."""
    best: dict[str, Passage] = {}
    for passage in (passage for each in found for passage in each.passages):
        if passage.chunk_id not in best or best[passage.chunk_id].score < passage.score:
            best[passage.chunk_id] = passage
    return sorted(best.values(), key=lambda passage: -passage.score)[:most]

"""Why a document was used, or not."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import ConfigDict, StringConstraints

from app.answering.inspection import InspectedChunk, Inspection, Standing
from app.api.schemas.search import context_of
from app.api.schemas.wire import CollectionName, Filters, Question, TopK, Wire
from app.types import DocumentStatus


class ExplainIn(Wire):
    """A question as it was asked, and the document that should have been used."""

    question: Question
    document_id: Annotated[str, StringConstraints(min_length=1, max_length=255)]
    collection: CollectionName = "default"
    top_k: TopK | None = None
    filters: Filters | None = None

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"question": "When was it founded?", "document_id": "doc_0123"}]}
    )


class ExplainedDocument(Wire):
    id: str
    collection: str
    filename: str
    status: DocumentStatus
    version: int
    live_version: int | None
    chunks: int


class StandingOut(Wire):
    """Among all chunks of the collection, whatever the filter; null where the leg does not find it."""

    score: float | None
    rank: int | None

    @classmethod
    def of(cls, standing: Standing) -> Self:
        return cls(score=standing.score, rank=standing.rank)


class ExplainedChunk(Wire):
    """A chunk of the document. `score` and `rank` are those of the search, null where it was no candidate."""

    chunk_id: str
    page: int | None
    headings: list[str]
    start: int
    end: int
    text: str
    dense: StandingOut
    lexical: StandingOut
    score: float | None
    rerank: float | None
    rank: int | None
    dropped: str | None

    @classmethod
    def of(cls, inspected: InspectedChunk) -> Self:
        chunk = inspected.stored.chunk
        return cls(
            chunk_id=inspected.stored.chunk_id,
            page=chunk.page,
            headings=context_of(chunk),
            start=chunk.start,
            end=chunk.end,
            text=chunk.text,
            dense=StandingOut.of(inspected.dense),
            lexical=StandingOut.of(inspected.lexical),
            score=inspected.score,
            rerank=inspected.rerank,
            rank=inspected.rank,
            dropped=inspected.dropped,
        )


class NeededOut(Wire):
    """What the last one had: of the passages that were used (fused score), and of the candidates of each leg."""

    score: float | None
    dense: float | None
    lexical: float | None


class ExplainOut(Wire):
    reason: str
    used: bool
    document: ExplainedDocument
    failed_filters: list[str]
    missing_terms: list[str]
    chunks: list[ExplainedChunk]
    needed: NeededOut
    candidates: int
    searched_chunks: int

    @classmethod
    def of(cls, inspection: Inspection) -> Self:
        document, needed = inspection.document, inspection.needed
        return cls(
            reason=inspection.reason,
            used=inspection.used,
            document=ExplainedDocument(
                id=document.id,
                collection=document.collection,
                filename=document.filename,
                status=document.status,
                version=document.version,
                live_version=document.live_version,
                chunks=document.chunks,
            ),
            failed_filters=list(inspection.failed_filters),
            missing_terms=list(inspection.missing_terms),
            chunks=[ExplainedChunk.of(chunk) for chunk in inspection.chunks],
            needed=NeededOut(score=needed.score, dense=needed.dense, lexical=needed.lexical),
            candidates=inspection.candidates,
            searched_chunks=inspection.searched_chunks,
        )

"""Passages."""

from __future__ import annotations

from typing import Self

from pydantic import ConfigDict, JsonValue

from app.api.schemas.wire import CollectionName, Filters, Question, TopK, Wire, fields_of
from app.types import Chunk, Passage


def context_of(span: Chunk | Passage) -> list[str]:
    """The heading path, and under it the header row of the table that the span is a part of."""
    return [*span.headings, span.header] if span.header else list(span.headings)


class ScoresOut(Wire):
    dense: float | None
    lexical: float | None
    rerank: float | None


class PassageOut(Wire):
    """A retrieved passage: `text == document text[start:end]`."""

    document_id: str
    version: int
    chunk_id: str
    filename: str
    page: int | None
    page_label: str | None
    headings: list[str]
    start: int
    end: int
    text: str
    score: float
    scores: ScoresOut

    @classmethod
    def of(cls, passage: Passage) -> Self:
        scores = ScoresOut(dense=passage.scores.dense, lexical=passage.scores.lexical, rerank=passage.scores.rerank)
        fields = fields_of(passage, "headings", "header", "scores", "page_breaks", "page_labels")
        return cls(**fields, page_label=passage.page_label, headings=context_of(passage), scores=scores)


class SearchIn(Wire):
    query: Question
    collection: CollectionName = "default"
    top_k: TopK | None = None
    filters: Filters | None = None
    explain: bool = False

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"query": "When was it founded?", "filters": {"year": {"$gte": 2020}}}]}
    )


class SearchOut(Wire):
    passages: list[PassageOut]
    timings_ms: dict[str, float]
    explain: dict[str, JsonValue] | None = None

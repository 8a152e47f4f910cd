"""What the HTTP API sends, as a client reads it: only the fields that the command line and the demo use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NotRequired, TypedDict


class ErrorRecord(TypedDict):
    code: str
    message: str


class ProgressRecord(TypedDict):
    stage: str
    done: int
    total: int


class DocumentRecord(TypedDict):
    id: str
    collection: str
    external_id: str | None
    filename: str
    bytes: int
    sha256: str
    status: str
    version: int
    duplicate: NotRequired[bool]
    progress: NotRequired[ProgressRecord | None]
    error: NotRequired[ErrorRecord | None]
    pages: NotRequired[int | None]
    chunks: NotRequired[int]


class CollectionRecord(TypedDict):
    name: str
    embedding_model: NotRequired[str | None]
    settings: NotRequired[dict[str, Any]]
    documents: NotRequired[int]


class PassageRecord(TypedDict):
    document_id: str
    chunk_id: str
    filename: str
    page: int | None
    page_label: NotRequired[str | None]  # what the file itself calls it, where that is something else
    headings: list[str]
    start: int
    end: int
    text: str
    score: float
    scores: dict[str, float | None]


class CitationRecord(TypedDict):
    marker: int
    document_id: str
    filename: str
    page: int | None
    page_label: NotRequired[str | None]  # what the file itself calls it, where that is something else
    start: int
    end: int
    quote: str


class SentenceRecord(TypedDict):
    start: int
    end: int
    support: str


class AnswerRecord(TypedDict):
    id: str
    answer: str
    answerable: bool
    reason: str | None
    degraded: bool
    mode: str
    citations: list[CitationRecord]
    sentences: NotRequired[list[SentenceRecord]]
    confidence: NotRequired[float]
    explain: NotRequired[dict[str, Any] | None]


@dataclass(frozen=True, slots=True)
class Sources:
    """The passages that the answer is made from, before its first word."""

    passages: list[PassageRecord]


@dataclass(frozen=True, slots=True)
class Delta:
    """The next piece of the answer's text."""

    text: str


@dataclass(frozen=True, slots=True)
class CitationFound:
    """A footnote of the sentence that has just ended."""

    citation: CitationRecord


@dataclass(frozen=True, slots=True)
class Done:
    """The whole answer; nothing follows it."""

    answer: AnswerRecord


AskEvent = Sources | Delta | CitationFound | Done

"""What travels over the wire, with examples for the OpenAPI document."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints

from app.types import (
    Answer,
    Chunk,
    Citation,
    Collection,
    Document,
    DocumentStatus,
    Message,
    Mode,
    Passage,
    Quantization,
    Sampling,
    Sentence,
    Support,
    Version,
)

CollectionName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
# Long enough for any question; a longer text is a document.
Question = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=20_000)]
TopK = Annotated[int, Field(ge=1, le=50)]
ChunkTokens = Annotated[int, Field(ge=32, le=8192)]
ChunkOverlapTokens = Annotated[int, Field(ge=0, le=8192)]
Filters = dict[str, JsonValue]


class Wire(BaseModel):
    """A request or a response; unknown fields of a request are an error, not a silence."""

    model_config = ConfigDict(extra="forbid")


# Documents


class Progress(Wire):
    """How far the newest version has come in its stage."""

    stage: DocumentStatus
    done: int
    total: int


class DocumentProblem(Wire):
    """Why the newest version failed."""

    code: str
    message: str


class DocumentOut(Wire):
    """A document, as of its newest version."""

    id: str
    collection: str
    external_id: str | None
    filename: str
    media_type: str
    bytes: int
    sha256: str
    version: int
    status: DocumentStatus
    progress: Progress
    error: DocumentProblem | None
    pages: int | None
    chunks: int
    metadata: dict[str, JsonValue]
    warnings: list[str]
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, document: Document) -> Self:
        return cls(**_document_fields(document))


class UploadedDocument(DocumentOut):
    """An accepted document. `duplicate`: the collection had these bytes already."""

    duplicate: bool

    @classmethod
    def of_upload(cls, document: Document, *, duplicate: bool) -> Self:
        return cls(**_document_fields(document), duplicate=duplicate)


def _document_fields(document: Document) -> dict[str, Any]:
    failed = document.error_code is not None and document.error_message is not None
    return {
        "id": document.id,
        "collection": document.collection,
        "external_id": document.external_id,
        "filename": document.filename,
        "media_type": document.media_type,
        "bytes": document.bytes,
        "sha256": document.sha256,
        "version": document.version,
        "status": document.status,
        "progress": Progress(stage=document.status, done=document.stage_done, total=document.stage_total),
        "error": DocumentProblem(code=document.error_code or "", message=document.error_message or "")
        if failed
        else None,
        "pages": document.pages,
        "chunks": document.chunks,
        "metadata": document.metadata,
        "warnings": list(document.warnings),
        "created_at": document.created_at,
        "updated_at": document.updated_at,
    }


class DocumentsOut(Wire):
    documents: list[DocumentOut]
    next_cursor: str | None


class UploadedDocuments(Wire):
    documents: list[UploadedDocument]


class TextIn(Wire):
    """A note, without a file."""

    text: Annotated[str, StringConstraints(min_length=1)]
    title: Annotated[str, StringConstraints(strip_whitespace=True, max_length=255)] = ""
    media_type: Literal["text/plain", "text/markdown", "text/html"] = "text/plain"
    collection: CollectionName = "default"
    external_id: str | None = Field(None, max_length=255)
    metadata: dict[str, JsonValue] | None = None

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"title": "Opening hours", "text": "The library opens at nine."}]}
    )


class UrlIn(Wire):
    """A file that the server fetches."""

    url: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=4096)]
    collection: CollectionName = "default"
    external_id: str | None = Field(None, max_length=255)
    metadata: dict[str, JsonValue] | None = None

    model_config = ConfigDict(json_schema_extra={"examples": [{"url": "https://example.org/report.pdf"}]})


class DocumentText(Wire):
    """The live version's normalised text: what every offset refers to."""

    document_id: str
    version: int
    text: str


class VersionOut(Wire):
    """A version of a document. `kept_embeddings`: chunks whose text the version before had already."""

    version: int
    filename: str
    media_type: str
    bytes: int
    sha256: str
    pages: int | None
    chunks: int
    kept_embeddings: int
    live: bool
    created_at: datetime

    @classmethod
    def of(cls, version: Version) -> Self:
        return cls(version=version.number, live=version.is_live, **_fields(version, "number", "is_live"))


class VersionsOut(Wire):
    document_id: str
    versions: list[VersionOut]


class PreviewedChunk(Wire):
    """A span of a document's text: `text == document text[start:end]`."""

    ordinal: int
    page: int | None
    headings: list[str]
    start: int
    end: int
    tokens: int
    text: str


class ChunkOut(PreviewedChunk):
    """A chunk of a document that was ingested."""

    chunk_id: str


class ChunksOut(Wire):
    document_id: str
    chunks: list[ChunkOut]
    next_cursor: str | None


class PreviewIn(Wire):
    """The fields beside the file; what is not given is as in the collection."""

    collection: CollectionName = "default"
    chunk_tokens: ChunkTokens | None = None
    chunk_overlap_tokens: ChunkOverlapTokens | None = None


class ChunkPreview(Wire):
    """What a file would become."""

    filename: str
    media_type: str
    pages: int | None
    warnings: list[str]
    chunks: list[PreviewedChunk]


# Search and answers


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
    headings: list[str]
    start: int
    end: int
    text: str
    score: float
    scores: ScoresOut

    @classmethod
    def of(cls, passage: Passage) -> Self:
        scores = ScoresOut(dense=passage.scores.dense, lexical=passage.scores.lexical, rerank=passage.scores.rerank)
        fields = _fields(passage, "headings", "header", "scores", "page_breaks")
        return cls(**fields, headings=context_of(passage), scores=scores)


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


class MessageIn(Wire):
    role: Literal["system", "user", "assistant"]
    content: str


class AskIn(Wire):
    """A question; sampling fields go to the language model as they are."""

    question: Question
    collection: CollectionName = "default"
    top_k: TopK | None = None
    filters: Filters | None = None
    stream: bool = False
    conversation_id: str | None = Field(None, max_length=255)
    messages: list[MessageIn] = Field(default_factory=list, max_length=1000)  # the turns before the question
    model: str | None = None
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    max_tokens: int | None = Field(None, ge=1)
    stop: list[str] | str | None = None
    extra: dict[str, JsonValue] = Field(default_factory=dict)  # top_k, min_p, repetition_penalty, seed, …
    mode: Mode | None = None
    explain: bool = False

    model_config = ConfigDict(json_schema_extra={"examples": [{"question": "When was it founded?", "stream": True}]})

    def sampling(self) -> Sampling:
        return Sampling(
            temperature=self.temperature,
            top_p=self.top_p,
            max_tokens=self.max_tokens,
            stop=stop_strings(self.stop),
            extra=self.extra,
        )

    def history(self) -> tuple[Message, ...]:
        return tuple(Message(message.role, message.content) for message in self.messages)


def stop_strings(stop: list[str] | str | None) -> tuple[str, ...]:
    """One string or several, as OpenAI has it."""
    return (stop,) if isinstance(stop, str) else tuple(stop or ())


class CitationOut(Wire):
    """An exact quote: `quote == document text[start:end]`."""

    marker: int
    document_id: str
    version: int
    filename: str
    page: int | None
    chunk_id: str
    start: int
    end: int
    quote: str
    score: float

    @classmethod
    def of(cls, citation: Citation) -> Self:
        return cls(**_fields(citation))


class SentenceOut(Wire):
    """A sentence of the answer, `answer[start:end]`, with what its sources say of it."""

    start: int
    end: int
    markers: list[int]
    support: Support
    score: float

    @classmethod
    def of(cls, sentence: Sentence) -> Self:
        return cls(**_fields(sentence, "markers"), markers=list(sentence.markers))


class UsageOut(Wire):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class AnswerOut(Wire):
    id: str
    answer: str
    answerable: bool
    reason: str | None
    degraded: bool
    mode: Mode
    model: str
    conversation_id: str | None
    citations: list[CitationOut]
    sentences: list[SentenceOut]
    confidence: float
    usage: UsageOut
    timings_ms: dict[str, float]
    explain: dict[str, JsonValue] | None = None

    @classmethod
    def of(cls, answer: Answer) -> Self:
        usage = answer.usage
        plain = _fields(
            answer, "text", "citations", "sentences", "usage", "timings_ms", "finish_reason", "passages", "explain"
        )
        return cls(
            **plain,
            answer=answer.text,
            citations=[CitationOut.of(citation) for citation in answer.citations],
            sentences=[SentenceOut.of(sentence) for sentence in answer.sentences],
            usage=UsageOut(
                prompt_tokens=usage.prompt_tokens,
                completion_tokens=usage.completion_tokens,
                total_tokens=usage.total_tokens,
            ),
            timings_ms=dict(answer.timings_ms),
            explain=None if answer.explain is None else dict(answer.explain),
        )


# Collections


class Example(Wire):
    """A question with the answer that the model should imitate."""

    question: Annotated[str, StringConstraints(min_length=1, max_length=4000)]
    answer: Annotated[str, StringConstraints(min_length=1, max_length=8000)]


class CollectionSettings(Wire):
    """What a collection does its own way; null means the server's default."""

    system_prompt: str | None = Field(None, max_length=20_000)
    examples: list[Example] = Field(default_factory=list, max_length=20)
    top_k: TopK | None = None
    candidates: int | None = Field(None, ge=10, le=1000)
    dense_weight: float | None = Field(None, ge=0, le=1)
    answer_threshold: float | None = Field(None, ge=0, le=1)
    quantization: Quantization | None = None
    keep_versions: int | None = Field(None, ge=0, le=100)  # earlier ones of each document
    chunk_tokens: ChunkTokens | None = None  # of documents that are uploaded from now on
    chunk_overlap_tokens: ChunkOverlapTokens | None = None


class CollectionIn(Wire):
    name: CollectionName
    settings: CollectionSettings = Field(default_factory=CollectionSettings)


class CollectionChange(Wire):
    settings: CollectionSettings


class CollectionOut(Wire):
    id: str
    name: str
    embedding_model: str | None
    documents: int
    settings: CollectionSettings
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, collection: Collection, documents: int) -> Self:
        return cls(
            id=collection.id,
            name=collection.name,
            embedding_model=collection.embedding_model,
            documents=documents,
            settings=CollectionSettings.model_validate(dict(collection.settings)),
            created_at=collection.created_at,
            updated_at=collection.updated_at,
        )


class CollectionsOut(Wire):
    collections: list[CollectionOut]


def _fields(value: Any, *without: str) -> Mapping[str, Any]:
    """The fields of a slotted dataclass, not copied deep."""
    return {name: getattr(value, name) for name in value.__slots__ if name not in without}

"""The values that travel between the parts: frozen, slotted, free of any framework.

Offsets count characters (Unicode code points) of a document version's normalised text, the one that
`GET /documents/{id}/text` returns: `text[start:end]` is exact for every chunk, passage and quote.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeVar

T = TypeVar("T")


class Quantization(StrEnum):
    """How a large segment holds the vectors that it searches; the best of them are scored by their float16."""

    INT8 = "int8"
    FP16 = "fp16"


class DocumentStatus(StrEnum):
    """Where a document's newest version stands."""

    QUEUED = "queued"
    PARSING = "parsing"
    CHUNKING = "chunking"
    EMBEDDING = "embedding"
    READY = "ready"
    FAILED = "failed"


class PdfEngine(StrEnum):
    """What reads PDFs: Footnote's own parser, or Docling, which is an extra."""

    DEFAULT = "default"
    DOCLING = "docling"


class JobState(StrEnum):
    """A job is leased, never removed on claim: it ends as `done` or `failed`."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class Mode(StrEnum):
    """How an answer is made: by the language model, or from the documents' own sentences."""

    GENERATE = "generate"
    EXTRACT = "extract"


class Strategy(StrEnum):
    """How passages are gathered for an answer."""

    SINGLE = "single"  # one search
    MULTI = "multi"  # one for each part and each rewording of the question
    AGENT = "agent"  # as the language model goes: it searches and reads until it has what it needs


class Support(StrEnum):
    """The verdict on one sentence of an answer, checked against the passages that it cites."""

    SUPPORTED = "supported"
    PARTIAL = "partial"
    UNSUPPORTED = "unsupported"


class Unsupported(StrEnum):
    """What becomes of an answer's sentences that no source supports."""

    KEEP = "keep"  # they stand, with their verdict
    MARK = "mark"  # " [?]" is put behind them
    REMOVE = "remove"


class Check(StrEnum):
    """What can be wrong with a sentence, beside too few words in common with its sources."""

    MARKERS = "markers"  # it cites a passage that there is not
    NUMBERS = "numbers"  # a number or date that no source holds
    NAMES = "names"
    QUOTES = "quotes"  # not word for word
    NEGATION = "negation"  # it denies what its source states, or the other way round
    ENTAILMENT = "entailment"  # a model finds that its source contradicts it


@dataclass(frozen=True, slots=True)
class Problem:
    """A check that a sentence failed, and the words that failed it."""

    check: Check
    text: str


@dataclass(frozen=True, slots=True)
class Collection:
    """A set of documents that is searched together and shares one embedding model."""

    id: str
    name: str
    space: int | None  # of its embeddings; None until the first document was embedded
    embedding_model: str | None
    embedding_dimension: int | None
    is_model_chosen: bool  # for this collection, whatever model is configured
    next_model: str | None  # that a reindex is bringing
    settings: Mapping[str, Any]  # prompt, examples, retrieval: see `app.api.schemas.collections`
    sequence: int  # grows with every change of the collection's chunks; the projection follows it
    created_at: datetime
    updated_at: datetime

    def setting(self, name: str, default: T) -> T:
        """What the collection does its own way, or the server's default."""
        value: T | None = self.settings.get(name)
        return default if value is None else value


@dataclass(frozen=True, slots=True)
class Document:
    """A document with the state of its newest version; `live_version` is the one that answers."""

    id: str
    collection_id: str
    collection: str
    external_id: str | None
    filename: str
    media_type: str
    bytes: int
    sha256: str
    version: int
    live_version: int | None
    status: DocumentStatus
    stage_done: int
    stage_total: int
    error_code: str | None
    error_message: str | None
    pages: int | None
    chunks: int
    metadata: Mapping[str, Any]
    warnings: tuple[str, ...]  # what the parser has to say of it
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Version:
    """A version that is kept, or on its way."""

    number: int
    filename: str
    media_type: str
    bytes: int
    sha256: str
    pages: int | None
    chunks: int
    kept_embeddings: int  # chunks whose text was in the version before, and was not embedded again
    created_at: datetime
    is_live: bool


@dataclass(frozen=True, slots=True)
class Chunk:
    """A span of a document version's text, small enough for the embedder."""

    ordinal: int  # 0, 1, 2, … within the version
    start: int
    end: int
    text: str  # == the version's text[start:end]
    page: int | None  # counts from 1; of the first character
    headings: tuple[str, ...]
    tokens: int  # by the embedder's own tokenizer
    page_breaks: tuple[tuple[int, int], ...] = ()  # start and number of each further page that begins inside
    header: str = ""  # of a part of a table: the header row, so that its rows are understood alone
    page_labels: tuple[tuple[int, str], ...] = ()  # of those of its pages that the file calls otherwise: "iv", "A-3"

    @property
    def pages(self) -> tuple[int, ...]:
        """The pages that it stands on."""
        return () if self.page is None else (self.page, *(page for _, page in self.page_breaks))

    @property
    def page_label(self) -> str | None:
        """What the file itself calls its first page, where that is not the page's number."""
        return label_of(self.page, self.page_labels)


_EXTENSION = re.compile(r"\.[a-z][a-z0-9]{0,4}$", re.I)
_NAMES_NOTHING = re.compile(r"untitled|[\W\d_]*|[0-9a-f-]{16,}", re.I)  # numbers, checksums
_MAX_TITLE = 100  # characters


def label_of(page: int | None, labels: Iterable[tuple[int, str]]) -> str | None:
    """The label of a page among those that have one."""
    return next((label for number, label in labels if number == page), None)


def title_of(filename: str) -> str:
    """A document's title: its filename as words, without the extension; empty where that would say nothing."""
    title = " ".join(_EXTENSION.sub("", filename).replace("_", " ").split())
    return "" if _NAMES_NOTHING.fullmatch(title) else title[:_MAX_TITLE]


def indexed_text(filename: str, headings: tuple[str, ...], header: str, text: str) -> str:
    """What the embedder and the lexical index read of a span: what it stands in tells what it is about.

    Its document's title and its heading path, its table's header row, and the text. Quotes are of the text alone.
    """
    path = " > ".join(part for part in (title_of(filename), *headings) if part)
    return "\n".join(part for part in (path, header, text) if part)


@dataclass(frozen=True, slots=True)
class Scores:
    """What each leg said of a passage; None where the leg did not find it or did not run."""

    dense: float | None = None  # cosine similarity, -1 to 1
    lexical: float | None = None  # BM25, unbounded
    rerank: float | None = None


@dataclass(frozen=True, slots=True)
class Passage:
    """A retrieved span of a live document, best first in any list of them."""

    document_id: str
    version: int
    chunk_id: str
    filename: str
    page: int | None
    headings: tuple[str, ...]
    start: int
    end: int
    text: str
    score: float  # fused, 0 to 1 within one search
    scores: Scores
    page_breaks: tuple[tuple[int, int], ...] = ()  # as of its chunk
    header: str = ""  # as of its chunk
    page_labels: tuple[tuple[int, str], ...] = ()  # as of its chunk

    @property
    def page_label(self) -> str | None:
        """What the file itself calls its first page, where that is not the page's number."""
        return label_of(self.page, self.page_labels)

    def page_at(self, offset: int) -> int | None:
        """The page of a character of the document that stands in this passage."""
        page = self.page
        for start, following in self.page_breaks:
            if start <= offset:
                page = following
        return page


@dataclass(frozen=True, slots=True)
class Citation:
    """An exact quote from a passage: `quote == text[start:end]` of the document's text."""

    marker: int  # 1-based position of the passage among the answer's sources
    document_id: str
    version: int
    filename: str
    page: int | None
    chunk_id: str
    start: int
    end: int
    quote: str
    score: float  # share of the citing sentence's tokens that the quote holds, 0 to 1
    page_label: str | None = None  # what the file itself calls the page, where that is not its number


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence of the answer, `answer[start:end]`, and what its sources say of it."""

    start: int
    end: int
    markers: tuple[int, ...]
    support: Support
    score: float
    attributed: bool = False  # it had no marker: its source was found by what it says
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as the engine counted them; zeros for an extractive answer."""

    prompt_tokens: int = 0
    completion_tokens: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(self.prompt_tokens + other.prompt_tokens, self.completion_tokens + other.completion_tokens)

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer: the text, its evidence, and how it came about."""

    id: str
    text: str
    answerable: bool
    reason: str | None  # why not, or why degraded; None for an ordinary answer
    degraded: bool
    mode: Mode
    model: str
    conversation_id: str | None
    citations: tuple[Citation, ...]
    sentences: tuple[Sentence, ...]
    confidence: float
    usage: Usage
    timings_ms: Mapping[str, float]
    finish_reason: str | None = None  # the engine's: "stop", "length", …
    logprobs: tuple[Mapping[str, Any], ...] = ()  # a token each, as the engine gives them where they were asked for
    passages: tuple[Passage, ...] = ()
    explain: Mapping[str, Any] | None = None
    strategy: Strategy = Strategy.SINGLE  # the one that was used


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation, in OpenAI's terms: role is system, user or assistant."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the model draws its tokens; None leaves a value to the engine's default."""

    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)  # top_k, min_p, repetition_penalty, seed, …

    def over(self, defaults: Sampling) -> Sampling:
        """This, and the defaults for what it leaves open."""
        return Sampling(
            temperature=defaults.temperature if self.temperature is None else self.temperature,
            top_p=defaults.top_p if self.top_p is None else self.top_p,
            max_tokens=defaults.max_tokens if self.max_tokens is None else self.max_tokens,
            stop=self.stop or defaults.stop,
            extra={**defaults.extra, **self.extra},
        )


@dataclass(frozen=True, slots=True)
class Job:
    """A leased piece of ingestion work. `token` grows with every claim and fences off a lost lease."""

    id: int
    document_id: str
    version: int
    attempt: int
    token: int
    password: str | None = field(default=None, repr=False, compare=False)  # opens the file; gone once it was read

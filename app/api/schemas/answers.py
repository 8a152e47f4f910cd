"""Questions and answers."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import ConfigDict, Field, JsonValue

from app.api.schemas.wire import CollectionName, Filters, Question, TopK, Wire, fields_of
from app.types import Answer, Citation, Message, Mode, Sampling, Sentence, Support


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
        return cls(**fields_of(citation))


class SentenceOut(Wire):
    """A sentence of the answer, `answer[start:end]`, with what its sources say of it."""

    start: int
    end: int
    markers: list[int]
    support: Support
    score: float

    @classmethod
    def of(cls, sentence: Sentence) -> Self:
        return cls(**fields_of(sentence, "markers"), markers=list(sentence.markers))


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
        plain = fields_of(
            answer,
            "text",
            "citations",
            "sentences",
            "usage",
            "timings_ms",
            "finish_reason",
            "logprobs",
            "passages",
            "explain",
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

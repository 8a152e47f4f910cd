"""Questions and answers."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import ConfigDict, Field, JsonValue

from app.answering.window import Preview, count_message, estimate
from app.api.schemas.wire import CollectionName, ConversationId, Filters, Question, TopK, Wire, fields_of
from app.types import Answer, Check, Citation, Message, Mode, Sampling, Sentence, Strategy, Support


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
    conversation_id: ConversationId | None = None  # of one that is stored; an unknown id begins one
    messages: list[MessageIn] = Field(default_factory=list, max_length=1000)  # or the turns before, from the client
    model: str | None = None
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    max_tokens: int | None = Field(None, ge=1)
    stop: list[str] | str | None = None
    extra: dict[str, JsonValue] = Field(default_factory=dict)  # top_k, min_p, repetition_penalty, seed, …
    mode: Mode | None = None
    explain: bool = False
    strategy: Strategy | None = None  # how passages are gathered: single, multi or agent
    dry_run: bool = False  # only show what the language model would be asked

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
    page_label: str | None

    @classmethod
    def of(cls, citation: Citation) -> Self:
        return cls(**fields_of(citation))


class ProblemOut(Wire):
    """A check that a sentence failed, and the words of it that failed."""

    check: Check
    text: str


class SentenceOut(Wire):
    """A sentence of the answer, `answer[start:end]`, with what its sources say of it."""

    start: int
    end: int
    markers: list[int]
    support: Support
    score: float
    attributed: bool  # it had no marker: its source was found by what it says
    problems: list[ProblemOut]

    @classmethod
    def of(cls, sentence: Sentence) -> Self:
        return cls(
            **fields_of(sentence, "markers", "problems"),
            markers=list(sentence.markers),
            problems=[ProblemOut(check=problem.check, text=problem.text) for problem in sentence.problems],
        )


class CitationEvent(Wire):
    """A citation of a sentence that is now complete, with the sentence's verdict.

    A sentence that cites nothing has one too: its `marker` and the other fields of a citation are null.
    """

    marker: int | None = None
    document_id: str | None = None
    version: int | None = None
    filename: str | None = None
    page: int | None = None
    page_label: str | None = None
    chunk_id: str | None = None
    start: int | None = None
    end: int | None = None
    quote: str | None = None
    score: float | None = None
    support: Support
    attributed: bool
    sentence: SentenceOut

    @classmethod
    def of(cls, citation: Citation | None, sentence: Sentence) -> Self:
        quoted = {} if citation is None else fields_of(citation)
        verdict = SentenceOut.of(sentence)
        return cls(**quoted, support=sentence.support, attributed=sentence.attributed, sentence=verdict)


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
    strategy: Strategy

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


class PromptMessage(Wire):
    role: str
    content: str
    tokens: int  # by estimate


class PromptPassage(Wire):
    """A passage that was found, and whether there was room for it."""

    marker: int
    chunk_id: str
    filename: str
    page: int | None
    tokens: int  # by estimate
    dropped: bool


class PromptTokens(Wire):
    prompt: int
    exact: bool  # counted by the model's own tokenizer; else an estimate that is rather too high
    answer: int  # room that is kept for it
    window: int


class PromptHistory(Wire):
    """Messages of the conversation: as they are, recalled for the question, and left out."""

    recent: int
    recalled_turns: int
    dropped: int
    summary: bool


class PromptOut(Wire):
    """What `dry_run` answers: the messages that a language model would get, and what of it there was no room for."""

    model: str | None
    query: str
    messages: list[PromptMessage]
    tokens: PromptTokens
    passages: list[PromptPassage]
    history: PromptHistory
    dropped_examples: int

    @classmethod
    def of(cls, preview: Preview) -> Self:
        task, draft = preview.task, preview.prompt.draft
        asked = [message for message in task.history if message.role != "system"]
        recent = [message for message in draft.history if message.role != "system"]
        recalled = sum(bool(turn.question) + bool(turn.answer) for turn in draft.earlier)
        return cls(
            model=preview.model,
            query=preview.query,
            messages=[PromptMessage(**turn, tokens=estimate([turn])) for turn in preview.prompt.messages],
            tokens=PromptTokens(
                prompt=preview.tokens, exact=preview.is_exact, answer=preview.prompt.room, window=preview.window
            ),
            passages=[
                PromptPassage(
                    marker=number,
                    chunk_id=passage.chunk_id,
                    filename=passage.filename,
                    page=passage.page,
                    tokens=count_message(passage.text),
                    dropped=number > len(draft.passages),
                )
                for number, passage in enumerate(task.evidence.passages, 1)
            ],
            history=PromptHistory(
                recent=len(recent),
                recalled_turns=len(draft.earlier),
                dropped=max(0, len(asked) - len(recent) - recalled),
                summary=bool(draft.task.summary),
            ),
            dropped_examples=len(task.examples) - len(draft.task.examples),
        )

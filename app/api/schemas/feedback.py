"""Feedback on answers, and what the answers together tell."""

from __future__ import annotations

from datetime import datetime
from typing import Self

from pydantic import ConfigDict, Field, model_validator

from app.answering.insights import QuestionGroup
from app.api.schemas.answers import SentenceOut
from app.api.schemas.wire import Wire, fields_of
from app.store.answers import StoredAnswer
from app.store.feedback import AnswerCounts, Feedback, Rating, Span, UncitedDocument
from app.types import Support


class PassageIn(Wire):
    """Where the right answer stands: a span of a document's text, or a chunk."""

    document_id: str | None = None
    start: int | None = Field(None, ge=0)
    end: int | None = Field(None, ge=1)
    version: int | None = Field(None, ge=1)  # by default the one that answers
    chunk_id: str | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        span = (self.document_id, self.start, self.end)
        if self.chunk_id is not None:
            if any(value is not None for value in (*span, self.version)):
                raise ValueError("a chunk_id needs nothing beside it")
        elif any(value is None for value in span):
            raise ValueError("give document_id, start and end, or chunk_id")
        return self

    def span(self) -> tuple[str, int, int, int | None]:
        """Of a passage that is no chunk."""
        return self.document_id or "", self.start or 0, self.end or 0, self.version


class FeedbackIn(Wire):
    answer_id: str
    rating: Rating
    comment: str | None = Field(None, max_length=4000)
    correct_passage: PassageIn | None = None

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"answer_id": "ans_…", "rating": "down", "comment": "That is last year's rule."}]
        }
    )


class SpanOut(Wire):
    document_id: str
    version: int
    start: int
    end: int

    @classmethod
    def of(cls, span: Span) -> Self:
        return cls(**fields_of(span))


class FeedbackOut(Wire):
    answer_id: str
    rating: Rating
    comment: str | None
    correct_passage: SpanOut | None
    created_at: datetime

    @classmethod
    def of(cls, feedback: Feedback) -> Self:
        passage = None if feedback.passage is None else SpanOut.of(feedback.passage)
        return cls(**fields_of(feedback, "passage"), correct_passage=passage)


class CountsOut(Wire):
    """Answers of each kind; one may be of several."""

    total: int
    unanswered: int
    unsupported: int
    partial: int
    up: int
    down: int

    @classmethod
    def of(cls, counts: AnswerCounts) -> Self:
        return cls(**fields_of(counts))


class QuestionGroupOut(Wire):
    """Questions that ask for the same, in the words of the newest."""

    question: str
    count: int
    variants: list[str]
    last_asked_at: datetime

    @classmethod
    def of(cls, group: QuestionGroup) -> Self:
        return cls(**fields_of(group, "variants", "terms"), variants=list(group.variants))


class UnsupportedOut(Wire):
    """An answer with the sentences that its sources do not hold."""

    answer_id: str
    question: str
    answer: str
    sentences: list[SentenceOut]
    created_at: datetime

    @classmethod
    def of(cls, stored: StoredAnswer) -> Self:
        answer = stored.answer
        wrong = [SentenceOut.of(each) for each in answer.sentences if each.support is Support.UNSUPPORTED]
        return cls(
            answer_id=answer.id,
            question=answer.question,
            answer=answer.text,
            sentences=wrong,
            created_at=answer.created_at,
        )


class RatedOut(FeedbackOut):
    """Feedback with what it is on."""

    question: str
    answer: str

    @classmethod
    def on(cls, stored: StoredAnswer, feedback: Feedback) -> Self:
        plain = FeedbackOut.of(feedback).model_dump()
        return cls(**plain, question=stored.answer.question, answer=stored.answer.text)


class UncitedOut(Wire):
    id: str
    filename: str
    created_at: datetime

    @classmethod
    def of(cls, document: UncitedDocument) -> Self:
        return cls(**fields_of(document))


class InsightsOut(Wire):
    """What a collection's answers tell, as far back as they are kept and were asked for."""

    collection: str
    since: datetime
    answers: CountsOut
    unanswered: list[QuestionGroupOut]
    unsupported: list[UnsupportedOut]
    feedback: list[RatedOut]
    uncited_count: int
    uncited: list[UncitedOut]  # documents; the oldest first

"""An answer in the making: what has been said, and what its sentences turned out to be worth."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from typing import Any

from app.answering.abstention import abstains, abstention, is_abstention
from app.answering.citations import CitedSentence, cited_sentences, verify
from app.answering.confidence import judge
from app.answering.evidence import read_passages
from app.answering.generation import Completion
from app.errors import GenerationFailed
from app.retrieval.pipeline import Retrieval
from app.telemetry import ANSWERS, timed
from app.types import Answer, Citation, Collection, Mode, Sentence, Usage


class Draft:
    """Grows with the stream of one answer, and becomes an `Answer` at its end."""

    def __init__(
        self, question: str, query: str, retrieval: Retrieval, conversation_id: str | None, collection: Collection
    ) -> None:
        """`query` is what was searched for: the question, made to stand alone."""
        self._question = question
        self._retrieval = retrieval
        self._conversation_id = conversation_id
        self.timings: dict[str, float] = dict(retrieval.timings_ms)
        with timed("verify", self.timings):
            self.evidence = read_passages(retrieval.passages)
            self._judgement = judge(query, self.evidence, retrieval, collection)
        self.confidence = self._judgement.confidence
        self.begin(Mode.EXTRACT, None)
        self.text = ""
        self.checked_until = 0
        self._sentences: list[Sentence] = []
        self._citations: list[Citation] = []
        self._reason: str | None = None
        self._answerable = True
        self._degraded = False

    def begin(self, mode: Mode, model: str | None) -> None:
        """A generator takes over; its `Completion` will tell the model's real name."""
        self.mode = mode
        default = "extractive" if mode is Mode.EXTRACT else "default"
        self.completion = Completion(model=model or default, usage=Usage(), finish_reason=None)

    def check(self, sentences: Iterable[CitedSentence]) -> list[Citation]:
        """Verify sentences that are now complete; the citations that are new."""
        new: list[Citation] = []
        with timed("verify", self.timings):
            for sentence in sentences:
                self.checked_until = sentence.end
                if not self._sentences and is_abstention(self.text[sentence.start : sentence.end]):
                    sentence = CitedSentence(sentence.start, sentence.end, ())  # nothing is claimed: nothing to cite
                verdict, citations = verify(self.text, sentence, self.evidence)
                self._sentences.append(verdict)
                new += [c for c in citations if not self._has(c, new)]
        self._citations += new
        return new

    def abstain(self) -> str:
        """Say, in the question's language, that the documents do not answer."""
        self.text = abstention(self._question)
        self._answerable = False
        self._give_reason(
            "The passages found do not seem to answer the question."
            if self._retrieval.passages
            else "No passage was found for the question."
        )
        return self.text

    def degrade(self, error: GenerationFailed) -> None:
        """The language model said nothing: go on without it."""
        self._degraded = True
        self._give_reason(f"{error.message} This answer was made from the passages' own sentences.")

    def finish(self) -> Answer:
        """The whole answer."""
        if self._answerable and abstains(self.text, cited_sentences(self.text)):
            self._answerable = False
            self._give_reason("The language model found no answer in the passages.")
        elif self.completion.finish_reason == "length":
            self._give_reason("The answer was cut off at the limit of tokens.")
        outcome = "degraded" if self._degraded else "answered" if self._answerable else "abstained"
        return self._answer(outcome)

    def break_off(self, error: GenerationFailed) -> Answer:
        """What was said before the language model broke off, its sentences checked as far as they go."""
        self.check(cited_sentences(self.text, self.checked_until))
        self._give_reason(error.message)
        return self._answer("interrupted")

    def _answer(self, outcome: str) -> Answer:
        ANSWERS.labels(self.mode, outcome).inc()
        claims = self._answerable  # who says that there is no answer has made no claim to verify
        return Answer(
            id=f"ans_{secrets.token_hex(12)}",
            text=self.text,
            answerable=self._answerable,
            reason=self._reason,
            degraded=self._degraded,
            mode=self.mode,
            model=self.completion.model,
            conversation_id=self._conversation_id,
            citations=tuple(self._citations) if claims else (),
            sentences=tuple(self._sentences) if claims else (),
            confidence=self.confidence,
            usage=self.completion.usage,
            timings_ms=self.timings,
            finish_reason=self.completion.finish_reason,
            passages=self._retrieval.passages,
            explain=self._explain(),
        )

    def _explain(self) -> dict[str, Any] | None:
        if self._retrieval.explain is None:
            return None
        return {**self._retrieval.explain, "confidence": self._judgement.explain()}

    def _has(self, citation: Citation, new: list[Citation]) -> bool:
        return any(
            (known.marker, known.start, known.end) == (citation.marker, citation.start, citation.end)
            for known in (*self._citations, *new)
        )

    def _give_reason(self, reason: str) -> None:
        self._reason = f"{self._reason} {reason}" if self._reason else reason

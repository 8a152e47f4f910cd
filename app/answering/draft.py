"""An answer in the making: what has been said, and what its sentences turned out to be worth."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from app.answering.abstention import abstains, abstention
from app.answering.checked_text import CheckedText
from app.answering.citations import cited_sentences
from app.answering.confidence import Compare, Judgement, judge
from app.answering.events import Delta, Event
from app.answering.evidence import read_passages
from app.answering.generation import Completion
from app.errors import GenerationFailed
from app.retrieval.pipeline import Retrieval
from app.telemetry import ANSWERS, timed
from app.types import Answer, Collection, Mode, Strategy, Unsupported, Usage

_CUT_SHORT = {
    "length": "The answer was cut off at the limit of tokens.",
    "repetition": "The language model repeated itself; the answer was ended there.",
}


class Draft:
    """Grows with the stream of one answer, and becomes an `Answer` at its end."""

    def __init__(
        self,
        question: str,
        query: str,
        retrieval: Retrieval,
        conversation_id: str | None,
        collection: Collection,
        *,
        compare: Compare,
        is_judged: bool = False,
    ) -> None:
        """`query` is what was searched for: the question, made to stand alone. `is_judged`: see `CheckedText`."""
        self._compare = compare
        self._judgement: Judgement  # when it has been weighed
        self._question = question
        self._language: str | None = collection.settings.get("language")
        self._retrieval = retrieval
        self._conversation_id = conversation_id
        self.timings: dict[str, float] = dict(retrieval.timings_ms)
        self._query = query
        self._collection = collection
        self._found = read_passages(retrieval.passages)
        self.evidence = read_passages(retrieval.sources) if retrieval.joined else self._found
        self.of_parts: Iterable[float] = ()  # of a compound question: the confidence in each
        self.begin(Mode.EXTRACT, None)
        unsupported = Unsupported(collection.setting("unsupported", Unsupported.KEEP))
        self.checked = CheckedText(self.evidence, unsupported, self.timings, is_judged=is_judged)
        self._reason: str | None = None
        self._answerable = True
        self._degraded = False
        self.strategy = Strategy.SINGLE
        self.spent = Usage()  # before the answer itself: on rewriting, on planning

    async def weigh(self) -> None:
        """Before anybody wants the confidence, `finish` included; where a language model answers, after it has."""
        with timed("weigh", self.timings):
            self._judgement = await judge(self._query, self._found, self._retrieval, self._collection, self._compare)

    @property
    def confidence(self) -> float:
        """Half an answer is an answer: the part that is answered best counts."""
        return max([self._judgement.confidence, *self.of_parts])

    def begin(self, mode: Mode, model: str | None) -> None:
        """A generator takes over; its `Completion` will tell the model's real name."""
        self.mode = mode
        default = "extractive" if mode is Mode.EXTRACT else "default"
        self.completion = Completion(model=model or default, usage=Usage(), finish_reason=None)

    def abstain(self) -> str:
        """Say, in the question's language, that the documents do not answer."""
        self._answerable = False
        self._give_reason(
            "The passages found do not seem to answer the question."
            if self._retrieval.passages
            else "No passage was found for the question."
        )
        return self._say_no()

    def leave_open(self, parts: Sequence[str]) -> None:
        """Say which parts of a compound question the passages do not seem to answer."""
        if parts:
            self._give_reason(f"The passages found do not seem to answer: {' '.join(parts)}")

    def degrade(self, error: GenerationFailed) -> None:
        """The language model said nothing: go on without it."""
        self._degraded = True
        self._give_reason(f"{error.message} This answer was made from the passages' own sentences.")

    def end(self) -> Iterator[Event]:
        """Nothing more is said: what is left is checked, and an answer of which nothing is left says so."""
        yield from self.checked.finish()
        removed = self.checked.removed
        if removed:
            self._give_reason(f"{removed} sentence{'s' * (removed > 1)} without support in the passages left out.")
        if removed and not self.checked.text.strip():
            self._answerable = False
            yield Delta(self._say_no())

    def finish(self) -> Answer:
        """The whole answer."""
        text = self.checked.text
        if self._answerable and abstains(text, cited_sentences(text)):
            self._answerable = False
            self._give_reason("The language model found no answer in the passages.")
        elif self.completion.finish_reason in _CUT_SHORT:
            self._give_reason(_CUT_SHORT[self.completion.finish_reason])
        outcome = "degraded" if self._degraded else "answered" if self._answerable else "abstained"
        return self._answer(outcome)

    def break_off(self, error: GenerationFailed) -> Answer:
        """What was said before the language model broke off."""
        self._give_reason(error.message)
        return self._answer("interrupted")

    def _answer(self, outcome: str) -> Answer:
        ANSWERS.labels(self.mode, outcome).inc()
        claims = self._answerable  # who says that there is no answer has made no claim to verify
        return Answer(
            id=f"ans_{secrets.token_hex(12)}",
            text=self.checked.text,
            answerable=self._answerable,
            reason=self._reason,
            degraded=self._degraded,
            mode=self.mode,
            model=self.completion.model,
            conversation_id=self._conversation_id,
            citations=tuple(self.checked.citations) if claims else (),
            sentences=tuple(self.checked.sentences) if claims else (),
            confidence=self.confidence,
            usage=self.completion.usage + self.spent,
            timings_ms=self.timings,
            finish_reason=self.completion.finish_reason,
            logprobs=self.completion.logprobs,
            passages=self._retrieval.sources,
            explain=self._explain(),
            strategy=self.strategy,
        )

    def _explain(self) -> dict[str, Any] | None:
        if self._retrieval.explain is None:
            return None
        budget = self.completion.budget
        return {
            "query": self._retrieval.query,
            **self._retrieval.explain,
            "confidence": self._judgement.explain(),
            "prompt": {**asdict(budget), "dropped_chunks": list(budget.dropped_chunks)} if budget else None,
        }

    def _say_no(self) -> str:
        words = abstention(self._question, self._language)
        self.checked.text += words
        return words

    def _give_reason(self, reason: str) -> None:
        self._reason = f"{self._reason} {reason}" if self._reason else reason

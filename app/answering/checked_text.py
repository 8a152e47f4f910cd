"""The text of an answer as it is made: every sentence is checked once it is complete, and what is unsupported treated
as the collection wants."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, MutableMapping
from dataclasses import replace

from app.answering.abstention import is_abstention
from app.answering.checking import check
from app.answering.citations import MARKER, CitedSentence, cited_sentences, complete_sentences, gap_end
from app.answering.events import CitationFound, Delta, Event
from app.answering.evidence import Evidence
from app.answering.inert import InertText
from app.answering.second_opinion import SecondOpinion, combine
from app.embedding.entailment import Entailment
from app.telemetry import timed
from app.types import Citation, Sentence, Support, Unsupported

_MARK = " [?]"


class CheckedText:
    """Takes what a generator says, and gives the events of it.

    Kept sentences are passed on as they come. Where unsupported ones are marked or removed, text is held back until its
    sentence is checked: each `Delta` is a whole sentence then. `sentences` and `citations` refer to `text`, which is
    what all deltas said together: what was said as far as it stands, made inert (see `InertText`).
    """

    def __init__(
        self,
        evidence: Evidence,
        unsupported: Unsupported,
        timings: MutableMapping[str, float],
        *,
        is_judged: bool = False,
    ) -> None:
        """`is_judged`: `judge` will follow. Where sentences may be marked or removed, all is held back until then."""
        self._waits = is_judged and unsupported is not Unsupported.KEEP
        self._opinions: dict[int, Entailment] = {}  # by the start of the sentence in what was said
        self._evidence = evidence
        self._unsupported = unsupported
        self._timings = timings
        self._said = ""  # by the generator
        self._checked_until = 0  # of what was said
        self._passed_on = 0
        self._outlet = InertText()
        self.text = ""
        self.sentences: list[Sentence] = []
        self.citations: list[Citation] = []  # each once
        self.removed = 0

    def add(self, piece: str) -> Iterator[Event]:
        """The next piece of what a generator says."""
        self._said += piece
        if self._unsupported is Unsupported.KEEP:
            yield from self._pass_on(piece)
        if not self._waits:
            yield from self._settle(complete_sentences(self._said, self._checked_until))

    async def judge(self, second_opinion: SecondOpinion) -> None:
        """Ask for a second opinion on every sentence that has a source, before `finish`."""
        asked = []
        for sentence in cited_sentences(self._said):
            verdict, _ = check(self._said, sentence, self._evidence)
            if verdict.markers:
                passages = "\n".join(self._evidence.passages[marker - 1].text for marker in verdict.markers)
                words = MARKER.sub("", self._said[sentence.start : sentence.end]).strip()
                asked.append((sentence.start, (passages, words)))
        opinions = await second_opinion.judge([pair for _, pair in asked])
        if opinions is not None:
            starts = (start for start, _ in asked)
            self._opinions = dict(zip(starts, opinions, strict=True))
            # Those of kept text were told before, and are now final.
            told = {self._outlet.place(start): opinion for start, opinion in self._opinions.items()}
            self.sentences = [_with_opinion(verdict, told.get(verdict.start)) for verdict in self.sentences]

    def finish(self) -> Iterator[Event]:
        """Nothing more is said."""
        yield from self._settle(cited_sentences(self._said, self._checked_until))
        if self._passed_on < len(self._said):
            rest = self._said[self._passed_on :]
            self._passed_on = len(self._said)
            if self._unsupported is not Unsupported.KEEP:
                yield from self._pass_on(rest)

    def _settle(self, sentences: Iterable[CitedSentence]) -> Iterator[Event]:
        for sentence in sentences:
            self._checked_until = sentence.end
            if is_abstention(self._said[sentence.start : sentence.end]):
                yield from self._release(sentence, None)  # it claims nothing of the passages
                continue
            with timed("verify", self._timings):
                checked, citations = check(self._said, sentence, self._evidence)
            verdict = _with_opinion(checked, self._opinions.get(checked.start))
            shift = self._outlet.taken - self._passed_on if self._unsupported is not Unsupported.KEEP else 0
            yield from self._release(sentence, verdict)
            if verdict.support is Support.UNSUPPORTED and self._unsupported is Unsupported.REMOVE:
                self.removed += 1
                continue
            start, last = (self._outlet.place(at + shift) for at in (verdict.start, verdict.end - 1))
            verdict = replace(verdict, start=start, end=last + 1)
            self.sentences.append(verdict)
            for citation in citations:
                if not self._has(citation):
                    self.citations.append(citation)
                yield CitationFound(citation, verdict)
            if not citations:
                yield CitationFound(None, verdict)

    def _release(self, sentence: CitedSentence, verdict: Sentence | None) -> Iterator[Event]:
        """Pass a sentence on with the markers and the white space behind it."""
        end = gap_end(self._said, sentence.end)
        part, self._passed_on = self._said[self._passed_on : end], end
        if self._unsupported is Unsupported.KEEP:
            return
        if verdict is not None and verdict.support is Support.UNSUPPORTED:
            words = part.rstrip()
            part = words + _MARK + part[len(words) :] if self._unsupported is Unsupported.MARK else self._break(part)
        yield from self._pass_on(part)

    def _break(self, removed: str) -> str:
        """The line breaks that are left of a removed sentence: what came before it ends where it ended."""
        wanted, there = (text[len(text.rstrip()) :].count("\n") for text in (removed, self.text))
        return "\n" * max(0, wanted - there) if self.text else ""

    def _pass_on(self, text: str) -> Iterator[Event]:
        if text:
            shown = self._outlet.add(text)
            self.text += shown
            yield Delta(shown)

    def _has(self, citation: Citation) -> bool:
        return any(
            (known.marker, known.start, known.end) == (citation.marker, citation.start, citation.end)
            for known in self.citations
        )


def _with_opinion(verdict: Sentence, opinion: Entailment | None) -> Sentence:
    return verdict if opinion is None else combine(verdict, opinion)

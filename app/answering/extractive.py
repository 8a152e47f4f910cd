"""Answers made of the passages' own sentences: no model, no invention, every sentence a quotation."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import AsyncGenerator, MutableMapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from app.answering.citations import MARKER
from app.answering.evidence import Evidence, EvidenceSentence
from app.answering.generation import Completion, Task
from app.answering.terms import weighted_terms
from app.telemetry import timed
from app.types import Mode, Usage

MAX_SENTENCES = 3
_SENTENCES_A_PART = 2  # of a compound question
_K1, _B = 1.2, 0.5  # BM25's saturation and length normalisation, over sentences
_PASSAGE_WEIGHT = 0.5  # of the passage's fused score, beside the sentence's own share of the best possible BM25
_REDUNDANCY = 0.2  # taken off in proportion to the terms shared with a sentence that is already chosen
_WORTH_SAYING = 0.4  # of the best sentence's score; a weaker second or third sentence is left out
_FRAGMENT_WEIGHT = 0.4  # what a heading or a table cell keeps of its score
_SCRAP_TERMS = 2
_FRAGMENT_TERMS = 8  # a line without a full stop is one of those up to this length
_SENTENCE_ENDS = ".!?。！？；…:：\"'”’」』)）》"


class ExtractiveGenerator:
    """Answers with the sentences that match the question best, each followed by its marker."""

    mode: Final = Mode.EXTRACT

    async def generate(self, task: Task, timings: MutableMapping[str, float]) -> AsyncGenerator[str | Completion, None]:
        with timed("generate", timings):
            parts = compose(task.evidence, select_for_parts(task.parts or (task.question,), task.evidence))
        for text in parts:
            yield text
        yield Completion(model="extractive", usage=Usage(), finish_reason="stop")


def select_sentences(question: str, evidence: Evidence, limit: int = MAX_SENTENCES) -> list[EvidenceSentence]:
    """The sentences that answer best, at most `limit`: the best one's passage first, each in the order of its text.

    A sentence counts by its BM25 score for the question, as a share of what a perfect sentence would get, and by the
    score of its passage. Dense similarity of sentences was tried: it moved the share of right answers by
    less than 0.3 points in either language, so there is none.
    """
    sentences = _without_repeats(evidence)
    if not sentences:
        return []
    passage_scores = np.array([evidence.passages[sentence.passage].score for sentence in sentences])
    scores = _term_scores(weighted_terms(question), sentences) + _PASSAGE_WEIGHT * passage_scores
    scores[[_is_fragment(evidence, sentence) for sentence in sentences]] *= _FRAGMENT_WEIGHT
    floor = _WORTH_SAYING * float(scores.max())
    chosen: list[int] = []
    while len(chosen) < limit:
        best = int(np.argmax(scores))
        if not np.isfinite(scores[best]) or (chosen and scores[best] < floor):
            break
        chosen.append(best)
        scores[best] = -np.inf
        scores -= _REDUNDANCY * np.array([_shared(sentences[best].terms, other.terms) for other in sentences])
    passages = list(dict.fromkeys(sentences[position].passage for position in chosen))
    in_order = sorted(chosen, key=lambda position: (passages.index(sentences[position].passage), position))
    return [sentences[position] for position in in_order]


def select_for_parts(parts: Sequence[str], evidence: Evidence) -> list[EvidenceSentence]:
    """The sentences that answer each part of a question, in the order of the parts, none of them twice."""
    limit = MAX_SENTENCES if len(parts) == 1 else _SENTENCES_A_PART
    chosen = [sentence for part in parts for sentence in select_sentences(part, evidence, limit)]
    return [sentence for at, sentence in enumerate(chosen) if sentence not in chosen[:at]]


def compose(evidence: Evidence, sentences: Sequence[EvidenceSentence]) -> list[str]:
    """The parts of an answer, one a sentence, each with its marker: `["… 308 points. [1] ", "… 136. [2]"]`."""
    parts = []
    for position, sentence in enumerate(sentences):
        # A footnote number of the document's own would be taken for one of ours.
        text = " ".join(MARKER.sub("", evidence.text(sentence)).split())
        ends = text.endswith(tuple(_SENTENCE_ENDS))
        gap = " " if text[-1:].isascii() else ""
        # A heading or a table row has no full stop: a blank line keeps it apart from what follows.
        between = "" if position == len(sentences) - 1 else (gap if ends else "\n\n")
        parts.append(f"{text}{gap}[{sentence.passage + 1}]{between}")
    return parts


def _is_fragment(evidence: Evidence, sentence: EvidenceSentence) -> bool:
    """A heading, a table cell or a scrap repeats the question's words and says nothing of them."""
    text = evidence.text(sentence).strip()
    length = sentence.terms.total()
    if length <= _SCRAP_TERMS or text in evidence.passages[sentence.passage].headings:
        return True
    return length <= _FRAGMENT_TERMS and not text.endswith(tuple(_SENTENCE_ENDS)) and "|" not in text


def _without_repeats(evidence: Evidence) -> list[EvidenceSentence]:
    """Neighbouring passages overlap, and the same boilerplate stands in many documents: keep the first of equals."""
    first: dict[str, EvidenceSentence] = {}
    for sentence in evidence.sentences:
        if sentence.terms:
            first.setdefault(" ".join(evidence.text(sentence).split()), sentence)
    return list(first.values())


def _term_scores(wanted: dict[str, float], sentences: Sequence[EvidenceSentence]) -> npt.NDArray[np.float64]:
    """BM25 over the sentences, divided by the sum of the question's term weights."""
    lengths = np.array([sentence.terms.total() for sentence in sentences], dtype=np.float64)
    normalised = _K1 * (1 - _B + _B * lengths / lengths.mean())
    scores = np.zeros(len(sentences))
    best_possible = 0.0
    for term, weight in wanted.items():
        frequencies = np.array([sentence.terms[term] for sentence in sentences], dtype=np.float64)
        holding = np.count_nonzero(frequencies)
        rarity = weight * math.log(1 + (len(sentences) - holding + 0.5) / (holding + 0.5))
        best_possible += rarity
        scores += rarity * frequencies * (_K1 + 1) / (frequencies + normalised)
    return scores / best_possible if best_possible else scores


def _shared(one: Counter[str], other: Counter[str]) -> float:
    """The share of the shorter sentence's terms that both have."""
    return (one & other).total() / max(1, min(one.total(), other.total()))

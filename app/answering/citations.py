"""Markers in an answer → sentences, and exact quotes from what they cite.

A marker belongs to the sentence that it follows, also from behind the full stop: `It won. [1] It lost [2].` has two
sentences with a marker each.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from app.answering.evidence import Evidence
from app.answering.terms import recall, weighted_terms
from app.sentences import split_sentences
from app.types import Citation, label_of

MARKER = re.compile(r"[\[【［]\s*(\d{1,3}(?:\s*[,，、;；]\s*\d{1,3})*)\s*[\]】］]")
_GAP = re.compile(rf"(?:\s|{MARKER.pattern})*")
_MAY_END = re.compile(r"[。｡！？；…۔।.!?؟\n]")  # what every boundary of `split_sentences` has
_OPEN_MARKER = re.compile(r"[\[【［][\d\s,，、;；]*$")  # one that a stream has not finished yet


@dataclass(frozen=True, slots=True)
class CitedSentence:
    """A sentence of an answer, `answer[start:end]`, and the markers that belong to it, without repeats."""

    start: int
    end: int
    markers: tuple[int, ...]


def cited_sentences(answer: str, start: int = 0) -> list[CitedSentence]:
    """The sentences of an answer from `start` on, with whatever markers stand there."""
    # Blanked out, a marker neither hides a full stop from the white space behind it nor counts as text.
    blanked = MARKER.sub(lambda match: " " * len(match.group()), answer[start:])
    spans = [(start + a, start + b) for a, b in split_sentences(blanked)]
    markers: list[list[int]] = [[] for _ in spans]
    owner = 0
    for match in MARKER.finditer(answer, start):
        while owner + 1 < len(spans) and spans[owner + 1][0] < match.start():
            owner += 1
        if spans and spans[owner][0] < match.start():
            markers[owner] += [int(number) for number in re.split(r"\D+", match[1])]
    return [CitedSentence(a, b, tuple(dict.fromkeys(found))) for (a, b), found in zip(spans, markers, strict=True)]


def complete_sentences(answer: str, start: int) -> Iterator[CitedSentence]:
    """Those of a growing answer that no further text can change: another sentence has begun behind them."""
    if not _MAY_END.search(answer, start):
        return  # asked for each token of a stream, which mostly goes on with a sentence
    settled = _OPEN_MARKER.sub("", answer)
    sentences = cited_sentences(settled, start)
    for position, sentence in enumerate(sentences[:-1]):
        # A closing quotation mark or a second full stop may still belong to this sentence; a letter does not.
        if any(character.isalnum() for later in sentences[position + 1 :] for character in settled[later.start :]):
            yield sentence


def gap_end(answer: str, end: int) -> int:
    """Where the white space and the markers behind a sentence end: the next one begins there."""
    match = _GAP.match(answer, end)
    return match.end() if match else end


def cite(text: str, marker: int, evidence: Evidence) -> Citation:
    """The span of the marked passage that supports the sentence best: its own words if they are there."""
    passage = evidence.passages[marker - 1]
    start, end = _find(text, passage.text) or _best_sentence(text, marker, evidence)
    quote = passage.text[start:end]
    page = passage.page_at(passage.start + start)
    return Citation(
        marker=marker,
        document_id=passage.document_id,
        version=passage.version,
        filename=passage.filename,
        page=page,
        page_label=label_of(page, passage.page_labels),
        chunk_id=passage.chunk_id,
        start=passage.start + start,
        end=passage.start + end,
        quote=quote,
        score=round(recall(weighted_terms(text), weighted_terms(quote)), 4),
    )


def _find(text: str, source: str) -> tuple[int, int] | None:
    """Where a sentence stands word for word; line breaks count as spaces."""
    words = text.split()
    match = re.search(r"\s+".join(map(re.escape, words)), source) if words else None
    return match.span() if match else None


def _best_sentence(text: str, marker: int, evidence: Evidence) -> tuple[int, int]:
    wanted = weighted_terms(text)
    candidates = [sentence for sentence in evidence.sentences if sentence.passage == marker - 1]
    best = max(candidates, key=lambda sentence: recall(wanted, sentence.terms), default=None)
    if best is None or not recall(wanted, best.terms):
        return 0, len(evidence.passages[marker - 1].text)  # no sentence stands out: the passage as a whole
    return best.start, best.end

"""Markers in an answer → sentences with exact quotes and a verdict each. No model is asked.

A marker belongs to the sentence that it follows, also from behind the full stop: `It won. [1] It lost [2].` has two
sentences with a marker each.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass

from app.answering.evidence import Evidence
from app.answering.terms import has_cjk, recall, weighted_terms
from app.index.analysis import CJK, analyse
from app.sentences import split_sentences
from app.types import Citation, Sentence, Support, label_of

MARKER = re.compile(r"[\[【［]\s*(\d{1,3}(?:\s*[,，、;；]\s*\d{1,3})*)\s*[\]】］]")
_OPEN_MARKER = re.compile(r"[\[【［][\d\s,，、;；]*$")  # one that a stream has not finished yet
_SUPPORTED_RECALL = 0.6
_PARTIAL_RECALL = 0.3
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_LATIN_WORD = re.compile(rf"(?![{CJK}])[^\W\d_](?:(?![{CJK}])[\w'’-])*")


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
    settled = _OPEN_MARKER.sub("", answer)
    sentences = cited_sentences(settled, start)
    for position, sentence in enumerate(sentences[:-1]):
        # A closing quotation mark or a second full stop may still belong to this sentence; a letter does not.
        if any(character.isalnum() for later in sentences[position + 1 :] for character in settled[later.start :]):
            yield sentence


def verify(answer: str, sentence: CitedSentence, evidence: Evidence) -> tuple[Sentence, list[Citation]]:
    """The verdict on one sentence, and a citation for each of its markers. Markers without a passage are dropped."""
    text = MARKER.sub("", answer[sentence.start : sentence.end])
    markers = tuple(marker for marker in sentence.markers if 1 <= marker <= len(evidence.passages))
    support, score = judge(text, markers, evidence)
    citations = [cite(text, marker, evidence) for marker in markers]
    return Sentence(sentence.start, sentence.end, markers, support, round(score, 4)), citations


def judge(text: str, markers: Sequence[int], evidence: Evidence) -> tuple[Support, float]:
    """Whether the passages behind the markers hold what the sentence says, and the share of its terms they hold."""
    if not markers:
        return Support.UNSUPPORTED, 0.0
    passages = [evidence.passages[marker - 1] for marker in markers]
    # What the reader sees around a passage: file, headings and a table's header name what the text may call "it".
    labels = " ".join(" ".join((*passage.headings, passage.header, passage.filename)) for passage in passages)
    source = "\n".join((labels, *(passage.text for passage in passages)))
    known = set(analyse(labels)).union(*(evidence.terms[marker - 1] for marker in markers))
    score = recall(weighted_terms(text), known)
    if missing_numbers(text, source) or missing_names(text, known):
        return Support.UNSUPPORTED, score
    if (has_cjk(text) and not has_cjk(source)) or (has_cjk(source) and not has_cjk(text) and score < _PARTIAL_RECALL):
        return Support.PARTIAL, score  # two languages share no terms: numbers and names agree, no more can be said
    if score >= _SUPPORTED_RECALL:
        return Support.SUPPORTED, score
    return (Support.PARTIAL if score >= _PARTIAL_RECALL else Support.UNSUPPORTED), score


def missing_numbers(text: str, source: str) -> set[str]:
    """Numbers, and so dates, of a sentence that its source does not hold: 1,200 and 1200 are the same."""
    return _numbers(text) - _numbers(source)


def missing_names(text: str, known: Set[str]) -> set[str]:
    """The terms of a sentence's capitalised words, but its first, that are not among the terms of its source.

    In Chinese every capitalised Latin word is a name, the first one too.
    """
    words = list(_LATIN_WORD.finditer(unicodedata.normalize("NFKC", text)))
    names = [match.group() for match in (words if has_cjk(text) else words[1:])]
    return set(analyse(" ".join(name for name in names if name[0].isupper() and len(name) > 1))) - known


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


def _numbers(text: str) -> set[str]:
    found = _NUMBER.findall(unicodedata.normalize("NFKC", text))
    return {re.sub(r",(?=\d{3}(?!\d))", "", number) for number in found}

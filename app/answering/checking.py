"""A sentence of an answer → its verdict and its citations. No model is asked."""

from __future__ import annotations

import unicodedata

from app.answering.citations import MARKER, CitedSentence, cite
from app.answering.evidence import Evidence
from app.answering.terms import recall, weighted_terms
from app.answering.verification.source import fold
from app.answering.verification.verdict import Verdict, judge
from app.types import Check, Citation, Problem, Sentence, Support

# A passage that is to be named for a sentence without a marker: it holds nearly all of it, and clearly more than
# any other one does; and the sentence says enough to tell.
_ATTRIBUTED_RECALL = 0.8
_ATTRIBUTED_LEAD = 0.1
_LEAST_TERMS = 3.0


def check(answer: str, sentence: CitedSentence, evidence: Evidence) -> tuple[Sentence, list[Citation]]:
    """The verdict on one sentence, and a citation for each of its markers.

    Markers without a passage are dropped. A sentence without any is attributed to a passage that clearly supports it.
    """
    text = MARKER.sub("", answer[sentence.start : sentence.end])
    markers = tuple(marker for marker in sentence.markers if 1 <= marker <= len(evidence.passages))
    attributed = False
    verdict = judge(text, [evidence.source(marker) for marker in markers])
    if not sentence.markers and (found := attribute(text, evidence)):
        marker, verdict = found
        markers, attributed = (marker,), True
    unknown = tuple(Problem(Check.MARKERS, str(marker)) for marker in sentence.markers if marker not in markers)
    checked = Sentence(
        start=sentence.start,
        end=sentence.end,
        markers=markers,
        support=verdict.support,
        score=round(verdict.score, 4),
        attributed=attributed,
        problems=(*(() if attributed else unknown), *verdict.problems),
    )
    return checked, [cite(text, marker, evidence) for marker in markers]


def attribute(text: str, evidence: Evidence) -> tuple[int, Verdict] | None:
    """The marker of the one passage that clearly supports a sentence, with its verdict; None where none does."""
    wanted = weighted_terms(unicodedata.normalize("NFKC", text))
    if sum(wanted.values()) < _LEAST_TERMS:
        return None
    shares = [(recall(wanted, evidence.terms[marker - 1]), -marker) for marker in range(1, len(evidence.passages) + 1)]
    best, marker = max(shares, default=(0.0, 0))
    if best < _ATTRIBUTED_RECALL:
        return None
    verdict = judge(text, [evidence.source(-marker)])
    if verdict.support is not Support.SUPPORTED:
        return None
    # Passages overlap: one that holds the very same quotation is no rival.
    quote = fold(cite(text, -marker, evidence).quote)
    for share, other in shares:
        if other != marker and best - share < _ATTRIBUTED_LEAD and quote not in evidence.source(-other).folded:
            return None
    return -marker, verdict

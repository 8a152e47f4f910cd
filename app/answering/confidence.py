"""The probability that passages answer a question, from what the search and the words themselves tell.

A logistic model over five features, which need nothing but the passages with their scores. Question and passages in
Chinese behave differently from those in languages with spaces (characters and pairs overlap by chance, the embedder
may not read them), so each has coefficients of its own.
"""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass

from app.answering.evidence import Evidence
from app.answering.terms import has_cjk, recall, weighted_terms

# By `benchmarks/fit_confidence.py` on SQuAD 1.1 (train), and on CMRC 2018 (trial) with DRCD (test), with half of the
# documents that answer left out of the index. A question that is wrongly refused weighs as much as 13 that are
# wrongly tried, which puts 0.5 where few good answers are lost. The first number is the constant.
_SPACED = (-5.438, 3.883, 2.097, 0.2386, 2.501, 6.046)
_CJK = (-5.748, 7.713, 5.794, 0.7149, 3.161, 0.0)


@dataclass(frozen=True, slots=True)
class Features:
    """What `confidence` goes by; see `explain`."""

    first_passage: float  # share of the question's terms that the first passage holds, rarer ones weighing more
    adjacent_sentences: float  # share that the best two neighbouring sentences hold
    lexical: float  # the best BM25 score, per unit of the question's terms
    lexical_lead: float  # by how much the best BM25 score leads over the mean of the others, as a share of it
    dense: float  # the best cosine similarity, as far as the embedder knows the question's words


def features(question: str, evidence: Evidence, coverage: float) -> Features:
    """`coverage` is the embedder's, of the question. There must be at least one passage."""
    wanted = weighted_terms(question)
    passages = evidence.passages
    rarity = {
        term: weight * math.log(1 + (len(passages) + 0.5) / (sum(term in terms for terms in evidence.terms) + 0.5))
        for term, weight in wanted.items()
    }
    lexical = sorted((passage.scores.lexical or 0.0 for passage in passages), reverse=True)
    others = sum(lexical[1:]) / max(1, len(lexical) - 1)
    dense = max((passage.scores.dense for passage in passages if passage.scores.dense is not None), default=0.0)
    return Features(
        first_passage=recall(rarity, evidence.terms[0]),
        adjacent_sentences=_best_neighbours(wanted, evidence),
        lexical=lexical[0] / (sum(wanted.values()) or 1.0),
        lexical_lead=(lexical[0] - others) / lexical[0] if lexical[0] else 0.0,
        dense=dense * coverage,
    )


def probability(question: str, found: Features) -> float:
    """The logistic model: 0 to 1."""
    constant, *coefficients = _CJK if has_cjk(question) else _SPACED
    score = constant + sum(c * value for c, value in zip(coefficients, astuple(found), strict=True))
    return round(1 / (1 + math.exp(-max(-50.0, min(50.0, score)))), 4)


def confidence(question: str, evidence: Evidence, coverage: float) -> float:
    """The probability that the passages answer the question; 0 where there are none."""
    return probability(question, features(question, evidence, coverage)) if evidence.passages else 0.0


def _best_neighbours(wanted: dict[str, float], evidence: Evidence) -> float:
    best = 0.0
    previous = None
    for sentence in evidence.sentences:
        terms = set(sentence.terms)
        if previous is not None and previous.passage == sentence.passage:
            terms.update(previous.terms)
        best = max(best, recall(wanted, terms))
        previous = sentence
    return best

"""Two ranked lists → one: a convex combination of min-max normalised scores.

Bruch, Gai and Ingber, "An Analysis of Fusion Functions for Hybrid Retrieval" (ACM TOIS 42(1), 2023), section 3: unlike
reciprocal rank fusion it keeps how much better one candidate is than the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import nsmallest
from typing import NamedTuple

from app.index.protocol import Hit


class Candidate(NamedTuple):
    """A chunk that at least one leg found, with the raw score of each."""

    id: int
    score: float  # fused, 0 to 1
    dense: float | None
    lexical: float | None


def fuse(
    dense: Sequence[Hit], lexical: Sequence[Hit], dense_weight: float, limit: int | None = None
) -> list[Candidate]:
    """The best `limit` candidates of both legs, best first; `dense_weight` from 0 (lexical) to 1 (dense alone).

    A candidate that a leg did not find gets that leg's lowest score, 0. Ties go to the older chunk.
    """
    dense_scores, lexical_scores = dict(dense), dict(lexical)
    dense_part, lexical_part = normalised(dense_scores), normalised(lexical_scores)
    lexical_weight = 1.0 - dense_weight
    # Negative, so that the natural order is: the higher score first, then the lower id.
    ranked = [
        (-(dense_weight * dense_part.get(chunk, 0.0) + lexical_weight * lexical_part.get(chunk, 0.0)), chunk)
        for chunk in dense_scores | lexical_scores
    ]
    best = sorted(ranked) if limit is None else nsmallest(limit, ranked)
    return [Candidate(chunk, -score, dense_scores.get(chunk), lexical_scores.get(chunk)) for score, chunk in best]


def normalised(scores: dict[int, float]) -> dict[int, float]:
    """To 0 … 1 within one query; a single candidate, or equal ones, get 1."""
    if not scores:
        return {}
    lowest, highest = min(scores.values()), max(scores.values())
    if highest == lowest:
        return dict.fromkeys(scores, 1.0)
    return {chunk: (score - lowest) / (highest - lowest) for chunk, score in scores.items()}

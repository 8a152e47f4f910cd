"""Questions that ask for the same, however they are worded."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from app.answering.rewriting import content_words
from app.answering.terms import recall, weighted_terms

_SAME = 0.55  # of the terms, by weight, both ways
_MOST_VARIANTS = 5


@dataclass(slots=True)
class QuestionGroup:
    """Questions in other words than each other's, under the newest of them."""

    question: str
    terms: dict[str, float]
    count: int
    variants: list[str]
    last_asked_at: datetime


def group_questions(questions: Iterable[tuple[str, datetime]]) -> list[QuestionGroup]:
    """Groups of questions that share most of their words, the largest first. `questions`: the newest first."""
    groups: list[QuestionGroup] = []
    holding: dict[str, list[int]] = defaultdict(list)  # term → groups
    for question, asked_at in questions:
        terms = weighted_terms(" ".join(content_words(question)) or question)
        near = {number for term, weight in terms.items() if weight == 1.0 for number in holding[term]}
        best = max(near, key=lambda number: _likeness(terms, groups[number].terms), default=None)
        if best is not None and _likeness(terms, groups[best].terms) >= _SAME:
            group = groups[best]
            group.count += 1
            if question not in group.variants and len(group.variants) < _MOST_VARIANTS:
                group.variants.append(question)
            continue
        for term in terms:
            holding[term].append(len(groups))
        groups.append(QuestionGroup(question, terms, 1, [question], asked_at))
    return sorted(groups, key=lambda group: -group.count)


def _likeness(one: dict[str, float], other: dict[str, float]) -> float:
    return min(recall(one, other), recall(other, one))

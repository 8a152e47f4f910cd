"""All checks together: the verdict on a sentence."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, replace

from app.answering.terms import recall
from app.answering.verification.alignment import Alignment, all_numbers, telling_terms
from app.answering.verification.mentions import find_mentions
from app.answering.verification.names import MissingName, missing_names
from app.answering.verification.negation import contradictions
from app.answering.verification.numbers import MissingNumber, missing_numbers, together
from app.answering.verification.quantities import Mention
from app.answering.verification.quotations import altered_quotations
from app.answering.verification.source import Source, fold, is_cjk
from app.answering.verification.substitution import Substitution, substitutions
from app.types import Check, Problem, Support

# Share of terms from which a sentence is partly and wholly supported. In Chinese pairs of characters are counted: half
# of the single ones stand in any text of a page.
_LEAST_SPACED = (0.35, 0.6)
_LEAST_CJK = (0.22, 0.5)
_CLAUSE_END = re.compile(r"[，；;、]|,\s(?!\d)")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the checks found of one sentence."""

    support: Support
    score: float  # the share of its terms and numbers that the sources hold, words of grammar weighing less
    problems: tuple[Problem, ...] = ()


def judge(sentence: str, sources: Sequence[Source]) -> Verdict:
    """Whether the sources hold what a sentence says. Without sources it is unsupported."""
    if not sources:
        return Verdict(Support.UNSUPPORTED, 0.0)
    text = unicodedata.normalize("NFKC", sentence)
    mentions = find_mentions(text)
    if _is_quoted(text, mentions, sources):
        return Verdict(Support.SUPPORTED, 1.0)
    alignment = Alignment(text, sources)
    speaks_alike = any(source.is_cjk == is_cjk(text) for source in sources)
    numbers = (
        _missing_numbers(text, mentions, sources, alignment)
        if speaks_alike
        else missing_numbers(mentions, all_numbers(sources))
    )
    names = _missing_names(text, sources, alignment) if speaks_alike else []
    problems = [Problem(Check.NUMBERS, each.mention.text) for each in numbers]
    problems += [Problem(Check.NAMES, each.text) for each in names]
    if speaks_alike:
        problems += [Problem(Check.QUOTES, each) for each in altered_quotations(text, sources)]
        problems += [Problem(Check.NEGATION, clause) for clause in contradictions(text, sources)]
    score = _recall(text, mentions, {each.mention for each in numbers}, sources)
    least, enough = _LEAST_CJK if is_cjk(text) else _LEAST_SPACED
    # Where a source neither holds a name nor another in its place ("the company"), it may well speak of it.
    open_ones = sum(each.is_open for each in numbers) + sum(not each.has_rival for each in names)
    if len(problems) > open_ones or (speaks_alike and score < least):
        support = Support.UNSUPPORTED
    elif problems or not speaks_alike or score < enough:
        support = Support.PARTIAL  # two languages share no terms: the numbers agree, no more can be said
    else:
        support = Support.SUPPORTED
    return Verdict(support, score, tuple(problems))


def _is_quoted(text: str, mentions: Sequence[Mention], sources: Sequence[Source]) -> bool:
    """Whether a source says it in the very same words; of numbers, points and percent signs count, too."""
    folded = fold(text)
    return bool(folded) and any(
        folded in source.folded and not missing_numbers(mentions, source.all_numbers) for source in sources
    )


def _recall(text: str, mentions: Sequence[Mention], missing: Set[Mention], sources: Sequence[Source]) -> float:
    """The share of a sentence's terms and numbers that the sources hold; a number in whatever spelling."""
    words = text
    for mention in mentions:
        words = words[: mention.start] + " " * (mention.end - mention.start) + words[mention.end :]
    wanted = telling_terms(words)
    known = frozenset().union(*(source.terms for source in sources))
    numbers = {f"#{mention.start}": 1.0 for mention in mentions}
    held = {f"#{mention.start}" for mention in mentions if mention not in missing}
    return recall({**wanted, **numbers}, known | held)


def _missing_names(text: str, sources: Sequence[Source], alignment: Alignment) -> list[MissingName]:
    missing = missing_names(text, sources, alignment.texts())
    best = alignment.best()
    if best is None or not is_cjk(text):
        return missing
    source, closest = best
    found = list(substitutions(text, closest, source.folded))
    known = [replace(name, has_rival=name.has_rival or _is_within(name.text, found)) for name in missing]
    unknown = [each.text for each in found if each.of_a_name and not any(name.text in each.text for name in missing)]
    return [*known, *(MissingName(text, has_rival=True) for text in unknown)]


def _is_within(name: str, found: Sequence[Substitution]) -> bool:
    return any(name in each.text or each.text in name for each in found)


def _missing_numbers(
    text: str, mentions: Sequence[Mention], sources: Sequence[Source], alignment: Alignment
) -> list[MissingNumber]:
    """Each clause may speak of a sentence of its own: its numbers may stand there, too."""
    nearby = alignment.numbers()
    missing = missing_numbers(mentions, nearby)
    if not missing:
        return []
    everywhere = all_numbers(sources)
    missing = [each for each in missing if not each.mention.is_telling or missing_numbers([each.mention], everywhere)]
    still = []
    for start, end in _clauses(text):
        within = [each.mention for each in missing if start <= each.mention.start < end]
        if within:
            numbers = Alignment(text[start:end], sources).numbers()
            still += missing_numbers(within, together((nearby, numbers)))
    return still


def _clauses(text: str) -> Iterator[tuple[int, int]]:
    ends = [match.end() for match in _CLAUSE_END.finditer(text)]
    yield from zip([0, *ends], [*ends, len(text)], strict=True)

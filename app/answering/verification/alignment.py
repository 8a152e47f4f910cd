"""Which sentences of its sources speak of what a sentence says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from app.answering.terms import recall, weighted_terms
from app.answering.verification.numbers import Numbers, together
from app.answering.verification.source import Source

# Of the closest sentence's share of terms. Between 0.3 and 0.6, with the neighbours, little changes: without any limit
# a passage of a page holds every small number and month, and a changed one is found in it far too often.
_RELATED = 0.5


def telling_terms(text: str) -> dict[str, float]:
    """The terms of a text with their weights; of Chinese the pairs alone: a single character stands in many words."""
    terms = weighted_terms(text)
    return {term: weight for term, weight in terms.items() if len(term) > 1} or terms


class Alignment:
    """A sentence beside the sentences of its sources; `closest` is the largest share of its terms that one holds."""

    def __init__(self, sentence: str, sources: Sequence[Source]) -> None:
        wanted = telling_terms(sentence)
        self._sources = sources
        self._shares = [[recall(wanted, terms) for _, terms in source.sentences] for source in sources]
        self.closest = max((share for shares in self._shares for share in shares), default=0.0)

    def related(self) -> Iterator[tuple[Source, int]]:
        """The sentences that share at least half as much with it as the closest one does: source and position."""
        for source, shares in zip(self._sources, self._shares, strict=True):
            yield from ((source, at) for at, share in enumerate(shares) if share and share >= _RELATED * self.closest)

    def best(self) -> tuple[Source, str] | None:
        """The closest sentence, and its source."""
        for source, at in self.related():
            if self._share(source, at) == self.closest:
                return source, source.sentences[at][0]
        return None

    def _share(self, source: Source, at: int) -> float:
        return self._shares[next(i for i, each in enumerate(self._sources) if each is source)][at]

    def texts(self) -> Iterator[str]:
        """Their texts, and what stands above the passages."""
        yield from (source.sentences[at][0] for source, at in self.related())
        yield from (source.labels for source in self._sources)

    def numbers(self) -> Numbers:
        """What they and their neighbours say in numbers. A year may stand anywhere: it is said once and then meant."""
        near = {(source, other) for source, at in self.related() for other in (at - 1, at, at + 1)}
        parts = [source.numbers[at] for source, at in near if 0 <= at < len(source.sentences)]
        found = together([*parts, *(source.label_numbers for source in self._sources)])
        years = found.years.union(*(source.all_numbers.years for source in self._sources))
        return replace(found, years=years)


def all_numbers(sources: Sequence[Source]) -> Numbers:
    """Every number of the sources, for a sentence in another language: which of theirs speak of it is not known."""
    return together(source.all_numbers for source in sources)

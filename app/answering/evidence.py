"""Passages read once: cut into sentences with their terms, for confidence, extraction and verification alike."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from app.answering.verification.source import Source
from app.index.analysis import analyse
from app.sentences import split_sentences
from app.types import Passage

# A table without full stops or a legal clause can be one "sentence" of pages; nobody reads that as a quote.
MAX_SENTENCE_CHARACTERS = 300
_BULLET = re.compile(r"[-*+•▪●◦][ \t]+(?=\S)")  # the list's, not the sentence's
_CLAUSE_END = re.compile(r"[,;:，；：、|\n]\s*|\s+")


@dataclass(frozen=True, slots=True)
class EvidenceSentence:
    """A sentence of a passage, `passage.text[start:end]`, or a piece of a very long one."""

    passage: int  # position among the passages, from 0
    start: int
    end: int
    terms: Counter[str]


@dataclass(frozen=True)
class Evidence:
    """The passages of one request, their sentences, and the terms of each passage.

    Read when they are first asked for: a language model can begin before.
    """

    passages: tuple[Passage, ...]
    _sources: dict[int, Source] = field(default_factory=dict, compare=False, repr=False)

    @cached_property
    def sentences(self) -> tuple[EvidenceSentence, ...]:
        return tuple(
            EvidenceSentence(position, start, end, Counter(analyse(passage.text[start:end])))
            for position, passage in enumerate(self.passages)
            for start, end in _pieces(passage.text)
        )

    @cached_property
    def terms(self) -> tuple[frozenset[str], ...]:
        """By passage."""
        terms: list[set[str]] = [set() for _ in self.passages]
        for sentence in self.sentences:
            terms[sentence.passage].update(sentence.terms)
        return tuple(map(frozenset, terms))

    def text(self, sentence: EvidenceSentence) -> str:
        return self.passages[sentence.passage].text[sentence.start : sentence.end]

    def source(self, marker: int) -> Source:
        """The passage behind a marker as the checks read it, read once."""
        if marker not in self._sources:
            passage = self.passages[marker - 1]
            # What the reader sees around a passage: these name what the text may call "it".
            labels = " ".join((*passage.headings, passage.header, passage.filename))
            self._sources[marker] = Source(passage.text, labels)
        return self._sources[marker]


def read_passages(passages: Sequence[Passage]) -> Evidence:
    """Passages as evidence."""
    return Evidence(tuple(passages))


def _pieces(text: str) -> Iterator[tuple[int, int]]:
    for start, end in split_sentences(text):
        bullet = _BULLET.match(text, start, end)
        start = bullet.end() if bullet else start
        while end - start > MAX_SENTENCE_CHARACTERS:
            cut = _last_clause_end(text, start, start + MAX_SENTENCE_CHARACTERS)
            yield start, cut
            start = cut
            while start < end and text[start].isspace():
                start += 1
        if start < end:
            yield start, end


def _last_clause_end(text: str, start: int, limit: int) -> int:
    """Where to cut before `limit`: behind punctuation or white space in the second half, else at the limit."""
    cut = limit
    for match in _CLAUSE_END.finditer(text, start + (limit - start) // 2, limit):
        cut = match.end()
    while cut > start + 1 and text[cut - 1].isspace():
        cut -= 1
    return cut

"""What stands in a sentence where its source has other words: the two laid side by side, for Chinese.

A name that no dictionary knows is not seen in a Chinese sentence. Where the sentence otherwise repeats its source, a
name of the source that has given way to words that the source does not have is seen all the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher

import rjieba

_LEAST_ALIKE = 0.6  # of the words of both
_MOST_WORDS = 120
_NAMES = ("nr", "ns", "nt", "nz")


@dataclass(frozen=True, slots=True)
class Substitution:
    """Words of a sentence that stand where its source has others; `of_a_name`: these hold a name."""

    text: str
    of_a_name: bool


def substitutions(sentence: str, closest: str, folded_source: str) -> Iterator[Substitution]:
    """What a sentence says in the place of other words of its source's closest sentence, and nowhere in the source.

    Both texts NFKC; `folded_source` as `fold` has it.
    """
    said, there = rjieba.tag(sentence), rjieba.tag(closest)
    if not said or not there or max(len(said), len(there)) > _MOST_WORDS:
        return
    words, other_words = [word for word, _ in said], [word for word, _ in there]
    matcher = SequenceMatcher(None, words, other_words, autojunk=False)
    if matcher.ratio() < _LEAST_ALIKE:
        return
    for operation, start, end, other_start, other_end in matcher.get_opcodes():
        if operation != "replace":
            continue
        has_name = any(tag.startswith(_NAMES) and len(word) > 1 for word, tag in there[other_start:other_end])
        is_new = any(len(word) > 1 and word.lower() not in folded_source for word in words[start:end])
        if is_new:
            yield Substitution("".join(words[start:end]), has_name)

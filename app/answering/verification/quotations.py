"""What a sentence puts in quotation marks has to stand in its source, word for word."""

from __future__ import annotations

import re
from collections.abc import Sequence

from app.answering.verification.source import Source, fold, is_cjk

_QUOTATION = re.compile(r"“([^“”]{4,400})”|「([^「」]{4,400})」|『([^『』]{4,400})』|(?<!\w)\"([^\"]{4,400})\"(?!\w)")
_LEAST_WORDS, _LEAST_CHARACTERS = 4, 8  # shorter ones are names and turns of phrase


def altered_quotations(sentence: str, sources: Sequence[Source]) -> list[str]:
    """The quotations of a sentence (NFKC) that stand in none of its sources; case and punctuation do not count."""
    altered = []
    for match in _QUOTATION.finditer(sentence):
        quoted = next(group for group in match.groups() if group)
        is_long = len(fold(quoted)) >= _LEAST_CHARACTERS if is_cjk(quoted) else len(quoted.split()) >= _LEAST_WORDS
        if is_long and not any(_holds(source, quoted) for source in sources):
            altered.append(quoted)
    return altered


def _holds(source: Source, quoted: str) -> bool:
    """Every part of it: "…" leaves something out."""
    parts = (fold(part) for part in re.split(r"\.{3}|…|\[[^\]]*\]", quoted))
    return all(part in source.folded for part in parts)

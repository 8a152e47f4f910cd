"""A passage as the checks read it, each part when it is first asked for."""

from __future__ import annotations

import re
import unicodedata
from functools import cached_property

from app.answering.terms import has_cjk
from app.answering.verification.numbers import Numbers, read_numbers, table_scale, together
from app.index.analysis import CJK, analyse
from app.sentences import split_sentences

_CJK_LETTER = re.compile(f"[{CJK}]")
_LATIN_LETTER = re.compile(r"[A-Za-z]+")


class Source:
    """What a reader sees of a passage: its text, and around it the file's name, headings and a table's header."""

    def __init__(self, text: str, labels: str = "") -> None:
        self.text = unicodedata.normalize("NFKC", text)
        self.labels = unicodedata.normalize("NFKC", labels)

    @cached_property
    def whole(self) -> str:
        return f"{self.labels}\n{self.text}"

    @cached_property
    def folded(self) -> str:
        """All of it as `fold` has it."""
        return fold(self.whole)

    @cached_property
    def terms(self) -> frozenset[str]:
        return frozenset(analyse(self.whole))

    @cached_property
    def numbers(self) -> tuple[Numbers, ...]:
        """Of each of its sentences."""
        return tuple(read_numbers(sentence, self._scale) for sentence, _ in self.sentences)

    @cached_property
    def label_numbers(self) -> Numbers:
        return read_numbers(self.labels)

    @cached_property
    def all_numbers(self) -> Numbers:
        return together((*self.numbers, self.label_numbers))

    @cached_property
    def _scale(self) -> int:
        return table_scale(self.whole)

    @cached_property
    def sentences(self) -> tuple[tuple[str, frozenset[str]], ...]:
        """The text's sentences with their terms."""
        pieces = (self.text[start:end] for start, end in split_sentences(self.text))
        return tuple((piece, frozenset(analyse(piece))) for piece in pieces)

    @cached_property
    def is_cjk(self) -> bool:
        return is_cjk(self.text)


def fold(text: str) -> str:
    """Letters and digits alone, in lower case: how a name or a quotation is looked for."""
    return "".join(character for character in text.lower() if character.isalnum())


def is_cjk(text: str) -> bool:
    """Whether a text is in a language without spaces, whatever names of others it holds."""
    if not has_cjk(text):
        return False
    return len(_CJK_LETTER.findall(text)) >= len(_LATIN_LETTER.findall(text))

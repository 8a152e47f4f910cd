"""Whether the text of a page is what a reader sees there, or what is left where a font does not tell its letters."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable

_MIN_CHARACTERS = 20
_MAX_UNMAPPED_SHARE = 0.1
_MAX_SCRIPTS = 4  # beside Latin and Chinese: a page in more scripts than this was not written by a person
_MIN_TOKENS = 30
_MIN_WORD_SHARE = 0.3
_PLAIN = re.compile(
    r"[\u0020-\u007e\u00a0-\u024f\u2000-\u23ff\u2500-\u27bf\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef\s]+"
)
_LATIN_TOKEN = re.compile(r"[!-~]{3,}")
_WORD = re.compile(r"[(\[\"'“‘]*(?:[A-Za-z][a-z'-]+|[A-Z]+|[$€£]?\d[\d.,:/%-]*)[)\]\"'”’.,:;!?%]*")
_VOWEL = re.compile(r"[aeiouyAEIOUY\d]")
_LETTER = re.compile(r"[A-Za-z]")
_MIN_LETTERS = 100
_MIN_VOWEL_SHARE = 0.2  # written languages have a third and more


def is_garbled(text: str) -> bool:
    """Whether too many characters stand for no letter, the scripts are mixed beyond reason, or words are none."""
    characters = "".join(text.split())
    if len(characters) < _MIN_CHARACTERS:
        return False
    strange = _PLAIN.sub("", characters)
    if unmapped(strange) > _MAX_UNMAPPED_SHARE * len(characters):
        return True
    if len(strange) > len(characters) / 4 and _scripts(strange) > _MAX_SCRIPTS:
        return True
    tokens = _LATIN_TOKEN.findall(text)
    if len(tokens) < _MIN_TOKENS or sum(map(len, tokens)) * 2 < len(characters):
        return False
    letters = _LETTER.findall(text)
    if len(letters) >= _MIN_LETTERS and len(_VOWEL.findall("".join(letters))) < _MIN_VOWEL_SHARE * len(letters):
        return True  # each letter stands for another one
    words = sum(1 for token in tokens if _WORD.fullmatch(token) and _VOWEL.search(token))
    return words < _MIN_WORD_SHARE * len(tokens)


def unmapped(characters: Iterable[str]) -> int:
    """How many characters stand for nothing: private, unassigned, controls, replacements."""
    return sum(1 for each in characters if each == "\ufffd" or unicodedata.category(each) in ("Co", "Cn", "Cc", "Cs"))


def _scripts(characters: str) -> int:
    """How many scripts the letters are of, told by the first word of their names."""
    scripts = Counter(unicodedata.name(each, "?").split(" ", 1)[0] for each in characters if each.isalpha())
    return sum(1 for count in scripts.values() if count >= 3)

"""Text → terms, the same for documents and queries, in English and Chinese.

NFKC and lower case first. Latin words lose their accents and are stemmed; runs of Han, kana and hangul become single
characters and overlapping pairs, which needs no dictionary and did better than jieba's words (docs/decisions/0004).
"""

from __future__ import annotations

import re
import threading
import unicodedata

import Stemmer

CJK = (
    r"\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u1100-\u11ff\uac00-\ud7af"
    r"\U00020000-\U0003ffff"
)
_LETTER = rf"(?:(?![{CJK}])[^\W_])"  # or digit, of any alphabet
_TOKEN = re.compile(
    rf"(?P<cjk>[{CJK}]+)"
    rf"|(?P<number>(?>\d+(?:[.,]\d+)*)(?!{_LETTER}))"  # 1,234.5 is one term
    rf"|(?P<word>{_LETTER}+(?:['’]{_LETTER}+)*)"
)
_THOUSANDS = re.compile(r",(?=\d{3}(?!\d))")
_local = threading.local()  # a stemmer holds a buffer and must not be shared between threads


def analyse(text: str) -> list[str]:
    """The terms of a text, in order, repeats kept."""
    terms: list[str] = []
    for match in _TOKEN.finditer(unicodedata.normalize("NFKC", text).lower()):
        token = match.group()
        if match.lastgroup == "cjk":
            terms.extend(token)
            terms.extend(token[i : i + 2] for i in range(len(token) - 1))
        elif match.lastgroup == "number":
            terms.append(_THOUSANDS.sub("", token))
        else:
            terms.append(_stem(token))
    return terms


def _stem(word: str) -> str:
    if not word.isascii():
        decomposed = unicodedata.normalize("NFKD", word.replace("’", "'"))
        word = "".join(c for c in decomposed if not unicodedata.combining(c))
    stemmer = getattr(_local, "stemmer", None)
    if stemmer is None:
        stemmer = _local.stemmer = Stemmer.Stemmer("english")
    stemmed: str = stemmer.stemWord(word)
    return stemmed

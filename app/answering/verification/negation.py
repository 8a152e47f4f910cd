"""Whether a sentence denies what its source states, or states what it denies."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from app.answering.terms import recall, weight, weighted_terms
from app.answering.verification.source import Source
from app.index.analysis import CJK, analyse

_ENGLISH = re.compile(
    r"(?:\b(?:not(?! only\b| just\b| least\b)|cannot|never|no(?! doubt\b|\.\s?\d)|neither|nor|without|nobody|none"
    r"|unable to|fail(?:s|ed)? to|refus(?:es|ed) to)\b|n['’]t\b)(?P<scope>(?:[ ,]+[\w'’%$-]+){0,5})",
    re.IGNORECASE,
)
_SURE_RECALL = 0.6
_NO_NEGATION = (
    "不仅|不断|不同|不少|不过|不久|不但|不只|不论|不管|不得不|不锈|不惜|不动产|不良|不足|不等|不一|不可避免|无论|无数|无线|无人机|无形|无疑|无偿"
    "|无锡|未来|未成年|非常|非洲|非物质|没收|非法|无非|除非|莫非|不可或缺|不动|不妨|不禁|不愧|不已|不错|不幸|不平|不时|非营利|非经常"
)
_CHINESE = re.compile(
    rf"(?!{_NO_NEGATION})(?:并?不(?:是|会|能|曾|再|得)?|并?没有?|从?[并尚]?未(?:曾|能)?|无法?|[并绝]非|毫无|拒绝)"
    rf"(?P<scope>[{CJK}A-Za-z0-9]{{1,8}})"
)
# Of a source only: other ways to say that something is not so.
_OTHERWISE = re.compile(
    r"\b(?:lack\w*|few|little|hardly|rarely|seldom|instead of|rather than|prevent\w*|avoid\w*|stop\w*|cease\w*"
    r"|prohibit\w*|den(?:y|ies|ied)|absen\w+|exclud\w+|un\w+ed|impossible|un\w+able)\b"
    r"|缺乏|缺少|避免|防止|禁止|停止|杜绝|免于|很少|极少|不|没|无|未|否",
    re.IGNORECASE,
)
_CLAUSE_END = re.compile(r"[，,；;：:。]|\s[–—-]\s")
_LEAST_RECALL = 0.4  # of a source's sentence that is taken for the one that a clause repeats


def contradictions(sentence: str, sources: Sequence[Source]) -> Iterator[str]:
    """The clauses of a sentence (NFKC) that deny what the closest sentence of the sources states, or state what that
    one denies."""
    stated = [(text, terms) for source in sources for text, terms in source.sentences]
    denied_somewhere = {term for text, _ in stated for term in _denied(text)}
    for clause in _CLAUSE_END.split(sentence):
        wanted = weighted_terms(clause)
        share, closest = max(((recall(wanted, terms), text) for text, terms in stated), default=(0.0, ""))
        if share < _LEAST_RECALL:
            continue
        denied = set(_denied(clause))
        if denied:
            repeated = denied & set(analyse(closest))
            if repeated and not repeated & denied_somewhere and not _OTHERWISE.search(closest):
                yield clause.strip()
        elif not _OTHERWISE.search(sentence) and share >= _SURE_RECALL:
            contrary = set(_denied(closest)) & wanted.keys()
            elsewhere = {term for text, terms in stated if text != closest for term in terms}
            if contrary and not contrary & (elsewhere | set(analyse(_without_denied(closest)))):
                yield clause.strip()


def _denied(text: str) -> Iterator[str]:
    """The telling terms in the scope of a negation."""
    for pattern in (_ENGLISH, _CHINESE):
        for match in pattern.finditer(text):
            # A single Chinese character stands in many words.
            yield from (term for term in analyse(match["scope"]) if weight(term) == 1 and len(term) > 1)


def _without_denied(text: str) -> str:
    return _CHINESE.sub(" ", _ENGLISH.sub(" ", text))

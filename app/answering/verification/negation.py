"""Whether a sentence denies what its source states, or states what it denies."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from app.answering.terms import recall, weight, weighted_terms
from app.answering.verification.source import Source
from app.index.analysis import CJK, analyse

_ENGLISH = re.compile(
    r"(?:\b(?:not(?! only\b| just\b| least\b)|cannot|never|no(?! doubt\b|\.\s?\d)|neither|nor|without|nobody|none"
    r"|unable to|fail(?:s|ed)? to|refus(?:es|ed) to)\b|n['’]t\b)(?P<scope>(?:[ ,]+[\w'’%$-]+(?:\.\d+)?){0,5})",
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
    r"|prohibit\w*|den(?:y|ies|ied)|absen\w+|exclud\w+|un\w+ed|impossible|no|not(?! only\b| just\b| least\b)|never"
    r"|none|neither|nor|without|cannot|un\w+able)\b|n['’]t\b"
    r"|缺乏|缺少|避免|防止|禁止|停止|杜绝|免于|很少|极少"
    rf"|(?!{_NO_NEGATION})[不没无未否]",
    re.IGNORECASE,
)
_CLAUSE_END = re.compile(r"[，,；;：:。]|\s[–—-]\s")
_PREDICATE_TERMS = 2  # that follow the negation: what is denied
_RELATED = 0.5  # of the closest clause's share of terms
_LEAST_RECALL = 0.4  # of a source's sentence that is taken for the one that a clause repeats


def contradictions(sentence: str, sources: Sequence[Source]) -> Iterator[str]:
    """The clauses of a sentence (NFKC) that deny what the closest sentence of the sources states, or state what that
    one denies."""
    stated = [(text, terms) for source in sources for text, terms in source.sentences]
    denied_by: dict[str, set[str]] = {}  # sentences of the sources
    denies_elsewhere = bool(_OTHERWISE.search(sentence))
    for clause in _CLAUSE_END.split(sentence):
        wanted = weighted_terms(clause)
        share, closest = max(((recall(wanted, terms), text) for text, terms in stated), default=(0.0, ""))
        if share < _LEAST_RECALL:
            continue
        denied = list(_denied(clause))
        if denied:
            if all(_is_stated(predicate, wanted, stated) for predicate in denied):
                yield clause.strip()
        elif not denies_elsewhere and share >= _SURE_RECALL:
            if closest not in denied_by:
                denied_by[closest] = {term for predicate in _denied(closest) for term in predicate}
            contrary = denied_by[closest] & wanted.keys()
            elsewhere = {term for text, terms in stated if text != closest for term in terms}
            if contrary and not contrary & (elsewhere | set(analyse(_without_denied(closest)))):
                yield clause.strip()


def _is_stated(predicate: list[str], wanted: dict[str, float], stated: Sequence[tuple[str, frozenset[str]]]) -> bool:
    """Whether the sources' clauses on the matter have what is denied, and none of them denies it."""
    first = predicate[:_PREDICATE_TERMS]
    holding = [
        (recall(wanted, terms), clause)
        for text, terms in stated
        if any(term in terms for term in first)
        for clause in _CLAUSE_END.split(text)
        if not set(first).isdisjoint(analyse(clause))
    ]
    best = max((share for share, _ in holding), default=0.0)
    return best >= _LEAST_RECALL and not any(
        share >= _RELATED * best and _OTHERWISE.search(clause) for share, clause in holding
    )


def _denied(text: str) -> Iterator[list[str]]:
    """The telling terms in the scope of each negation, in their order."""
    for pattern in (_ENGLISH, _CHINESE):
        for match in pattern.finditer(text):
            # A single Chinese character stands in many words.
            terms = [term for term in analyse(match["scope"]) if weight(term) == 1 and len(term) > 1]
            if terms:
                yield terms


def _without_denied(text: str) -> str:
    return _CHINESE.sub(" ", _ENGLISH.sub(" ", text))

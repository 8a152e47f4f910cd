"""A compound question → parts that stand alone, in English and Chinese, by rules: no model is asked.

The parts are for searching: what matters is that each holds the words of its own half and of the subject that both
share. A question that no rule fits is left whole, and the whole is searched for beside its parts: a wrong cut costs a
few passages, no answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from app.answering.terms import is_chinese, weighted_terms
from app.sentences import split_sentences

MOST_PARTS = 4
_LEAST_TERMS = 1.3  # what a part must tell by itself: more than one word that is not grammar

# English
_ASKS = (
    r"(?:who|whom|whose|what|when|where|why|which|how"
    r"|(?:did|does|do|is|are|was|were|has|have|had|can|could|will|would|should)\s+(?!not\b)\S+)"
)
_CLAUSES = re.compile(rf"(?:\s*[,;]\s*|\s+)(?:and|or|but|also|as well as|plus)\s+(?:also\s+)?(?={_ASKS}\b)|;\s+", re.I)
_NAME = r"[A-Z][\w'’.-]*(?:\s+(?:of|the|de|van|von)(?=\s+[A-Z])|\s+[A-Z0-9][\w'’.-]*)*"
_TAIL = r"(?:\s+(?P<tail>(?:in|on|by|for|with respect to|regarding|in terms of|as to)\s+[^?]+?))?"
_COMPARE = re.compile(
    r"^(?:please\s+)?(?:(?:can|could) you\s+)?compare\s+(?P<a>.+?)\s+(?:with|to|and|against)\s+"
    rf"(?P<b>.+?){_TAIL}\s*[?.]*$",
    re.I,
)
_BETWEEN = re.compile(
    rf"\b(?P<what>differences?|similarit(?:y|ies)|distinctions?|comparison)\s+between\s+(?P<a>.+?)\s+and\s+(?P<b>.+?)"
    rf"{_TAIL}\s*[?.]*$",
    re.I,
)
_VERSUS = re.compile(r"^(?P<a>.+?)\s+(?:vs\.?|versus)\s+(?P<b>.+?)\s*[?.]*$", re.I)
_HEADS = re.compile(
    r"(?P<before>^.*?\b(?:what|which|tell me|give me|list|find)\b(?:\s+(?:is|are|was|were))?\s+)"
    r"(?P<a>(?:the\s+)?[\w'’-]+(?:\s+[\w'’-]+){0,2}?)\s+and\s+(?P<b>(?:the\s+)?[\w'’-]+(?:\s+[\w'’-]+){0,2}?)"
    r"(?P<after>\s+of\s+.+?)\s*[?.]*$",
    re.I,
)
_NAMES = re.compile(rf"(?P<a>(?:the\s+)?{_NAME})(?P<more>(?:,\s+{_NAME})*),?\s+(?:and|or)\s+(?P<b>(?:the\s+)?{_NAME})")
_OPENING = re.compile(
    r"(?:who|whom|whose|what|when|where|why|which|how|and|but|or|in|on|at|did|does|do|is|are|was|were|has|have|had|can"
    r"|could|will|would|should)\b",
    re.I,
)
_BEFORE_A_PAIR = re.compile(r"\bbetween\s+$", re.I)  # what lies between two things belongs to neither
_EACH = re.compile(r",?\s*\b(?:respectively|each|both)\b", re.I)
_PRONOUN = re.compile(
    r"\b(?:it|they|them|he|she|him|this one|that one|(?P<owner>its|their|his|her))\b",
    re.I,
)
_SUBJECT = (
    # "when DID the harbour bridge OPEN": what stands between the auxiliary and the last word
    re.compile(r"\b(?:did|does|do)\s+(?P<subject>.+?)\s+[\w'’-]+\s*$", re.I),
    # "who BUILT the harbour bridge", "where IS the harbour bridge"
    re.compile(
        r"\b(?:is|are|was|were|has|have|had|can|could|will|would|should)\s+"
        r"(?P<subject>(?:the|a|an|our|my|your)\s+[\w'’-]+(?:\s+[\w'’-]+){0,2}?)(?:\s+(?:[\w'’]+(?:ed|en|wn)|built|held|kept|lent|lost|made|paid|sent|sold|told|won|born))?\s*$",
        re.I,
    ),
    re.compile(rf"\b(?P<subject>(?:the\s+)?{_NAME})"),
    re.compile(r"\b(?P<subject>(?:the|a|an|our|my|your)\s+[\w'’-]+(?:\s+[\w'’-]+){0,2})\s*$", re.I),
)
_QUESTION_WORD = re.compile(r"^(?:who|whom|whose|what|when|where|why|which|how|and|but|or|in|on|at)$", re.I)

# Chinese
_ZH_ASKS = re.compile(
    r"什么|甚么|什麼|谁|誰|哪|几|幾|多少|多大|多长|多長|多高|多久|多远|多遠|何时|何時|何地|何人|如何|怎|为何|為何|为什|為什|吗|嗎|是否|有没有|有沒有"
)
_ZH_CLAUSES = re.compile(
    r"[，,；;]\s*(?:并且|並且|而且|以及|还有|還有|另外|同时|同時|又|并|並|而|和)?|(?:以及|还有|還有|并且|並且|而且)"
)
_ZH_AND = r"(?:和|与|與|跟|及|以及|、)"
_ZH_ITEM = r"[^，,。？?；;、和与與及的]{1,16}?"
_ZH_COMPARE = re.compile(
    rf"^(?:请|請)?(?:比较|比較|对比|對比)(?:一下)?(?P<a>{_ZH_ITEM}){_ZH_AND}(?P<b>{_ZH_ITEM})(?P<tail>的.+?)?[。？?]*$"
)
_ZH_DIFFER = re.compile(
    rf"^(?P<a>{_ZH_ITEM}){_ZH_AND}(?P<b>{_ZH_ITEM})(?:之间|之間)?(?P<tail>的[^区區不差]*?)?"
    r"(?:的|有|有什么|有什麼|有何|有哪些)*(?:区别|區別|不同|差异|差異|差别|差別).*$"
)
_ZH_EACH_OF = re.compile(
    rf"^(?P<a>{_ZH_ITEM}){_ZH_AND}(?P<b>{_ZH_ITEM})(?P<rest>(?:的[^，,]*?)?(?:分别|分別|各自|各).*)$"
)
_ZH_HEADS = re.compile(
    rf"^(?P<owner>.{{1,24}}?的)(?P<a>[^，,的]{{1,10}}?){_ZH_AND}(?P<b>[^，,的]{{1,10}}?)(?P<rest>(?:分别|分別|各)?(?:是|为|為|有|在|怎|如何|多).*)$"
)
_ZH_EACH = re.compile(r"分别|分別|各自|各")
_ZH_PRONOUN = re.compile(r"^(?:它们|它們|他们|他們|她们|她們|它|他|她|其|该|該|这|這|那)(?P<owner>的)?")
_ZH_VERBS = (
    "由被是有在花用耗需要会會能可应應该該属屬位共总總达達为為建造开開始于於多什何哪几幾怎如谁誰吗嗎从從把将將"
    "叫住做写寫得获獲出"
)


def split(question: str) -> tuple[str, ...]:
    """The parts of a compound question, at most `MOST_PARTS`; a simple question as it is, alone."""
    question = " ".join(question.split())
    rules = (_chinese_rules if is_chinese(question) else _english_rules)()
    parts = _questions(question)
    if len(parts) == 1:
        for rule in rules:
            found = rule(question)
            if len(found) > 1:
                parts = found
                break
    parts = _standing_alone(parts)
    distinct = list(dict.fromkeys(part.strip() for part in parts))[:MOST_PARTS]
    if len(distinct) < 2 or any(sum(weighted_terms(part).values()) < _LEAST_TERMS for part in distinct):
        return (question,)
    return tuple(distinct)


def _questions(text: str) -> list[str]:
    """Its questions, each with what was said before the first of them."""
    sentences = [text[start:end] for start, end in split_sentences(text)]
    asked = [sentence for sentence in sentences if sentence.endswith(("?", "？"))]
    if len(asked) < 2:
        return [text]
    before = " ".join(sentences[: sentences.index(asked[0])])
    return [f"{before} {sentence}".strip() for sentence in asked]


def _standing_alone(parts: list[str]) -> list[str]:
    """What a later part leaves unsaid, it takes over from the first."""
    if len(parts) < 2:
        return parts
    carry = _carry_over_chinese if is_chinese(parts[0]) else _carry_over_english
    return [parts[0], *(carry(parts[0], part) for part in parts[1:])]


# --- English


def _english_rules() -> tuple[Callable[[str], list[str]], ...]:
    return (_compared, _clauses, _shared_tail, _named)


def _compared(question: str) -> list[str]:
    for pattern in (_COMPARE, _BETWEEN, _VERSUS):
        match = pattern.search(question)
        if match:
            groups = match.groupdict()
            tail = f" {groups['tail']}" if groups.get("tail") else ""
            return [f"{groups[side].strip(' ,')}{tail}" for side in ("a", "b")]
    return []


def _clauses(question: str) -> list[str]:
    return [clause.strip(" ,;?.") + "?" for clause in _CLAUSES.split(question) if clause.strip(" ,;?.")]


def _shared_tail(question: str) -> list[str]:
    """What are the height and the width OF THE TOWER?"""
    match = _HEADS.search(question)
    if match is None:
        return []
    after = _EACH.sub("", match["after"])
    return [f"{match['before']}{match[head]}{after}?" for head in ("a", "b")]


def _named(question: str) -> list[str]:
    """When were ADA LOVELACE and ALAN TURING born?"""
    opening = _OPENING.match(question)  # a capital, and no name
    match = _NAMES.search(question, opening.end() if opening else 0)
    if match is None or match["a"].casefold() == match["b"].casefold():
        return []
    if _BEFORE_A_PAIR.search(question[: match.start()]):
        return []
    names = [match["a"], *(name.strip() for name in match["more"].split(",") if name.strip()), match["b"]]
    rest = [_EACH.sub("", text) for text in (question[: match.start()], question[match.end() :])]
    return [f"{rest[0]}{name}{rest[1]}" for name in names]


def _carry_over_english(first: str, part: str) -> str:
    pronoun = _PRONOUN.search(part)
    # A part with a name of its own, or with no word that points back, needs nothing.
    if pronoun is None:
        return part
    subject = _english_subject(first)
    if subject is None:
        return part
    owned = f"{subject}'s" if pronoun["owner"] else subject
    return f"{part[: pronoun.start()]}{owned}{part[pronoun.end() :]}"


def _english_subject(question: str) -> str | None:
    text = question.strip(" ?.!")
    for pattern in _SUBJECT:
        for match in pattern.finditer(text):
            subject = match["subject"].strip()
            if not _QUESTION_WORD.match(subject) and sum(weighted_terms(subject).values()) >= 1.0:
                return subject
    return None


# --- Chinese


def _chinese_rules() -> tuple[Callable[[str], list[str]], ...]:
    return (_compared_chinese, _clauses_chinese, _shared_owner, _each_of)


def _compared_chinese(question: str) -> list[str]:
    for pattern in (_ZH_COMPARE, _ZH_DIFFER):
        match = pattern.search(question)
        if match:
            return [f"{match[side]}{match['tail'] or ''}" for side in ("a", "b")]
    return []


def _clauses_chinese(question: str) -> list[str]:
    """Clauses that each ask something; one that does not goes with the next."""
    clauses: list[str] = []
    waiting = ""
    for clause in (piece.strip(" 。？?，,；;") for piece in _ZH_CLAUSES.split(question)):
        if not clause:
            continue
        waiting = f"{waiting}，{clause}" if waiting else clause
        if _ZH_ASKS.search(clause):
            clauses.append(f"{waiting}？")
            waiting = ""
    if waiting and clauses:
        clauses[-1] = f"{clauses[-1].rstrip('？')}，{waiting}？"
    return clauses


def _shared_owner(question: str) -> list[str]:
    """塔的高度和宽度是多少？"""
    match = _ZH_HEADS.search(question)
    if match is None or _ZH_ASKS.search(match["a"] + match["b"]):
        return []
    rest = _ZH_EACH.sub("", match["rest"])
    return [f"{match['owner']}{match[head]}{rest}" for head in ("a", "b")]


def _each_of(question: str) -> list[str]:
    """甲桥和乙桥分别何时通车？"""
    match = _ZH_EACH_OF.search(question)
    if match is None:
        return []
    rest = _ZH_EACH.sub("", match["rest"])
    return [f"{match[side]}{rest}" for side in ("a", "b")]


def _carry_over_chinese(first: str, part: str) -> str:
    subject = _chinese_subject(first)
    if subject is None or part.startswith(subject):
        return part
    pronoun = _ZH_PRONOUN.match(part)
    if pronoun:
        return f"{subject}{pronoun['owner'] or ''}{part[pronoun.end() :]}"
    asks = _ZH_ASKS.search(part)
    own = part[: asks.start()] if asks else part
    # A clause that begins with its verb, or with the question, has no subject of its own.
    is_bare = not own or own[0] in _ZH_VERBS or own.endswith(("了", "过", "過", "着"))
    return f"{subject}{part}" if is_bare else part


def _chinese_subject(question: str) -> str | None:
    """What stands before the first verb or the first word that asks."""
    match = re.match(
        rf"(?:请问|請問)?(?P<subject>.+?)(?:是|在|于|於|有|由|被|将|將|会|會|为什|為什|{_ZH_ASKS.pattern})", question
    )
    subject = match["subject"].strip("，, ") if match else ""
    return subject if sum(weighted_terms(subject).values()) >= 1.0 else None

"""Sentences with the passages that bear them out, and the same sentences made false in four ways. Seeds are fixed."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import Any

from app.sentences import split_sentences

_SETS = {"English": ("dragonball_finance_en", "mtrag_un_half"), "Chinese": ("dragonball_finance_zh", "dureader_demo")}
_TYPES = {"factual", "multi_hop", "summary", "ANSWERABLE", "DESCRIPTION", "ENTITY"}
_SEED = 5
_LEAST_CHARACTERS = {"English": 40, "Chinese": 15}
# An answer that says it does not know, or speaks of itself, claims nothing of the passage.
_NO_CLAIM = re.compile(r"\b(?:I|sorry|you|your)\b|不清楚|不知道|您|我|你|楼主|谢谢|参考|望采纳")


class Kind(StrEnum):
    """What was done to a sentence."""

    FAITHFUL = "faithful"
    NUMBER = "number changed"
    NAME = "name swapped"
    NEGATED = "negated"
    ELSEWHERE = "taken from another passage"


CORRUPTIONS = tuple(kind for kind in Kind if kind is not Kind.FAITHFUL)


@dataclass(frozen=True, slots=True)
class Pair:
    """A sentence and what it is checked against."""

    language: str
    kind: Kind
    sentence: str
    title: str  # of the document: the reader sees it above the passage
    passage: str


def make_pairs(data: Path, faithful: int, corrupted: int) -> list[Pair]:
    """That many faithful pairs and that many others, half of them in each language, and of each kind alike."""
    pairs = []
    for position, (language, names) in enumerate(_SETS.items()):
        found = [pair for name in names for pair in _read(data, name, language)]
        random.Random(_SEED).shuffle(found)
        pairs += found[: faithful // len(_SETS)]
        wanted = (corrupted // len(CORRUPTIONS) + 1 - position) // len(_SETS)
        for kind in CORRUPTIONS:
            made = (bad for pair in found if (bad := _corrupt(pair, kind, found, _random_for(pair, kind))))
            pairs += islice(made, wanted)
    return pairs


def _random_for(pair: Pair, kind: Kind) -> random.Random:
    return random.Random(f"{_SEED}{kind}{pair.sentence}")


def _read(data: Path, name: str, language: str) -> Iterator[Pair]:
    """Each sentence of a human answer, beside the paragraphs of its document that hold the evidence."""
    documents = {each["doc_id"]: each for each in _lines(data / "qa" / f"{name}.docs.jsonl")}
    seen = set()
    for question in _lines(data / "qa" / f"{name}.qa.jsonl"):
        if question.get("type") not in _TYPES or not question["answers"]:
            continue
        golden = [documents[doc_id] for doc_id in question["doc_id"] if doc_id in documents]
        passage = _passage(golden, question.get("evidence"))
        answer = question["answers"][0]
        for start, end in split_sentences(answer):
            sentence = " ".join(answer[start:end].split())
            if len(sentence) < _LEAST_CHARACTERS[language] or _NO_CLAIM.search(sentence) or sentence in seen:
                continue
            if passage:
                seen.add(sentence)
                yield Pair(language, Kind.FAITHFUL, sentence, golden[0]["title"], passage)


def _passage(documents: Sequence[dict[str, Any]], evidence: Sequence[str] | None) -> str:
    if evidence is None:
        return "\n\n".join(document["text"] for document in documents)
    paragraphs = [line for document in documents for line in document["text"].split("\n") if line.strip()]
    holding = [at for at, line in enumerate(paragraphs) if any(each in line for each in evidence)]
    # As an answer's prompt has it: each paragraph with its neighbours.
    return "\n".join(line for at, line in enumerate(paragraphs) if any(abs(at - each) <= 1 for each in holding))


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def _corrupt(pair: Pair, kind: Kind, pairs: Sequence[Pair], chance: random.Random) -> Pair | None:
    """The pair with its sentence, or its passage, exchanged; None where a sentence gives no hold for it."""
    if kind is Kind.ELSEWHERE:
        others = [each for each in pairs if each.passage != pair.passage]
        other = chance.choice(others)
        return replace(pair, kind=kind, title=other.title, passage=other.passage)
    change = _CHANGES[kind]
    sentence = change(pair, pairs, chance)
    return None if sentence in (None, pair.sentence) else replace(pair, kind=kind, sentence=str(sentence))


def _change_number(pair: Pair, pairs: Sequence[Pair], chance: random.Random) -> str | None:
    # Not the number of a list's item, which says nothing of the passage.
    matches = list(re.finditer(r"(?<![A-Za-z\d])\d(?:[\d,]*\d)?(?:\.\d+)?(?![\d.]*\s?[、)）]|\.\s)", pair.sentence))
    if not matches:
        return None
    match = chance.choice(matches)
    digits = [at for at, character in enumerate(match.group()) if character.isdecimal()]
    if re.fullmatch(r"(?:19|20)\d\d", match.group()):
        digits = digits[2:]  # a year stays a year
    at = chance.choice(digits)
    new = chance.choice([d for d in "123456789" if d != match.group()[at]])
    number = match.group()[:at] + new + match.group()[at + 1 :]
    return pair.sentence[: match.start()] + number + pair.sentence[match.end() :]


_ENGLISH_NAME = re.compile(r"(?<=[a-z,] )[A-Z][a-z]+(?: (?:[A-Z][a-z]+|of(?= [A-Z])))*\b")
_CHINESE_NAME = re.compile(
    r"[\u4e00-\u9fff]{1,6}(?:·[\u4e00-\u9fff]{1,6})+"
    r"|北京|上海|广州|深圳|天津|重庆|杭州|南京|成都|武汉|香港|西安|苏州|大连|青岛|中国|美国|日本|英国|法国|德国|印度|韩国"
    r"|云南|四川|广东|浙江|江苏|山东|河南|湖南|湖北|河北|福建|广西|小米|华为|百度|腾讯|阿里巴巴|京东|淘宝|苹果|三星|微信"
)
_MONTHS = re.compile(r"\b(?:January|February|March|April|May|June|July|August|September|October|November|December)\b")


def _names(text: str, language: str) -> list[str]:
    found = (_ENGLISH_NAME if language == "English" else _CHINESE_NAME).findall(text)
    return [name for name in found if not _MONTHS.search(name)]


def _swap_name(pair: Pair, pairs: Sequence[Pair], chance: random.Random) -> str | None:
    """A name of the sentence (its document's title too) gives way to one of the same kind from another pair."""
    in_title = [pair.title] if pair.title and pair.title in pair.sentence else []
    names = [*in_title, *(name for name in _names(pair.sentence, pair.language) if name in pair.passage)]
    if not names:
        return None
    name = chance.choice(names)
    if name in in_title:
        others = [each.title for each in pairs if each.title and each.title in each.sentence]
    else:
        others = [other for each in pairs for other in _names(each.sentence, pair.language)]
    others = [other for other in others if other not in pair.passage + pair.title and name not in other]
    return pair.sentence.replace(name, chance.choice(others)) if others else None


_ENGLISH_VERB = re.compile(r"\b(is|are|was|were|has|have|had|can|could|will|would|may|should|did|does)\b(?! not|n't)")
_ENGLISH_PAST = re.compile(r"(?<=[a-z] )([a-z]{3,})ed(?= (?:the|a|an|its|to|by|in|from|that)\b)")
_CHINESE_VERB = re.compile(r"(?<![不没未只还也都就可若如若但])(是|可以|属于|包括|需要)(?!否)")
_CHINESE_PAST = re.compile(
    r"(实施|完成|进行|获得|提高|提升|增强|改善|减少|降低|增加|扩大|推出|发生|建立|投资|收购|采取|导致|参与|修订|更新)(了?)"
)


def _negate(pair: Pair, pairs: Sequence[Pair], chance: random.Random) -> str | None:
    text = pair.sentence
    if pair.language == "English":
        if match := _ENGLISH_VERB.search(text):
            return f"{text[: match.end()]} not{text[match.end() :]}"
        if match := _ENGLISH_PAST.search(text):
            return f"{text[: match.start()]}never {text[match.start() :]}"
        return None
    if match := _CHINESE_PAST.search(text):
        return f"{text[: match.start()]}没有{match[1]}{text[match.end() :]}"
    if match := _CHINESE_VERB.search(text):
        return f"{text[: match.start()]}不{text[match.start() :]}"
    return None


_CHANGES: dict[Kind, Callable[[Pair, Sequence[Pair], random.Random], str | None]] = {
    Kind.NUMBER: _change_number,
    Kind.NAME: _swap_name,
    Kind.NEGATED: _negate,
}

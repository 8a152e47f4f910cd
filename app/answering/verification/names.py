"""Names of a sentence that its sources do not hold: of people, places, organisations, products and works.

English names are capitalised. Chinese ones are told by a dictionary with a model for unknown words (rjieba), by their
endings (…有限公司), by the dot between parts of a foreign name (卡万·肖特), or by 《》.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from functools import lru_cache
from itertools import zip_longest

import rjieba

from app.answering.verification.source import Source, fold
from app.index.analysis import CJK, analyse

_WORD = re.compile(rf"(?![{CJK}])[^\W\d_](?:(?![{CJK}])[\w'’&-])*")
_HAN = r"[\u3400-\u4dbf\u4e00-\u9fff]"
_TITLE = re.compile(r"《([^《》]{1,40})》")
_LINK = re.compile(r" |-|\. | & | (?:of|for|de)(?: the)? ")  # between the words of one name
_LINKING = {"of", "for", "de", "the"}
_DOT = re.compile(r"[·•・‧]")
_ORGANISATION_ENDS_WORDS = """
    有限公司 股份公司 公司 集团 中心 大学 学院 银行 医院 中学 小学 研究所 研究院 实验室 委员会 协会 基金会
    俱乐部 出版社 报社 电视台 博物馆 图书馆 球队 乐队 党 剧院 酒店 机场
"""
_ORGANISATION_ENDS = tuple(_ORGANISATION_ENDS_WORDS.split())
_PLACE_ENDS = ("省", "市", "县", "区", "州", "国", "镇", "乡", "村", "岛", "河", "江", "山", "湖", "人")
_TAGS = {"nr": "person", "ns": "place", "nt": "organisation", "nz": "other"}  # the dictionary's
_NOT_OF_A_NAME = ("x", "uj", "ul", "uv", "ud", "ug", "uz", "p", "c", "r", "m", "f", "k", "y", "d", "t", "q")
# Capitalised without being a name: how sentences begin, forms of address, words of headings.
_COMMON_WORDS = """
    a about above according accordingly across additionally address after afterwards again against all almost along
    already also although always among an and another any apart april are around as aside at august away back based
    basically be because been before beginning behind being below beneath beside besides best better between beyond
    board both briefly but by can cannot ceo cfo chairman chairperson chapter chief clearly co company compared
    concluding conclusion consequently considering contrary conversely corporation could cto currently day days
    december department despite did director directors do does doing done dr due during each earlier early either
    else especially essentially eventually ever every everyone everything example except executive february figure
    final finally first firstly following follows for former formerly fortunately friday from further furthermore
    general generally given government group had has have having he hence her here hers him his historically how
    however i if importantly in inc including indeed initially inside instead interestingly into is it its itself
    january july june just last lastly late later latter lead least less let like likely list ltd mainly major
    management many march may me meanwhile member might monday more moreover most mostly mr mrs ms much must my near
    nearly neither never nevertheless new next no none nonetheless nor normally not notably note nothing november
    now october of off officer often old on once one only onto open or originally other others otherwise our out
    outside over overall own part particularly people per perhaps please point points possibly presently president
    previously primarily prior prof professor project quite rather recently regarding regardless report respectively
    result results same saturday second secondly section see senior september several she should similarly simply
    since sir so some somehow someone something sometimes soon source specifically still subsequently such sunday
    table team than thanks that the their theirs them then there thereafter thereby therefore these they third
    thirdly this those though three through throughout thursday thus to today together too toward towards tuesday
    two typically ultimately under unfortunately unless unlike until up upon us use used using usually various very
    via vice was we wednesday well were what whatever when whenever where whereas wherever whether which while who
    whoever whole whom whose why will with within without work would year years yes yesterday yet you your
"""
_COMMON = frozenset(_COMMON_WORDS.split())
_PEOPLE_OF = ("ese", "ian", "ean", "ish", "ans", "an", "ic", "s", "n", "i", "y", "a", "e", "ia", "ain", "land", "")
_LEAST_STEM = 4
_OPENERS = "\"'“‘([{:;.!?•*–—-/|"
# What people and companies do in a sentence: before it stands a name, where the word is not a common one.
_ACTS_WORDS = """
    is was were has had will would said says did does also became won led threw made took gave wrote went came found
    held ran built lost beat bought sold began left met sent set spent kept saw taught told thought drew chose wore flew
"""
_ACTS = frozenset(_ACTS_WORDS.split())
_THING = re.compile(r"(?:tion|sion|ment|ness|ity|ance|ence|ism|ing|ue|th|age|ship|ure|ers|ists|es|ts)$")  # not a name
_NAMED_ONCE = {"latin", "organisation"}  # afterwards a text says "the company"


@dataclass(frozen=True, slots=True)
class Name:
    """A name as a text has it; `words` are looked for one by one, a Chinese name as a whole."""

    text: str
    kind: str  # latin, person, place, organisation, other
    words: tuple[str, ...] = ()  # of an organisation, without its ending


@dataclass(frozen=True, slots=True)
class MissingName:
    """A name that no source holds. `has_rival`: where it should stand, the source names another of its kind."""

    text: str
    has_rival: bool


def missing_names(sentence: str, sources: Sequence[Source], related: Iterable[str]) -> list[MissingName]:
    """The names of a sentence (NFKC) that none of its sources holds; `related`: their sentences on the same matter."""
    names = find_names(sentence)
    missing = [name for name in names if not any(holds_name(source, name) for source in sources)]
    if not missing:
        return []
    said = Source(sentence)
    nearby = _kinds_without(said, related)
    anywhere = _kinds_without(said, (source.whole for source in sources)) if _is_any(missing, _NAMED_ONCE) else nearby
    return [
        MissingName(name.text, _is_rivalled(name, anywhere if name.kind in _NAMED_ONCE else nearby)) for name in missing
    ]


def _kinds_without(said: Source, texts: Iterable[str]) -> set[str]:
    """The kinds of names that texts have and a sentence has not."""
    return {name.kind for text in texts for name in find_names(text) if not holds_name(said, name)}


def _is_any(names: Iterable[Name], kinds: Set[str]) -> bool:
    return any(name.kind in kinds for name in names)


def _is_rivalled(name: Name, kinds: Set[str]) -> bool:
    """A name in Latin letters stands for one in Chinese characters, and the other way round."""
    if name.kind == "latin":
        return bool(kinds)
    return name.kind in kinds or (name.kind in ("person", "organisation") and "latin" in kinds)


@lru_cache(maxsize=256)  # the same passages are read for one sentence of an answer after another
def find_names(text: str) -> tuple[Name, ...]:
    """The names of a text (NFKC), each once."""
    is_chinese = bool(re.search(_HAN, text))
    names = [*_latin_names(text, is_every_capital_a_name=is_chinese)]
    if is_chinese:
        names += _chinese_names(text)
    return tuple(dict.fromkeys(names))


def holds_name(source: Source, name: Name) -> bool:
    """Whether a source holds a name: in other capitals, by its initials, as a people for its country too."""
    is_one_plain_word = name.kind == "latin" and len(name.words) == 1 and name.text.istitle()  # Lee is not in "sleep"
    if not is_one_plain_word and fold(name.text) in source.folded:
        return True
    if name.kind == "latin":
        return all(_holds_word(source, word) for word in name.words) or _is_acronym_of(name, source)
    return _holds_chinese(source, name)


def _latin_names(text: str, *, is_every_capital_a_name: bool) -> Iterator[Name]:
    words = list(_WORD.finditer(text))
    capitals = {match.start() for match in words if match.group()[0].isupper()}
    is_whole = text.rstrip().endswith((".", "!", "?", "。"))
    if 3 < len(capitals) > 0.8 * len(words) and not (is_every_capital_a_name or is_whole):
        return  # a heading: capitals tell nothing
    run: list[str] = []
    start = end = 0
    for match, following in zip_longest(words, words[1:]):
        word = match.group()
        next_word = following.group() if following and text[match.end() : following.start()] == " " else ""
        is_name = match.start() in capitals and (
            len(word) > 1 if is_every_capital_a_name else _is_name(text, match.start(), word, next_word)
        )
        if run and word in _LINKING:
            continue
        if run and not (is_name and _LINK.fullmatch(text, end, match.start())):
            yield Name(_without_possessive(text[start:end]), "latin", tuple(run))
            run = []
        if is_name:
            start = start if run else match.start()
            run.append(_without_possessive(word))
            end = match.end()
    if run:
        yield Name(_without_possessive(text[start:end]), "latin", tuple(run))


def _without_possessive(word: str) -> str:
    return word.removesuffix("'s").removesuffix("’s")


def _is_name(text: str, start: int, word: str, following: str) -> bool:
    bare = _without_possessive(word)
    if len(bare) < 2 or bare.lower() in _COMMON:
        return False
    before = text[:start].rstrip()
    if before and before[-1] not in _OPENERS:
        return True
    # The first word is capitalised anyway: its shape or what follows has to tell.
    is_odd = not bare[1:].islower() and not (bare.isupper() and len(bare) > 6)
    follows_name = following[:1].isupper() and following.lower() not in _COMMON
    return is_odd or follows_name or bare != word or _acts(bare, following)


def _acts(word: str, following: str) -> bool:
    return not _THING.search(word) and (following in _ACTS or following.endswith("ed"))


def _chinese_names(text: str) -> Iterator[Name]:
    for match in _TITLE.finditer(text):
        yield Name(match[1], "other")
    tokens = rjieba.tag(text)
    yield from _dotted_names([word for word, _ in tokens])
    before: list[tuple[str, str]] = []  # what may belong to the name of an organisation
    at = 0
    for position, (word, tag) in enumerate(tokens):
        start, at = at, at + len(word)
        if any(_DOT.fullmatch(beside) for beside, _ in tokens[max(0, position - 1) : position + 2]):
            before = []
            continue
        ending = next((end for end in _ORGANISATION_ENDS if word.endswith(end)), None)
        if ending and _names_one(word, ending, before):
            while before and (before[0][1] == "v" or before[0][0] in _ORGANISATION_ENDS) and len(before) > 1:
                before = before[1:]  # 收购 before a name is no part of it
            yield Name("".join(part for part, _ in before) + word, "organisation", tuple(part for part, _ in before))
            before = []
            continue
        if len(word) > 1 and re.match(_HAN, word) and not text[start - 1 : start].isnumeric():
            kind = next((kind for prefix, kind in _TAGS.items() if tag.startswith(prefix)), None)
            if kind:
                yield Name(word, kind)
        before = [*before, (word, tag)][-4:] if tag not in _NOT_OF_A_NAME and re.match(_HAN, word) else []


def _dotted_names(words: Sequence[str]) -> Iterator[Name]:
    """卡万·肖特 is one name."""
    parts: list[str] = []
    for before, word, behind in zip(words, words[1:], words[2:], strict=False):
        if _DOT.fullmatch(word) and re.match(_HAN, before) and re.match(_HAN, behind):
            parts += [behind] if parts else [before, behind]
        elif parts and not _DOT.fullmatch(behind):
            yield Name("·".join(parts), "person")
            parts = []
    if parts:
        yield Name("·".join(parts), "person")


def _names_one(word: str, ending: str, before: Sequence[tuple[str, str]]) -> bool:
    """上市公司 is any company; 绿源环保有限公司 is one."""
    if ending in ("公司", "中心", "党", "医院", "学院", "银行", "酒店", "机场"):
        return len(word) > len(ending) + 1 or any(tag.startswith(tuple(_TAGS)) for _, tag in before)
    return bool(before) or len(word) > len(ending)


def _holds_word(source: Source, word: str) -> bool:
    if all(term in source.terms for term in analyse(word)) or _of_same_country(word.lower(), source.terms):
        return True
    letters = word.replace("&", "")
    return letters.isupper() and 2 <= len(letters) <= 6 and _spelled_out(letters, source)


def _of_same_country(word: str, terms: frozenset[str]) -> bool:
    """Chinese and China, Italian and Italy: what is left of a long enough common beginning says whose it is."""
    for end in _PEOPLE_OF:
        stem = word.removesuffix(end) if end else word
        if len(stem) >= _LEAST_STEM and word.endswith(end) and any(stem + other in terms for other in _PEOPLE_OF):
            return True
    return False


def _spelled_out(letters: str, source: Source) -> bool:
    initials = r"(?:\s+(?:of|the|and|for|de|&))?[\s-]+".join(rf"{letter}\w+" for letter in letters)
    return bool(re.search(rf"\b{initials}", source.whole, re.IGNORECASE))


def _is_acronym_of(name: Name, source: Source) -> bool:
    initials = "".join(word[0] for word in name.words).lower()
    return len(initials) >= 2 and initials in source.terms


def _holds_chinese(source: Source, name: Name) -> bool:
    text = name.text
    *first, last = _DOT.split(text)
    if first:
        return last in source.folded or (len(last) > 2 and last[:-1] in source.folded)  # a family name alone
    ending = next((end for end in (*_ORGANISATION_ENDS, *_PLACE_ENDS) if text.endswith(end)), "")
    core = text.removesuffix(ending)
    if ending and len(core) >= 2 and core in source.folded:
        return True
    if name.kind == "organisation":
        # A word before the name may have been taken for a part of it; what is left must still tell one from another.
        rests = ("".join(name.words[at:]) for at in range(1, len(name.words)))
        return any(len(rest) >= _LEAST_STEM and f"{rest}{ending}" in source.folded for rest in rests)
    return name.kind == "person" and len(text) >= 3 and (text[:2] in source.folded or text[1:] in source.folded)

"""The numbers and dates that a text mentions, and the ways to read each of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

from app.answering.verification.dates import DateMention, find_dates
from app.answering.verification.numerals import CHINESE_NUMERAL, SCALES, chinese_value, english_numbers
from app.answering.verification.quantities import Mention, Quantity
from app.answering.verification.special_numbers import clock_times, decades, fractions, shares
from app.answering.verification.units import CURRENCY_BEFORE, Unit, currency, unit_behind

_DIGITS = r"\d{1,3}(?:[,'’]\d{3})+(?!\d)(?:\.\d+)?|\d{1,3}(?:[ \u202f]\d{3}){2,}(?!\d)|\d+(?:\.\d+)?"
_MAGNITUDES = {**SCALES, "mn": 10**6, "bn": 10**9, "tn": 10**12, "k": 10**3, "m": 10**6, "b": 10**9}
_NUMBER = re.compile(
    rf"{CURRENCY_BEFORE}(?P<fixed>(?<![\d.])\d+(?:\.\d+){{2,}})"
    rf"|{CURRENCY_BEFORE.replace('currency', 'currency2')}(?P<digits>{_DIGITS})"
    rf"(?:[ -]?(?P<scale>hundred|thousand|million|billion|trillion|mn|bn|tn)s?\b|(?P<letter>[kKMBmb])(?![A-Za-z]))?"
    r"(?P<ordinal>(?:st|nd|rd|th|s|'s)\b)?"
)
_CHINESE_RUN = re.compile(
    rf"(?P<run>(?:\d[\d,]*(?:\.\d+)?\s?(?=[万亿千百])|(?!百分点)[{CHINESE_NUMERAL}])(?:\d+(?:\.\d+)?|(?!百分点)[{CHINESE_NUMERAL}])*)"
    rf"(?:点(?P<decimals>[〇零一二三四五六七八九]+)(?!分|钟))?"
)
# "5 to 10 million": the first number may be meant in millions, too.
_RANGE = re.compile(
    rf"\s?(?:-|–|—|to|and|or|至|到|~)\s?[$€£]?(?:{_DIGITS})\s?(?P<scale>thousand|million|billion|trillion|mn|bn|[千百十]?[万亿])",
    re.IGNORECASE,
)
_ABOUT_BEFORE = re.compile(
    r"(?:\b(?:about|around|approximately|roughly|nearly|almost|some|over|more than|at least|up to|exceeding|exceeded"
    r"|under|less than|fewer than|close to|an estimated|circa|ca\.)\s+(?:[A-Z]{0,3}[$€£])?"
    r"|[约近超逾达]|超过|大约|将近|接近|不到|至少|~|≈)$",
    re.IGNORECASE,
)
_ABOUT_BEHIND = re.compile(r"\s?(?:[多余餘几幾]|左右|以上|上下|or so\b|\+)")
_VAGUE_BEFORE = ("数", "几", "好", "上", "成", "每")  # 数百, 几十: no number
# Behind one of these a single Chinese numeral counts; elsewhere it is mostly part of a word (一定, 三星, 四川).
_MEASURES = frozenset(
    "个名位人次家项年月日天号岁倍元种类条件座所栋层章节期届版部篇本册台辆架艘张头只枚块场轮级代米克吨里亩升分秒点小时周星季半国州省市县区大处步队支"
)
_IDIOMS = frozenset(
    {"十分", "千万", "万一", "一一", "万千", "千百", "百千", "一二", "三四", "万万", "千千", "百万富翁"}
)
# The number of a list's item, and what is too long for a number.
_NO_NUMBER = re.compile(
    r"^[ \t]*(?:[(（]?\d{1,2}[.)）、](?!\d)|[一二三四五六七八九十]{1,3}、)"
    rf"|\d[\d,.]{{40,}}|[{CHINESE_NUMERAL}]{{30,}}",
    re.MULTILINE,
)
_TRADITIONAL = str.maketrans("萬億兩點個時號歲幾餘數國紀約達過將單○", "万亿两点个时号岁几余数国纪约达过将单〇")


_ABOUT_RUN = re.compile(r"[一二三四五六七八九]{2}[十百千万亿]+")


def find_mentions(text: str) -> list[Mention]:
    """Every number and date of a text (NFKC)."""
    text = _NO_NUMBER.sub(lambda match: " " * len(match.group()), text.translate(_TRADITIONAL))
    dates = find_dates(text)
    found = [_of_date(text, date) for date in dates]
    text = _blank(text, dates)
    taken = bytearray(len(text))  # a number is read by the first pattern that fits, the most special first
    for start, end, mention in _candidates(text):
        if not any(taken[start:end]):
            taken[start:end] = b"\1" * (end - start)
            found.append(replace(mention, start=start, end=end))
    return found


def _of_date(text: str, date: DateMention) -> Mention:
    written = text[date.start : date.end]
    readings = (Quantity(Fraction(written)),) if written.isdecimal() else ()  # 20190305 may be a number after all
    return Mention(written, readings, date.readings, start=date.start, end=date.end)


def _candidates(text: str) -> Iterator[tuple[int, int, Mention]]:
    for find in (decades, shares, clock_times, fractions, _chinese, _digits, _english):
        yield from find(text)


def _chinese(text: str) -> Iterator[tuple[int, int, Mention]]:
    for match in _CHINESE_RUN.finditer(text):
        run = match["run"].replace(",", "").replace(" ", "")
        value = chinese_value(run)
        if value is None:
            continue
        if _ABOUT_RUN.fullmatch(run):  # 五六十 are fifty or sixty
            parts = tuple(Quantity(chinese_value(digit + run[2:]) or value) for digit in run[:2])
            yield *match.span(), Mention(match.group(), parts, is_claim=False)
            continue
        if match["decimals"]:
            value += Fraction(chinese_value(match["decimals"]) or 0, 10 ** len(match["decimals"]))
        yield match.start(), match.end(), _chinese_number(text, match, run, value)


def _chinese_number(text: str, match: re.Match[str], run: str, value: Fraction) -> Mention:
    unit, end = unit_behind(text, match.end())
    before, behind = text[max(0, match.start() - 20) : match.start()], text[match.end() : match.end() + 1]
    is_about = bool(_ABOUT_BEFORE.search(before) or _ABOUT_BEHIND.match(text, match.end()))
    has_digits = any(character.isdecimal() for character in run)
    is_vague = before.endswith(_VAGUE_BEFORE) and not has_digits
    is_idiom = run in _IDIOMS or run + behind in _IDIOMS
    is_counted = unit is not None or (behind in _MEASURES and not is_idiom) or before.endswith("第")
    is_numeral = has_digits or bool(match["decimals"]) or (len(run) > 1 and not is_idiom)
    is_list_item = before.endswith("第") and behind in (":", "：", ",", "，", "、")
    is_claim = value >= 2 and not (is_vague or is_list_item) and (is_counted or is_numeral)
    return _quantity(text[match.start() : end], value, unit, run, is_about=is_about, is_claim=is_claim)


def _digits(text: str) -> Iterator[tuple[int, int, Mention]]:
    for match in _NUMBER.finditer(text):
        if match["fixed"]:  # a version, a section, an address: 3.5.2 is the same only as 3.5.2
            itself = Quantity(Fraction(-1), Unit(match["fixed"], Fraction(1)))
            yield *match.span(), Mention(match["fixed"], (itself,))
            continue
        written = re.sub(r"[,'’ \u202f]", "", match["digits"])
        magnitude = _magnitude(match)
        end = match.end()
        unit, end = (currency(match["currency2"]), end) if match["currency2"] else unit_behind(text, end)
        is_about = bool(
            _ABOUT_BEFORE.search(text[max(0, match.start() - 20) : match.start()])
            or _ABOUT_BEHIND.match(text, match.end())
        )
        inside_word = text[match.start() - 1 : match.start()].isalpha() and text[match.start() - 1].isascii()
        mention = _quantity(
            text[match.start() : end],
            Fraction(written) * magnitude,
            unit,
            written,
            is_about=is_about,
            is_claim=not inside_word,
            is_scaled=magnitude > 1,
        )
        if magnitude == 1 and (larger := _RANGE.match(text, match.end())):
            scale = _MAGNITUDES.get(larger["scale"].lower()) or chinese_value(larger["scale"]) or 1
            mention = replace(mention, readings=(*mention.readings, Quantity(Fraction(written) * scale)))
        yield *match.span(), mention


def _magnitude(match: re.Match[str]) -> int:
    if match["scale"]:
        return _MAGNITUDES[match["scale"].lower()]
    letter = match["letter"]
    if letter and (letter in "kKMB" or match["currency2"]):
        return _MAGNITUDES[letter.lower()]
    return 1


def _english(text: str) -> Iterator[tuple[int, int, Mention]]:
    for start, end, value in english_numbers(text):
        unit, unit_end = unit_behind(text, end)
        is_about = bool(_ABOUT_BEFORE.search(text[max(0, start - 20) : start]))
        word = text[start:end].lower()
        is_claim = value >= 2 and word not in ("second", "hundred", "thousand", "million", "billion", "trillion")
        mention = _quantity(text[start:unit_end], value, unit, str(value), is_about=is_about, is_claim=is_claim)
        yield start, end, mention


def _quantity(
    text: str,
    value: Fraction,
    unit: Unit | None,
    written: str,
    *,
    is_about: bool,
    is_claim: bool,
    is_scaled: bool = False,
) -> Mention:
    precision = Fraction(0)
    if is_about or is_scaled or any(character in "万亿" for character in written):
        precision = _last_digit(value) if is_about else _last_digit(value) / 2
    return Mention(text.strip(), (Quantity(value, unit),), precision=precision, is_claim=is_claim)


def _last_digit(value: Fraction) -> Fraction:
    """The worth of the last digit that is not zero: 0.1 million of 1.2 million."""
    if not value:
        return Fraction(0)
    worth = Fraction(1)
    while value % worth:
        worth /= 10
        if worth < Fraction(1, 10**9):
            return worth
    while not value % (worth * 10):
        worth *= 10
    return worth


def _blank(text: str, dates: list[DateMention]) -> str:
    for date in dates:
        text = f"{text[: date.start]}{' ' * (date.end - date.start)}{text[date.end :]}"
    return text

"""The numbers and dates that a text mentions, and the ways to read each of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

from app.answering.verification.dates import DateMention, PartialDate, find_dates
from app.answering.verification.numerals import CHINESE_NUMERAL, SCALES, chinese_value, english_numbers
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
    rf"(?P<ratio>(?P<whole>[{CHINESE_NUMERAL}]+|\d+)分之(?P<part>[{CHINESE_NUMERAL}]+(?:点[{CHINESE_NUMERAL}]+)?|\d+(?:\.\d+)?))"
    rf"|(?P<tenths>[一二三四五六七八九](?=成(?![立为員员功长果本年分就绩交效人语])))成"
    rf"|(?P<run>(?:\d[\d,]*(?:\.\d+)?\s?(?=[万亿千百])|(?!百分点)[{CHINESE_NUMERAL}])(?:\d+(?:\.\d+)?|(?!百分点)[{CHINESE_NUMERAL}])*)"
    rf"(?:点(?P<decimals>[〇零一二三四五六七八九]+)(?!分|钟))?"
)
_FRACTION = re.compile(r"(?<![\d/.])(\d{1,3})\s?[/⁄]\s?(\d{1,3})(?![\d/])")
_WORD_FRACTION = re.compile(
    r"\b(?:(one|a|two|three|four)[ -](half|third|quarter|fourth|fifth|tenth)s?|half)\b", re.IGNORECASE
)
_PARTS = {"half": 2, "third": 3, "quarter": 4, "fourth": 4, "fifth": 5, "tenth": 10}
_COUNTS = {"a": 1, "one": 1, "two": 2, "three": 3, "four": 4}
_CLOCK = re.compile(
    r"(?P<zh>凌晨|早上|早晨|上午|中午|下午|傍晚|晚上|夜里)?(?<![\d.])(?P<hour>\d{1,2}|[一二三四五六七八九十两]{1,3})"
    r"(?:[:：](?P<minute>\d{2})(?::\d{2})?(?!\d)\s?(?P<en>[ap]\.?m\b\.?)?|\s?(?P<en2>[ap]\.?m\b\.?)"
    r"|[点时](?!\d*[万亿])(?:(?P<half>半)|(?P<minute2>\d{1,2}|[〇零一二三四五六七八九十]{1,3})分?|整|钟)?)",
    re.IGNORECASE,
)
_DECADE = re.compile(r"(?:(?P<century>\d{2}|二十|十九|十八)世纪)?(?<!\d)(?P<decade>[1-9]0|[一二三四五六七八九]十)年代")
_LATER = ("下午", "傍晚", "晚上", "夜里")
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
_TELLING_DIGITS = 3
_TRADITIONAL = str.maketrans("萬億兩點個時號歲幾餘數國紀約達過將單", "万亿两点个时号岁几余数国纪约达过将单")


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number with its unit, where one is written."""

    value: Fraction
    unit: Unit | None = None


@dataclass(frozen=True, slots=True)
class Mention:
    """A number in a text, and the ways to read it. `precision`: the worth of its last digit, where it is rounded."""

    text: str
    readings: tuple[Quantity, ...] = ()
    dates: tuple[PartialDate, ...] = ()
    parts: tuple[Quantity, ...] = ()  # that a source says with it: the 2 and the 3 of 2/3
    precision: Fraction = Fraction(0)
    is_claim: bool = True  # too precise to be a turn of phrase: a source has to hold it
    start: int = 0
    end: int = 0

    @property
    def is_telling(self) -> bool:
        """Whether it has so many digits that it hardly stands in a text by chance: 523, not 20,000 or May."""
        digits = (str(quantity.value.numerator).rstrip("0") for quantity in self.readings)
        return any(len(each) >= _TELLING_DIGITS for each in digits) or any(date.day for date in self.dates)


def find_mentions(text: str) -> list[Mention]:
    """Every number and date of a text (NFKC)."""
    text = _NO_NUMBER.sub(lambda match: " " * len(match.group()), text.translate(_TRADITIONAL))
    dates = find_dates(text)
    found = [
        Mention(text[each.start : each.end], dates=each.readings, start=each.start, end=each.end) for each in dates
    ]
    text = _blank(text, dates)
    taken = bytearray(len(text))  # a number is read by the first pattern that fits, the most special first
    for start, end, mention in _candidates(text):
        if not any(taken[start:end]):
            taken[start:end] = b"\1" * (end - start)
            found.append(replace(mention, start=start, end=end))
    return found


def _candidates(text: str) -> Iterator[tuple[int, int, Mention]]:
    for find in (_decades, _clock_times, _fractions, _chinese, _digits, _english):
        yield from find(text)


def _decades(text: str) -> Iterator[tuple[int, int, Mention]]:
    for match in _DECADE.finditer(text):
        decade = chinese_value(match["decade"])
        century = chinese_value(match["century"]) if match["century"] else Fraction(20)
        if decade is not None and century is not None:
            yield *match.span(), Mention(match.group(), (Quantity((century - 1) * 100 + decade), Quantity(decade)))


def _clock_times(text: str) -> Iterator[tuple[int, int, Mention]]:
    for match in _CLOCK.finditer(text):
        hour = chinese_value(match["hour"])
        written = match["minute"] or match["minute2"]
        minute = Fraction(30) if match["half"] else chinese_value(written) if written else Fraction(0)
        if hour is None or minute is None or hour > 24 or minute > 59:
            continue
        half = (match["en"] or match["en2"] or "").lower()[:1]
        is_later = half == "p" or match["zh"] in _LATER
        hours = {hour + 12 if is_later and hour < 12 else hour}
        if not half and not match["zh"] and hour <= 12:
            hours.add(hour + 12)  # 9:30 may be in the evening
        readings = [Quantity(each * 60 + minute, Unit("clock", Fraction(1))) for each in sorted(hours)]
        if not written and not half and not match["half"]:
            readings.append(Quantity(hour))  # 三点建议 are three
        is_claim = bool(written or half or match["half"] or match["zh"] or match["hour"].isdecimal())
        yield *match.span(), Mention(match.group(), tuple(readings), is_claim=is_claim)


def _fractions(text: str) -> Iterator[tuple[int, int, Mention]]:
    for match in _FRACTION.finditer(text):
        top, bottom = int(match[1]), int(match[2])
        if bottom:
            parts = (Quantity(Fraction(top)), Quantity(Fraction(bottom)))
            yield *match.span(), Mention(match.group(), (Quantity(Fraction(top, bottom)),), parts=parts)
    for match in _WORD_FRACTION.finditer(text):
        value = Fraction(_COUNTS[(match[1] or "one").lower()], _PARTS[(match[2] or "half").lower()])
        share = Quantity(value * 100, Unit("%", Fraction(1)))
        yield *match.span(), Mention(match.group(), (Quantity(value), share), is_claim=bool(match[2]))


def _chinese(text: str) -> Iterator[tuple[int, int, Mention]]:
    for match in _CHINESE_RUN.finditer(text):
        if match["ratio"]:
            whole, part = (_with_point(each) for each in (match["whole"], match["part"]))
            if whole and part is not None:
                share = Quantity(part * 100 / whole, Unit("%", Fraction(1)))
                yield *match.span(), Mention(match.group(), (share, Quantity(part / whole)))
        elif match["tenths"]:
            value = chinese_value(match["tenths"])
            if value is not None:
                yield *match.span(), Mention(match.group(), (Quantity(value * 10, Unit("%", Fraction(1))),))
        else:
            yield from _chinese_number(text, match)


def _chinese_number(text: str, match: re.Match[str]) -> Iterator[tuple[int, int, Mention]]:
    run = match["run"].replace(",", "").replace(" ", "")
    value = chinese_value(run)
    if value is None:
        return
    if match["decimals"]:
        value += Fraction(chinese_value(match["decimals"]) or 0, 10 ** len(match["decimals"]))
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
    text_of_it = text[match.start() : end]
    yield match.start(), match.end(), _quantity(text_of_it, value, unit, run, is_about=is_about, is_claim=is_claim)


def _with_point(numeral: str) -> Fraction | None:
    whole, _, decimals = numeral.partition("点")
    if "." in whole:
        return Fraction(whole)
    value = chinese_value(whole)
    if value is not None and decimals:
        value += Fraction(chinese_value(decimals) or 0, 10 ** len(decimals))
    return value


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
        yield (
            *match.span(),
            _quantity(
                text[match.start() : end],
                Fraction(written) * magnitude,
                unit,
                written,
                is_about=is_about,
                is_claim=not inside_word,
                is_scaled=magnitude > 1,
            ),
        )


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

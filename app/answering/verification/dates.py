"""Dates in both languages' spellings.

March 5, 2019 · 5 March 2019 · 2019-03-05 · 20190305 · 2019年3月5日 · 二〇一九年三月五日 · 民国108年3月5日.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from app.answering.verification.numerals import CHINESE_DIGITS, chinese_value

_MONTH_NAMES = "january february march april may june july august september october november december"
_MONTHS = _MONTH_NAMES.split()
_MONTH_NUMBERS = {name[:3]: number for number, name in enumerate(_MONTHS, start=1)}
_MONTH = rf"(?P<month>{'|'.join(_MONTHS)}|(?:Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec)\b\.?)"
_DAY = r"(?P<{}>\d{{1,2}})(?:st|nd|rd|th)?(?![\d:.])"
_ENGLISH = re.compile(
    rf"\b(?:{_DAY.format('before')}\s+(?:of\s+)?)?(?-i:(?=[A-Z])){_MONTH}(?![a-z])"
    rf"(?:\s+{_DAY.format('after')}(?!\s*%))?(?:,?\s+(?:of\s+)?(?P<year>(?:1\d|20)\d\d)(?!\d))?",
    re.IGNORECASE,
)
_VERBS = {"march", "may"}  # months only beside a day or a year, or behind one of these:
_BEFORE_A_MONTH = re.compile(r"\b(?:in|of|by|since|until|till|during|early|late|mid|from|and|to|through)[ -]$", re.I)
_YEAR_FIRST = re.compile(
    r"(?<!\d)(?P<year>(?:1\d|20)\d\d)(?P<mark>[-/.])(?P<month>\d{1,2})(?P=mark)(?P<day>\d{1,2})(?!\d)"
)
_YEAR_LAST = re.compile(
    r"(?<!\d)(?P<one>\d{1,2})(?P<mark>[-/.])(?P<two>\d{1,2})(?P=mark)(?P<year>(?:1\d|20)\d\d)(?!\d)"
)
_YEAR_MONTH = re.compile(r"(?<![\d-])(?P<year>(?:19|20)\d\d)[-/](?P<month>0[1-9]|1[0-2])(?![-/\d])")
_COMPACT = re.compile(r"(?<!\d)(?P<year>(?:19|20)\d\d)(?P<month>0[1-9]|1[0-2])(?P<day>0[1-9]|[12]\d|3[01])(?!\d)")
_HAN_DAY = r"(?:\d{1,2}|[〇零一二三四五六七八九十廿卅]{1,3})"
_CHINESE = re.compile(
    rf"(?:(?P<republic>民[国國]\s?)(?P<of_republic>\d{{1,3}}|[〇零一二三四五六七八九十百元]{{1,4}})"
    rf"|(?P<year>(?<!\d)\d{{4}}|(?<!\d)\d{{2}}(?=年\s?\d{{1,2}}\s?月)|[{CHINESE_DIGITS}]{{4}}))\s?年(?!代)"
    rf"(?:\s?(?P<month>{_HAN_DAY})\s?月份?(?:\s?(?P<day>{_HAN_DAY})\s?[日号號])?)?"
    rf"|(?P<month2>(?<!\d){_HAN_DAY})\s?月份?(?:\s?(?P<day2>{_HAN_DAY})\s?[日号號])?"
)
_REPUBLIC_BEGAN = 1911  # its first year is 1912


@dataclass(frozen=True, slots=True)
class PartialDate:
    """As much of a date as is written."""

    year: int | None = None
    month: int | None = None
    day: int | None = None


@dataclass(frozen=True, slots=True)
class DateMention:
    """A date in a text, `text[start:end]`; 3/5/2019 can be read in two ways."""

    start: int
    end: int
    readings: tuple[PartialDate, ...]


def find_dates(text: str) -> list[DateMention]:
    """The dates of a text (NFKC), in order, none overlapping another."""
    found: list[DateMention] = []
    for mention in sorted(_all(text), key=lambda mention: (mention.start, -mention.end)):
        if not found or mention.start >= found[-1].end:
            found.append(mention)
    return found


def holds(dates: frozenset[PartialDate], years: frozenset[int], wanted: PartialDate) -> bool:
    """Whether a passage's dates agree with one: what they leave open, its other years may tell."""
    if wanted.month is None:
        return wanted.year in years
    return any(
        date.month == wanted.month
        and wanted.day in (None, date.day)
        and (wanted.year in (None, date.year) or (date.year is None and wanted.year in years))
        for date in dates
    )


def _all(text: str) -> Iterator[DateMention]:
    for match in _ENGLISH.finditer(text):
        day, year = match["before"] or match["after"], match["year"]
        end = match.end()
        if match["before"] and match["after"]:
            end = match.end("month")  # "5 March 12": two days cannot be one date
            year = None
        name = match["month"].lower()
        if name in _VERBS and not (day or year or _BEFORE_A_MONTH.search(text, 0, match.start("month"))):
            continue
        yield from _mention(match.start(), end, year, str(_MONTH_NUMBERS[name[:3]]), day)
    for pattern in (_YEAR_FIRST, _COMPACT):
        for match in pattern.finditer(text):
            yield from _mention(*match.span(), match["year"], match["month"], match["day"])
    for match in _YEAR_MONTH.finditer(text):
        if int(match["year"]) % 100 + 1 != int(match["month"]):  # 2010-11 are two years
            yield from _mention(*match.span(), match["year"], match["month"], None)
    for match in _YEAR_LAST.finditer(text):
        ways = [(match["one"], match["two"]), (match["two"], match["one"])]
        readings = [date for month, day in ways if (date := _date(match["year"], month, day))]
        if readings:
            yield DateMention(*match.span(), tuple(dict.fromkeys(readings)))
    for match in _CHINESE.finditer(text):
        month, day = match["month"] or match["month2"], match["day"] or match["day2"]
        year = match["year"]
        if match["of_republic"]:
            year = str(_REPUBLIC_BEGAN + _number(match["of_republic"]))
        yield from _mention(*match.span(), year, month, day)


def _mention(start: int, end: int, year: str | None, month: str | None, day: str | None) -> Iterator[DateMention]:
    date = _date(year, month, day)
    if date:
        yield DateMention(start, end, (date,))


def _date(year: str | None, month: str | None, day: str | None) -> PartialDate | None:
    """None for what no calendar has, as a 13th month."""
    numbers = [None if part is None else _number(part) for part in (year, month, day)]
    if numbers[0] is not None and numbers[0] < 100:
        numbers[0] += 2000 if numbers[0] < 50 else 1900
    if (numbers[1] is not None and not 1 <= numbers[1] <= 12) or (numbers[2] is not None and not 1 <= numbers[2] <= 31):
        return None
    return PartialDate(*numbers)


def _number(text: str) -> int:
    if text.isdecimal():
        return int(text)
    return int(chinese_value(text.replace("元", "一")) or 0)

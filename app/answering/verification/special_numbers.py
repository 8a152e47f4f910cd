"""Numbers with a form of their own: shares, fractions, times of day, decades."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction

from app.answering.verification.numerals import CHINESE_NUMERAL, chinese_value
from app.answering.verification.quantities import Mention, Quantity
from app.answering.verification.units import Unit

_PERCENT = Unit("%", Fraction(1))
_SHARE = re.compile(
    rf"(?P<ratio>(?P<whole>[{CHINESE_NUMERAL}]+|\d+)分之(?P<part>[{CHINESE_NUMERAL}]+(?:点[{CHINESE_NUMERAL}]+)?|\d+(?:\.\d+)?))"
    rf"|(?P<tenths>[一二三四五六七八九])成(?:(?P<hundredths>[一二三四五六七八九])|(?![立为員员功长果本年分就绩交效人语]))"
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


def decades(text: str) -> Iterator[tuple[int, int, Mention]]:
    for match in _DECADE.finditer(text):
        decade = chinese_value(match["decade"])
        century = chinese_value(match["century"]) if match["century"] else Fraction(20)
        if decade is not None and century is not None:
            yield *match.span(), Mention(match.group(), (Quantity((century - 1) * 100 + decade), Quantity(decade)))


def clock_times(text: str) -> Iterator[tuple[int, int, Mention]]:
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


def fractions(text: str) -> Iterator[tuple[int, int, Mention]]:
    for match in _FRACTION.finditer(text):
        top, bottom = int(match[1]), int(match[2])
        if bottom:
            parts = (Quantity(Fraction(top)), Quantity(Fraction(bottom)))
            yield *match.span(), Mention(match.group(), (Quantity(Fraction(top, bottom)),), parts=parts)
    for match in _WORD_FRACTION.finditer(text):
        value = Fraction(_COUNTS[(match[1] or "one").lower()], _PARTS[(match[2] or "half").lower()])
        share = Quantity(value * 100, _PERCENT)
        yield *match.span(), Mention(match.group(), (Quantity(value), share), is_claim=bool(match[2]))


def shares(text: str) -> Iterator[tuple[int, int, Mention]]:
    """百分之五, 三分之二, 五成."""
    for match in _SHARE.finditer(text):
        if match["ratio"]:
            whole, part = (_with_point(each) for each in (match["whole"], match["part"]))
        else:
            whole, part = Fraction(100), chinese_value(f"{match['tenths']}十{match['hundredths'] or ''}")
        if whole and part is not None:
            yield (
                *match.span(),
                Mention(match.group(), (Quantity(part * 100 / whole, _PERCENT), Quantity(part / whole))),
            )


def _with_point(numeral: str) -> Fraction | None:
    whole, _, decimals = numeral.partition("点")
    if "." in whole:
        return Fraction(whole)
    value = chinese_value(whole)
    if value is not None and decimals:
        value += Fraction(chinese_value(decimals) or 0, 10 ** len(decimals))
    return value

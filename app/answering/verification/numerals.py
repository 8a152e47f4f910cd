"""Numbers in words, exact: "two hundred and five", 二百零五, 2亿3千万, 二〇一九."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction

_SMALL = """
    zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
    eighteen nineteen
"""
_SMALL_ORDINALS = """
    zeroth first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth
    fifteenth sixteenth seventeenth eighteenth nineteenth
"""
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_ONES = {word: value for words in (_SMALL, _SMALL_ORDINALS) for value, word in enumerate(words.split())}
_ONES |= {word: 10 * tens for tens, word in enumerate(_TENS, start=2)}
_ONES |= {word.removesuffix("y") + "ieth": value for word, value in _ONES.items() if word in _TENS}
SCALES = {"hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_SCALE_WORDS = {**SCALES, **{f"{word}th": value for word, value in SCALES.items()}, "dozen": 12}
_WORD = re.compile(rf"\b(?:{'|'.join(sorted({*_ONES, *_SCALE_WORDS}, key=len, reverse=True))})\b", re.IGNORECASE)
_TOGETHER = re.compile(r"[ \u00a0]|-")
_MOST_WORDS = 16  # of one number
_AND = re.compile(r"\s+and\s+", re.IGNORECASE)

CHINESE_DIGITS = "〇零一二三四五六七八九两壹贰叁肆伍陆柒捌玖"
_DIGITS = {digit: value for value, digit in enumerate("零一二三四五六七八九")}
_DIGITS |= {digit: value for value, digit in enumerate("壹贰叁肆伍陆柒捌玖", start=1)} | {"〇": 0, "两": 2}
_WITHIN = {"十": 10, "拾": 10, "百": 100, "佰": 100, "千": 1000, "仟": 1000}
_BEYOND = {"万": 10**4, "亿": 10**8}
_TWENTIES = {"廿": 20, "卅": 30}
CHINESE_NUMERAL = CHINESE_DIGITS + "".join((*_WITHIN, *_BEYOND, *_TWENTIES))
_PART = re.compile(rf"\d+(?:\.\d+)?|[{CHINESE_NUMERAL}]")


def english_numbers(text: str) -> Iterator[tuple[int, int, Fraction]]:
    """Start, end and value of the numbers that a text spells in English words, ordinals too."""
    run: list[re.Match[str]] = []
    for match in _WORD.finditer(text):
        if run and (
            len(run) == _MOST_WORDS or not _joins(run[-1].group().lower(), text[run[-1].end() : match.start()])
        ):
            yield from _run_of_words(run)
            run = []
        run.append(match)
    if run:
        yield from _run_of_words(run)


def _joins(before: str, between: str) -> bool:
    return bool(_TOGETHER.fullmatch(between)) or (before in SCALES and bool(_AND.fullmatch(between)))


def _run_of_words(run: list[re.Match[str]]) -> Iterator[tuple[int, int, Fraction]]:
    words = [match.group().lower() for match in run]
    value = _value_of_words(words)
    if value is not None:
        yield run[0].start(), run[-1].end(), Fraction(value)
    elif len(run) > 1:
        for match in run:
            yield from _run_of_words([match])


def _value_of_words(words: list[str]) -> int | None:
    """None for words that make no number together, as in "one two"."""
    total = current = 0
    for position, word in enumerate(words):
        scale = _SCALE_WORDS.get(word)
        if scale == 100:
            current = (current or 1) * 100
        elif scale:
            total, current = total + (current or 1) * scale, 0
        elif position == 0 or current % 100 == 0 or (current % 10 == 0 and current % 100 > 10 and _ONES[word] < 10):
            current += _ONES[word]
        elif 10 <= current < 100 and _ONES[word] >= 10:
            current = current * 100 + _ONES[word]  # nineteen ninety-nine
        else:
            return None
    return total + current


def chinese_value(numeral: str) -> Fraction | None:
    """The value of a numeral in Chinese characters, or in digits and characters; None where it makes no number."""
    result = section = number = Fraction(0)
    has_number = False
    last_unit = 0  # 三万二 is 32,000: a digit behind a unit counts tenths of it
    digits = 0
    for part in _PART.findall(numeral):
        if part[0].isascii():
            number, has_number, digits = Fraction(part), True, 9
        elif part in _DIGITS:
            if has_number and digits == 9:
                return None
            number, has_number = number * 10 + _DIGITS[part], True
            digits += 1
            last_unit = 0 if part in "零〇" else last_unit
        elif part in _TWENTIES:
            section, has_number = section + _TWENTIES[part], False
        elif part in _WITHIN:
            section += (number if has_number else Fraction(1)) * _WITHIN[part]
            number, has_number, digits, last_unit = Fraction(0), False, 0, _WITHIN[part]
        else:
            if part == "亿":
                # 1.2万亿: what was counted in 万 is counted in 亿 again.
                whole = result + section + number
                result = (whole or Fraction(1)) * _BEYOND[part]
            else:
                result += (section + number or Fraction(1)) * _BEYOND[part]
            section = number = Fraction(0)
            has_number, digits, last_unit = False, 0, _BEYOND[part]
    if has_number and digits == 1 and last_unit > 10:
        number *= Fraction(last_unit, 10)
    return result + section + number

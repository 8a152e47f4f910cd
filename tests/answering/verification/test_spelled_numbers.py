"""Numbers in words."""

from __future__ import annotations

from fractions import Fraction

import pytest

from app.answering.verification.numerals import chinese_value, english_numbers


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("twelve", [12]),
        ("two hundred and five", [205]),
        ("one million two hundred thousand", [1_200_000]),
        ("twenty-first", [21]),
        ("nineteen ninety-nine", [1999]),
        ("two and three", [2, 3]),
        ("five, six", [5, 6]),
        ("one two", [1, 2]),
        ("often", []),
    ],
)
def test_english(text: str, values: list[int]) -> None:
    """Words that make one number together are one; "and" joins only behind hundreds and thousands."""
    assert [value for _, _, value in english_numbers(text)] == values


@pytest.mark.parametrize(
    ("numeral", "value"),
    [
        ("十", 10),
        ("两", 2),
        ("二十五", 25),
        ("廿五", 25),
        ("三百二十", 320),
        ("三百二", 320),
        ("一千零五", 1005),
        ("三万二", 32_000),
        ("十二亿", 1_200_000_000),
        ("十二亿三千万", 1_230_000_000),
        ("二〇一九", 2019),
        ("2亿3千万", 230_000_000),
        ("1.2万亿", 1_200_000_000_000),
        ("壹佰", 100),
    ],
)
def test_chinese(numeral: str, value: int) -> None:
    """Numerals by places, by digits, mixed with Arabic digits, and in the forms for cheques."""
    assert chinese_value(numeral) == Fraction(value)

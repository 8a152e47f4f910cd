"""The numbers and dates of a sentence that its source does not hold.

A number is compared by value and unit: 1.2 million, 1,200,000 and 120万 are one; 5 km is 5,000 m and not 5 miles. Where
one side names no unit (a table names it in its header) the values decide. What a sentence says must be found;
what a source says may be read in every way that makes sense.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction

from app.answering.verification.dates import PartialDate, holds
from app.answering.verification.mentions import find_mentions
from app.answering.verification.numerals import SCALES, chinese_value
from app.answering.verification.quantities import Mention, Quantity

_SCALED_TABLE = re.compile(
    r"\b(?:in|\$)\s?(?P<en>thousands|millions|billions)\b|单位\s?[:：]?\s?(?:人民币)?(?P<zh>千|万|百万|亿)元?",
    re.IGNORECASE,
)


_YEARS = range(1800, 2100)


@dataclass(frozen=True, slots=True)
class Numbers:
    """All that a source says in numbers."""

    values: frozenset[Fraction]  # without regard to units
    bare: frozenset[Fraction]  # that have no unit
    measured: frozenset[tuple[str, Fraction]]  # dimension, base units
    dates: frozenset[PartialDate]
    years: frozenset[int]


@dataclass(frozen=True, slots=True)
class MissingNumber:
    """A number or date that no source holds. `is_open`: the sources tell its month, and nothing of any year."""

    mention: Mention
    is_open: bool


def missing_numbers(mentions: Iterable[Mention], source: Numbers) -> list[MissingNumber]:
    """What a sentence says in numbers and its source does not hold."""
    return [
        MissingNumber(mention, _leaves_open(source, mention))
        for mention in mentions
        if mention.is_claim and not _holds(source, mention)
    ]


def read_numbers(text: str, scale: int = 1) -> Numbers:
    """The numbers of a source (NFKC); `scale` is what its tables are counted in."""
    mentions = find_mentions(text)
    quantities = {quantity for mention in mentions for quantity in (*mention.readings, *mention.parts)}
    if scale > 1:
        quantities |= {Quantity(each.value * scale, each.unit) for each in quantities}
    dates = frozenset(date for mention in mentions for date in mention.dates)
    parts = {part for date in dates for part in (date.year, date.month, date.day) if part is not None}
    values = {quantity.value for quantity in quantities} | set(map(Fraction, parts))
    bare = frozenset(each.value for each in quantities if each.unit is None) | set(map(Fraction, parts))
    return Numbers(
        values=frozenset(values),
        bare=bare,
        measured=frozenset((each.unit.dimension, each.value * each.unit.factor) for each in quantities if each.unit),
        dates=dates,
        years=frozenset(int(each) for each in bare if each.denominator == 1 and 1000 <= each <= 2999),
    )


def together(parts: Iterable[Numbers]) -> Numbers:
    """The numbers of several sources as one."""
    every = tuple(parts)
    return Numbers(
        values=frozenset().union(*(part.values for part in every)),
        bare=frozenset().union(*(part.bare for part in every)),
        measured=frozenset().union(*(part.measured for part in every)),
        dates=frozenset().union(*(part.dates for part in every)),
        years=frozenset().union(*(part.years for part in every)),
    )


def table_scale(text: str) -> int:
    """What a text's tables are counted in, if they say so: "in thousands", 单位：万元."""
    match = _SCALED_TABLE.search(text)
    if not match:
        return 1
    if match["en"]:
        return SCALES[match["en"].lower().removesuffix("s")]
    return int(chinese_value(match["zh"]) or 1)


def _holds(source: Numbers, mention: Mention) -> bool:
    if any(holds(source.dates, source.years, date) for date in mention.dates):
        return True
    return any(_holds_quantity(source, quantity, mention.precision) for quantity in mention.readings)


def _leaves_open(source: Numbers, mention: Mention) -> bool:
    if source.years:
        return False
    if any(each.unit is None and each.value.denominator == 1 and each.value in _YEARS for each in mention.readings):
        return True
    without_year = [replace(date, year=None) for date in mention.dates]
    return any(date.month is None or holds(source.dates, source.years, date) for date in without_year)


def _holds_quantity(source: Numbers, quantity: Quantity, precision: Fraction) -> bool:
    value, unit = quantity.value, quantity.unit
    if unit is None:
        if 0 < value < 1 and ("%", value * 100) in source.measured:
            return True
        return value in source.values or (precision > 0 and any(abs(v - value) < precision for v in source.values))
    base = value * unit.factor
    if unit.dimension == "%" and base / 100 in source.bare:
        return True
    if value in source.bare or (unit.dimension, base) in source.measured:
        return True
    if not precision:
        return False
    near = precision * unit.factor
    return any(abs(other - value) < precision for other in source.bare) or any(
        dimension == unit.dimension and abs(other - base) < near for dimension, other in source.measured
    )

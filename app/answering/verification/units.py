"""Units of measure in English and Chinese: what a spelling measures, and how many base units it is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class Unit:
    """`factor` base units of a dimension: a kilometre is 1,000 of "m"."""

    dimension: str
    factor: Fraction


# dimension: {spellings: factor}. Counting words (people, 个) measure nothing: they are no units.
_TABLE: dict[str, dict[str, str]] = {
    "%": {"% percent pct 个百分点 百分点": "1", "‰": "1/10", "bps bp": "1/100"},
    "USD": {"dollar dollars usd us$ $ 美元 美金": "1"},
    "CNY": {"yuan rmb cny renminbi 元人民币 人民币 元 块钱": "1"},
    "EUR": {"euro euros eur € 欧元": "1"},
    "GBP": {"gbp £ 英镑": "1"},
    "JPY": {"yen jpy 日元": "1"},
    "HKD": {"hkd hk$ 港元 港币": "1"},
    "TWD": {"twd nt$ 新台币 台币": "1"},
    "m": {
        "km kilometer kilometers kilometre kilometres 公里 千米": "1000",
        "m meter meters metre metres 米 公尺": "1",
        "cm centimeter centimeters centimetre centimetres 厘米 公分": "1/100",
        "mm millimeter millimeters millimetre millimetres 毫米": "1/1000",
        "mile miles 英里": "1609344/1000",
        "ft foot feet 英尺": "3048/10000",
        "inch inches 英寸": "254/10000",
    },
    "m2": {
        "km2 平方公里 平方千米": "1000000",
        "m2 平方米 平米": "1",
        "ha hectare hectares 公顷": "10000",
        "亩": "2000/3",
        "acre acres 英亩": "40468564224/10000000",
    },
    "m3": {"m3 立方米": "1", "l liter liters litre litres 升": "1/1000", "ml 毫升": "1/1000000"},
    "kg": {
        "kg kilogram kilograms 公斤 千克": "1",
        "g gram grams 克": "1/1000",
        "mg 毫克": "1/1000000",
        "t ton tons tonne tonnes 吨": "1000",
        "斤": "1/2",
        "lb lbs": "45359237/100000000",
    },
    "s": {
        "second seconds sec 秒 秒钟": "1",
        "minute minutes min mins 分钟": "60",
        "hour hours hr hrs h 小时 个小时 钟头 个钟头": "3600",
        "day days 天": "86400",
        "week weeks 周 个星期 星期": "604800",
    },
    "month": {"month months 个月": "1", "year years yr yrs year-old years-old 年 岁 周岁": "12"},
    "°C": {"°c 摄氏度": "1"},
    "°F": {"°f 华氏度": "1"},
    "W": {"w watt watts 瓦": "1", "kw kilowatt kilowatts 千瓦": "1000", "mw megawatt megawatts 兆瓦": "1000000"},
    "B": {"kb": "1000", "mb": "1000000", "gb": "1000000000", "tb": "1000000000000"},
}
UNITS = {
    spelling: Unit(dimension, Fraction(factor))
    for dimension, spellings in _TABLE.items()
    for names, factor in spellings.items()
    for spelling in names.split()
}
_SYMBOLS = {"€", "£", "$", "us$", "hk$", "nt$"}
_LATIN = sorted((name for name in UNITS if name[0].isascii() and name[0].isalpha() and name not in _SYMBOLS), key=len)
_OTHER = sorted((name for name in UNITS if name not in _LATIN and name not in _SYMBOLS), key=len)

_OF_SQUARE = {"square": "m2", "sq": "m2", "cubic": "m3"}
_AFTER = re.compile(
    rf"\s?-?(?:(?P<power>square|sq\.?|cubic)[ -])?"
    rf"(?:(?P<latin>per ?cent|percentage points?|(?:us |u\.s\. )?dollars?|(?:{'|'.join(reversed(_LATIN))})(?![A-Za-z]))"
    rf"|(?P<other>{'|'.join(map(re.escape, reversed(_OTHER)))}))",
    re.IGNORECASE,
)
CURRENCY_BEFORE = r"(?:(?P<currency>US\$|HK\$|NT\$|RMB|USD|EUR|GBP|[$€£])\s?)?"


def unit_behind(text: str, end: int) -> tuple[Unit | None, int]:
    """The unit that stands behind a number that ends at `end`, and where the unit ends."""
    match = _AFTER.match(text, end)
    if not match:
        return None, end
    name = (match["latin"] or match["other"]).lower()
    name = re.sub(r"^(?:us |u\.s\. )", "", name)
    unit = UNITS["%"] if name.startswith("per") and name.endswith(("cent", "point", "points")) else UNITS[name]
    power = (match["power"] or "").lower().rstrip(".")
    if power:
        exponent = 3 if power == "cubic" else 2
        unit = Unit(_OF_SQUARE[power], unit.factor**exponent) if unit.dimension == "m" else unit
    return unit, match.end()


def currency(sign: str | None) -> Unit | None:
    """The unit of a sign before a number."""
    return UNITS[sign.lower()] if sign else None

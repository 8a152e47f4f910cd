"""A workbook's numbers as people see them: 0.15 as 15%, 45306 as 2024-01-15, by the format code of the cell.

The codes are those of ECMA-376 part 1, 18.8.30 and 18.8.31.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction

BUILT_IN = {
    1: "0", 2: "0.00", 3: "#,##0", 4: "#,##0.00",
    5: "$#,##0;($#,##0)", 6: "$#,##0;($#,##0)", 7: "$#,##0.00;($#,##0.00)", 8: "$#,##0.00;($#,##0.00)",
    9: "0%", 10: "0.00%", 11: "0.00E+00", 12: "# ?/?", 13: "# ??/??",
    # Excel shows 14 and 22 in the order of the reader's own country; this order is read the same way everywhere.
    14: "yyyy-mm-dd", 15: "d-mmm-yy", 16: "d-mmm", 17: "mmm-yy", 18: "h:mm AM/PM", 19: "h:mm:ss AM/PM",
    20: "h:mm", 21: "h:mm:ss", 22: "yyyy-mm-dd h:mm",
    37: "#,##0;(#,##0)", 38: "#,##0;(#,##0)", 39: "#,##0.00;(#,##0.00)", 40: "#,##0.00;(#,##0.00)",
    41: "#,##0;-#,##0", 42: "$#,##0;-$#,##0", 43: "#,##0.00;-#,##0.00", 44: "$#,##0.00;-$#,##0.00",
    45: "mm:ss", 46: "[h]:mm:ss", 47: "mm:ss.0", 48: "##0.0E+0",
    # 27 to 36 and 50 to 58 have codes of their own in Chinese and Japanese workbooks; elsewhere they are not used.
    **dict.fromkeys((27, 36, 50, 52, 57), "yyyy年m月"), **dict.fromkeys((28, 29, 51, 53, 54, 58), "m月d日"),
    30: "m-d-yy", 31: "yyyy年m月d日", 32: "h时mm分", 33: "h时mm分ss秒",
    **dict.fromkeys((34, 55), "上午/下午h时mm分"), **dict.fromkeys((35, 56), "上午/下午h时mm分ss秒"),
}  # fmt: skip

_MAX_CODE_CHARACTERS = 255  # Excel's own limit
_TOKEN = re.compile(
    r'"(?P<quoted>[^"]*)"?|\\(?P<escaped>.)|[_*].|\[(?P<bracket>[^\]]*)\]|(?P<general>General)'
    r"|(?P<half>AM/PM|A/P|上午/下午)|(?P<fraction_of_second>(?<=s)\.0+)|(?P<exponent>E[+-])"
    r"|(?P<date>y+|m+|d+|h+|s+|e+|a{3,4})|(?P<digit>[0#?])|(?P<mark>[.,%/@;])|(?P<literal>.)",
    re.I | re.S,
)
_CONDITION = re.compile(r"(<=|>=|<>|<|>|=)\s*(-?[\d.]+)")
_COMPARE = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "=": operator.eq,
    "<>": operator.ne,
}
_LAST_DAY = 2_957_000  # in the year 9995, by either calendar
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July"),
    *("August", "September", "October", "November", "December"),
)

_Token = tuple[str, str]  # kind and text


@dataclass(frozen=True, slots=True)
class _Part:
    """One of the up to four parts of a code: for positive and negative numbers, zero, and text."""

    tokens: tuple[_Token, ...]
    condition: Callable[[float], bool] | None

    @property
    def is_date(self) -> bool:
        return any(kind in ("date", "elapsed") for kind, _ in self.tokens)


class NumberFormat:
    """A format code, ready to be applied. `epoch_1904` is the workbook's way of counting days."""

    def __init__(self, code: str, epoch_1904: bool = False) -> None:
        self._parts = _split(code) if len(code) <= _MAX_CODE_CHARACTERS else _split("General")
        self._epoch_1904 = epoch_1904

    def text(self, value: str) -> str:
        """A text under this format: as it is, unless the code hides or surrounds it."""
        if len(self._parts) < 4:
            return value
        return "".join(value if text == "@" else text for kind, text in self._parts[3].tokens if kind != "digit")

    def number(self, raw: str) -> str:
        """A number under this format, given as the file has it."""
        try:
            value = float(raw)
        except ValueError:
            return raw
        if not math.isfinite(value):
            return raw
        part, signed = self._choose(value)
        if part.is_date:
            return _show_date(part.tokens, value, self._epoch_1904)
        if any(text == "@" for _, text in part.tokens):
            return general(value)
        return ("-" if signed and value < 0 else "") + _show_number(part.tokens, abs(value))

    def _choose(self, value: float) -> tuple[_Part, bool]:
        """The part that this number falls under, and whether its minus sign is still to be written."""
        parts = self._parts
        if any(part.condition for part in parts):
            chosen = next((part for part in parts if part.condition is None or part.condition(value)), parts[-1])
            return chosen, True
        if value < 0 and len(parts) > 1:
            return parts[1], False
        return (parts[2] if value == 0 and len(parts) > 2 else parts[0]), True


def general(value: float) -> str:
    """A number without a format: up to 15 digits, which hides what binary fractions add."""
    if value == int(value) and abs(value) < 1e15:
        return str(int(value))
    return format(Decimal(format(value, ".15g")), "f") if 1e-6 < abs(value) < 1e15 else format(value, ".15g")


def _split(code: str) -> tuple[_Part, ...]:
    parts: list[_Part] = []
    tokens: list[_Token] = []
    condition: Callable[[float], bool] | None = None
    for match in [*_TOKEN.finditer(code), None]:
        kind, text = (match.lastgroup or "", match[0]) if match else ("mark", ";")
        if kind == "mark" and text == ";":
            parts.append(_Part(tuple(tokens), condition))
            tokens, condition = [], None
        elif match and kind == "bracket":
            inner = match["bracket"]
            compared = _CONDITION.fullmatch(inner)
            if compared:
                condition = _condition(*compared.groups())
            elif inner.startswith("$"):
                tokens.append(("literal", inner[1:].partition("-")[0]))
            elif re.fullmatch("h+|m+|s+", inner, re.I):
                tokens.append(("elapsed", inner.lower()))
        elif match and kind in ("quoted", "escaped"):
            tokens.append(("literal", match[kind]))
        elif kind == "date":
            tokens.append((kind, text.lower()))
        elif kind:
            tokens.append((kind, text))
    return tuple(parts)


def _condition(sign: str, number: str) -> Callable[[float], bool] | None:
    try:
        limit = float(number)
    except ValueError:
        return None
    return lambda value: bool(_COMPARE[sign](value, limit))


def _show_number(tokens: Sequence[_Token], value: float) -> str:
    kinds = [kind for kind, _ in tokens]
    if "general" in kinds:
        return "".join(general(value) if kind == "general" else text for kind, text in tokens)
    digits = [at for at, kind in enumerate(kinds) if kind == "digit"]
    if not digits:
        return "".join(text for kind, text in tokens if kind == "literal" or text == "%")
    first, last = digits[0], digits[-1]
    number = Decimal(format(value, ".15g")) * 100 ** sum(token == ("mark", "%") for token in tokens)
    while last + 1 < len(tokens) and tokens[last + 1] == ("mark", ","):  # thousands that are left out
        last += 1
        number /= 1000
    pattern = tokens[first : last + 1]
    if "exponent" in kinds[first:last]:
        mark = kinds.index("exponent") - first
        mantissa, _, exponent = format(number, f".{len(_places(pattern[:mark]))}E").partition("E")
        shown = f"{mantissa}E{exponent[0]}{exponent[1:].rjust(len(pattern) - mark - 1, '0')}"
    elif ("mark", "/") in pattern:
        shown = _show_fraction(pattern, number)
    else:
        shown = _show_digits(pattern, number)
    around = [[text for kind, text in side if kind == "literal" or text in "%-+()/."] for side in
              (tokens[:first], tokens[last + 1 :])]  # fmt: skip
    return "".join((*around[0], shown, *around[1])).strip()


def _places(pattern: Sequence[_Token]) -> list[str]:
    """The placeholders behind the decimal point."""
    if ("mark", ".") not in pattern:
        return []
    return [text for kind, text in pattern[pattern.index(("mark", ".")) :] if kind == "digit"]


def _show_digits(pattern: Sequence[_Token], number: Decimal) -> str:
    places = _places(pattern)
    rounded = number.quantize(Decimal(1).scaleb(-len(places)), ROUND_HALF_UP) if number < 10**20 else number
    whole, _, decimals = format(rounded, "f").partition(".")
    needed = max((at + 1 for at, place in enumerate(places) if place == "0"), default=0)
    decimals = decimals[:needed] + decimals[needed:].rstrip("0")
    point = pattern.index(("mark", ".")) if ("mark", ".") in pattern else len(pattern)
    front = pattern[:point]
    slots = [text for kind, text in front if kind == "digit"]
    if whole == "0" and "0" not in slots:
        whole = ""
    whole = whole.rjust(slots.count("0"), "0")
    if any(kind == "literal" for kind, _ in front):  # such as 000-00-0000
        left = list(whole)
        filled: list[str] = []
        remaining = len(slots)
        for kind, text in reversed(front):
            if kind == "digit":
                remaining -= 1
                filled.append("".join(left) if remaining == 0 else (left.pop() if left else ""))
            elif kind == "literal":
                filled.append(text)
        whole = "".join(reversed(filled))
    elif ("mark", ",") in front and whole:
        whole = f"{int(whole):,}".rjust(len(whole), "0")
    behind = "".join(text for kind, text in pattern[point:] if kind == "literal")
    return whole + (f".{decimals}" if decimals else "") + behind


def _show_fraction(pattern: Sequence[_Token], number: Decimal) -> str:
    bar = pattern.index(("mark", "/"))
    places = sum(kind == "digit" for kind, _ in pattern[bar:]) or 1
    fraction = Fraction(number).limit_denominator(10 ** min(places, 5) - 1)
    whole, rest = divmod(fraction, 1)
    if not any(text == " " for _, text in pattern[:bar]):
        return f"{fraction.numerator}/{fraction.denominator}"
    return " ".join(filter(None, (str(whole) if whole or not rest else "", str(rest) if rest else "")))


def _show_date(tokens: Sequence[_Token], value: float, epoch_1904: bool) -> str:
    if not 0 <= value < _LAST_DAY:
        return general(value)
    finest = 1000 if any(kind == "fraction_of_second" for kind, _ in tokens) else 1
    ticks = round(value * 86400 * finest)
    # The older calendar has a 29 February 1900, which is day 60.
    first = datetime(1904, 1, 1) if epoch_1904 else datetime(1899, 12, 31 if value < 60 else 30)  # noqa: DTZ001
    moment = first + timedelta(seconds=ticks / finest)
    half_day = any(kind == "half" for kind, _ in tokens)
    shown = []
    for at, (kind, text) in enumerate(tokens):
        if kind == "date":
            shown.append(_show_date_token(text, moment, half_day, text[0] == "m" and _is_minute(tokens, at)))
        elif kind == "elapsed":
            seconds = ticks // finest
            shown.append(str(seconds // {"h": 3600, "m": 60, "s": 1}[text[0]]).rjust(len(text), "0"))
        elif kind == "half":
            shown.append(
                ("上午", "下午")[moment.hour >= 12] if text == "上午/下午" else ("AM", "PM")[moment.hour >= 12]
            )
        elif kind == "fraction_of_second":
            shown.append("." + f"{moment.microsecond // 1000:03d}"[: len(text) - 1])
        elif kind == "literal" or text in "./,":
            shown.append(text)
    return "".join(shown).strip()


def _show_date_token(text: str, moment: datetime, half_day: bool, is_minute: bool) -> str:
    letter, length = text[0], len(text)
    if letter in "ye":
        return f"{moment.year % 100:02d}" if text in ("y", "yy") else str(moment.year)
    if letter == "a":
        return ("星期" if length == 4 else "周") + "一二三四五六日"[moment.weekday()]
    if letter == "m" and not is_minute and length > 2:
        name = _MONTHS[moment.month - 1]
        return name if length == 4 else name[: 3 if length == 3 else 1]
    if letter == "d" and length > 2:
        return _DAYS[moment.weekday()][: 3 if length == 3 else None]
    number = {
        "m": moment.minute if is_minute else moment.month,
        "d": moment.day,
        "h": (moment.hour % 12 or 12) if half_day else moment.hour,
        "s": moment.second,
    }[letter]
    return f"{number:02d}" if length > 1 else str(number)


def _is_minute(tokens: Sequence[_Token], at: int) -> bool:
    """An `m` behind hours or before seconds means minutes."""
    times = ("date", "elapsed")
    before = next((text for kind, text in reversed(tokens[:at]) if kind in times), "")
    after = next((text for kind, text in tokens[at + 1 :] if kind in times), "")
    return before.startswith("h") or after.startswith("s")

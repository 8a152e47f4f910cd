"""What a text says in numbers, as it is compared."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from app.answering.verification.dates import PartialDate
from app.answering.verification.units import Unit

_TELLING_DIGITS = 3


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

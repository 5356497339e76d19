"""A printed number exactly as it stands: digits and decimals, never a binary fraction."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

ROUNDED, CUT = "rounded", "cut"
ROUNDINGS = (ROUNDED, CUT)
"""How a number comes to its printed digits: rounded (a half may go either way), or cut off."""
_PLAIN = re.compile(r"[-+]?\d{1,60}(\.\d{1,60})?", re.ASCII)


@dataclass(frozen=True)
class Decimal:
    """``99.37`` is 9937 with 2 decimals; a number that is only known to tens has -1."""

    digits: int
    decimals: int

    @classmethod
    def read(cls, text: str) -> Decimal:
        """The number that ``text`` spells. Raises ``ValueError`` where it is no plain number such as 97.94."""
        if not _PLAIN.fullmatch(text):
            raise ValueError(f"{text!r} is no plain number such as 97.94")
        whole, _, part = text.partition(".")
        return cls(int(whole + part), len(part))

    @property
    def unit(self) -> Fraction:
        """One unit of the last printed digit."""
        return Fraction(10) ** -self.decimals

    @property
    def value(self) -> Fraction:
        """The number itself."""
        return self.digits * self.unit

    def __float__(self) -> float:
        return float(self.value)

    def __str__(self) -> str:
        if self.decimals <= 0:
            return f"{self.digits * 10**-self.decimals}"
        sign, digits = "-" * (self.digits < 0), f"{abs(self.digits):0{self.decimals + 1}d}"
        return f"{sign}{digits[: -self.decimals]}.{digits[-self.decimals :]}"

    def holds(self, exact: Fraction, rounding: str) -> bool:
        """Whether ``exact`` prints as this number."""
        if rounding == ROUNDED:
            return abs(exact - self.value) * 2 <= self.unit
        return self.value <= exact < self.value + self.unit

    def bounds(self, rounding: str) -> tuple[Fraction, Fraction]:
        """What prints as this number lies between these two; the upper one itself only where it is rounded."""
        if rounding == ROUNDED:
            return self.value - self.unit / 2, self.value + self.unit / 2
        return self.value, self.value + self.unit

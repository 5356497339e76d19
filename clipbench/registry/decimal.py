"""Can a printed percentage, or its standard deviation, come from whole counts at all? GRIM and GRIMMER, in integers.

A test set of N images and n repetitions give accuracies ``100 k / N`` with whole k, so that their mean is
``100 S / (n N)`` with a whole S (GRIM: Brown and Heathers, 2017), and their spread follows from S and the sum of
squares Q of the counts (GRIMMER: Anaya, 2016). Everything here is exact; nothing is computed in floating point.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor, isqrt

ROUNDED, CUT = "rounded", "cut"
READINGS = (ROUNDED, CUT)
"""How a number comes to its printed digits: rounded (a half may go either way), or cut off."""
ESTIMATORS = ("sample", "population")
"""Standard deviation over n - 1, or over n."""


@dataclass(frozen=True)
class Decimal:
    """A printed number as it stands: ``99.37`` is 9937 with 2 decimals."""

    digits: int
    decimals: int

    @classmethod
    def of(cls, value: float, decimals: int) -> Decimal:
        """The printed number behind a parsed one."""
        return cls(round(value * 10**decimals), decimals)

    @property
    def unit(self) -> Fraction:
        """One unit of the last printed digit."""
        return Fraction(1, 10**self.decimals)

    @property
    def value(self) -> Fraction:
        """The number itself."""
        return self.digits * self.unit

    def __str__(self) -> str:
        return f"{float(self.value):.{self.decimals}f}"

    def holds(self, exact: Fraction, reading: str) -> bool:
        """Whether ``exact`` prints as this number."""
        if reading == ROUNDED:
            return abs(exact - self.value) * 2 <= self.unit
        return self.value <= exact < self.value + self.unit


@dataclass(frozen=True)
class Counts:
    """What stands behind a printed mean: ``runs`` repetitions on ``items`` test images each."""

    items: int
    runs: int

    @property
    def step(self) -> Fraction:
        """Smallest step between two possible means, percent."""
        return Fraction(100, self.items * self.runs)

    def informative(self, printed: Decimal) -> bool:
        """Whether some printed number is unreachable at all: the step is coarser than the last digit."""
        return self.step > printed.unit


def sums(printed: Decimal, counts: Counts, reading: str) -> range:
    """Sums of correct images over all runs whose mean percentage prints as ``printed``."""
    low, high = _bounds(printed, reading)
    first, last = ceil(low / counts.step), floor(high / counts.step)
    if reading == CUT and last * counts.step == high:
        last -= 1
    return range(max(first, 0), min(last, counts.items * counts.runs) + 1)


def mean_readings(printed: Decimal, counts: Counts) -> tuple[str, ...]:
    """GRIM: the readings under which the printed mean is reachable; none: it is impossible."""
    return tuple(reading for reading in READINGS if sums(printed, counts, reading))


def nearest(printed: Decimal, counts: Counts) -> tuple[Fraction, Fraction]:
    """The possible means next to the printed one, below (or equal) and above."""
    below = floor(printed.value / counts.step)
    return below * counts.step, (below + 1) * counts.step


def std_readings(mean: Decimal, std: Decimal, counts: Counts) -> tuple[str, ...]:
    """GRIMMER: the estimators under which some counts give both printed numbers (mean and std each rounded or cut)."""
    return tuple(name for name in ESTIMATORS if counts.runs > 1 and _std_possible(mean, std, counts, name))


def std_informative(mean: Decimal, std: Decimal, counts: Counts) -> bool:
    """Whether some standard deviation within five units of the last digit is impossible: else the test cannot fail."""
    near = (Decimal(d, std.decimals) for d in range(max(std.digits - 5, 0), std.digits + 6))
    return any(not std_readings(mean, other, counts) for other in near)


def _std_possible(mean: Decimal, std: Decimal, counts: Counts, estimator: str) -> bool:
    tried = {total for reading in mean_readings(mean, counts) for total in sums(mean, counts, reading)}
    return any(
        representable(counts.runs, total, squares, counts.items)
        for total in sorted(tried)
        for reading in READINGS
        for squares in _squares(total, std, counts, estimator, reading)
    )


def _squares(total: int, std: Decimal, counts: Counts, estimator: str, reading: str) -> range:
    """Sums of squared counts, given their sum, whose standard deviation prints as ``std``."""
    divisor = counts.runs - 1 if estimator == "sample" else counts.runs
    low, high = (max(bound, Fraction(0)) for bound in _bounds(std, reading))
    scale, offset = divisor * Fraction(counts.items, 100) ** 2, Fraction(total**2, counts.runs)
    first, last = ceil(low**2 * scale + offset), floor(high**2 * scale + offset)
    if reading == CUT and last == high**2 * scale + offset:
        last -= 1
    return range(first, last + 1)


def _bounds(printed: Decimal, reading: str) -> tuple[Fraction, Fraction]:
    if reading == ROUNDED:
        return printed.value - printed.unit / 2, printed.value + printed.unit / 2
    return printed.value, printed.value + printed.unit


def representable(numbers: int, total: int, squares: int, most: int) -> bool:
    """Whether that many whole numbers between 0 and ``most`` have this sum and this sum of squares."""
    base, rest = divmod(total, numbers)
    # Deviations e = k - base: they sum to `rest`, and the sum of their squares is what is left above base's own.
    return _found(numbers, rest, squares - 2 * base * rest - numbers * base**2, -base, most - base)


def _found(numbers: int, total: int, squares: int, low: int, high: int) -> bool:
    """The same for whole numbers from ``low`` to ``high``, with total and squares small."""
    if squares < 0 or (total - squares) % 2 or numbers * squares < total**2:
        return False
    if numbers == 1:
        return total**2 == squares and low <= total <= high
    if numbers == 2:
        return _pair(total, squares, low, high)
    return any(
        _found(numbers - 1, total - first, squares - first**2, low, high)
        for first in _candidates(numbers, total, squares, low, high)
    )


def _pair(total: int, squares: int, low: int, high: int) -> bool:
    """Two numbers: their difference squared is ``2 squares - total^2``."""
    gap = isqrt(2 * squares - total**2)
    smaller, odd = divmod(total - gap, 2)
    return gap**2 == 2 * squares - total**2 and not odd and low <= smaller and smaller + gap <= high


def _candidates(numbers: int, total: int, squares: int, low: int, high: int) -> Iterator[int]:
    """First numbers that leave the others enough room (Cauchy and Schwarz), the farthest from the mean first."""
    reach = isqrt((numbers - 1) * (numbers * squares - total**2))
    first, last = max(-((reach - total) // numbers), low), min((total + reach) // numbers, high)
    return iter(sorted(range(first, last + 1), key=lambda e: -abs(numbers * e - total)))

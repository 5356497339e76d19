"""Can a printed percentage, or its standard deviation, come from whole counts at all? GRIM and GRIMMER, in integers.

A test set of N images and n repetitions give accuracies ``100 k / N`` with whole k, so that their mean is
``100 S / (n N)`` with a whole S (GRIM: Brown and Heathers, 2017), and their spread follows from S and the sum of
squares Q of the counts (GRIMMER: Anaya, 2016). Everything here is exact; nothing is computed in floating point.

Whether n whole numbers between 0 and N have a given sum and sum of squares is decided by parity and by the least and
largest sum of squares where these exclude it, by a theorem where the bounds 0 and N are out of reach (see
``_unbounded``), and else by a search of bounded effort. What the search leaves open is reported as unknown:
"impossible" is said of what is proven impossible, and of nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor, isqrt

from clipbench.registry.decimal import CUT, ROUNDINGS, Decimal

ESTIMATORS = ("sample", "population")
"""Standard deviation over n - 1, or over n."""
_EFFORT = 10_000
"""Steps that the search takes for one printed standard deviation: well below a second."""
_TOTALS, _SQUARES = 400, 50
"""At most that many sums, and that many sums of squares of each, are tried; with more, one of the first ones fits."""
_DEEPEST = 150
"""The search goes through that many repetitions at most, one after the other."""


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


class _Effort:
    """Steps that are left; none left means that what is open stays open."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def spend(self, steps: int = 1) -> bool:
        self.left -= steps
        return self.left >= 0


def sums(printed: Decimal, counts: Counts, rounding: str) -> range:
    """Sums of correct images over all runs whose mean percentage prints as ``printed``."""
    low, high = printed.bounds(rounding)
    first, last = ceil(low / counts.step), floor(high / counts.step)
    if rounding == CUT and last * counts.step == high:
        last -= 1
    return range(max(first, 0), min(last, counts.items * counts.runs) + 1)


def mean_roundings(printed: Decimal, counts: Counts) -> tuple[str, ...]:
    """GRIM: the roundings under which the printed mean is reachable; none: it is impossible."""
    return tuple(rounding for rounding in ROUNDINGS if sums(printed, counts, rounding))


def nearest(printed: Decimal, counts: Counts) -> tuple[Fraction, Fraction]:
    """The possible means next to the printed one, below (or equal) and above."""
    below = floor(printed.value / counts.step)
    return below * counts.step, (below + 1) * counts.step


@dataclass(frozen=True)
class Spread:
    """GRIMMER's answer: the estimators under which counts with both printed numbers exist, and those left open."""

    possible: tuple[str, ...]
    open: tuple[str, ...]


def std_estimators(mean: Decimal, std: Decimal, counts: Counts) -> Spread:
    """GRIMMER: under which estimators some counts give both printed numbers (mean and std each rounded or cut)."""
    effort = _Effort(_EFFORT)
    answers = {name: _std_possible(mean, std, counts, name, effort) for name in ESTIMATORS} if counts.runs > 1 else {}
    return Spread(
        tuple(name for name, answer in answers.items() if answer),
        tuple(name for name, answer in answers.items() if answer is None),
    )


def std_informative(mean: Decimal, std: Decimal, counts: Counts) -> bool:
    """Whether some standard deviation within five units of the last digit is impossible: else the test cannot fail."""
    near = (Decimal(d, std.decimals) for d in range(max(std.digits - 5, 0), std.digits + 6))
    return any(std_estimators(mean, other, counts) == Spread((), ()) for other in near)


def _std_possible(mean: Decimal, std: Decimal, counts: Counts, estimator: str, effort: _Effort) -> bool | None:
    """None: the effort did not suffice to tell."""
    answer: bool | None = False
    for rounding in ROUNDINGS:
        totals = sums(mean, counts, rounding)
        answer = None if totals[_TOTALS:] and not _beyond(totals, std, counts, estimator) else answer
        for total in totals[:_TOTALS]:
            for std_rounding in ROUNDINGS:
                squares = _squares(total, std, counts, estimator, std_rounding)
                answer = None if squares[_SQUARES:] else answer
                for tried in squares[:_SQUARES]:
                    if not effort.spend(_EFFORT // 1000):
                        return None
                    found = representable(counts.runs, total, tried, counts.items, effort)
                    if found:
                        return True
                    answer = None if found is None else answer
    return answer


def _beyond(totals: range, std: Decimal, counts: Counts, estimator: str) -> bool:
    """Whether the deviation is larger than any counts of these sums allow: half of all right allows the most."""
    middle = min(max(counts.items * counts.runs // 2, totals[0]), totals[-1])
    return all(not _squares(total, std, counts, estimator, r) for r in ROUNDINGS for total in (middle, middle - 1))


def _squares(total: int, std: Decimal, counts: Counts, estimator: str, rounding: str) -> range:
    """Sums of squared counts, given their sum, whose deviation prints as ``std``: those of its parity within reach."""
    divisor = counts.runs - 1 if estimator == "sample" else counts.runs
    low, high = (max(bound, Fraction(0)) for bound in std.bounds(rounding))
    scale, offset = divisor * Fraction(counts.items, 100) ** 2, Fraction(total**2, counts.runs)
    first, last = ceil(low**2 * scale + offset), floor(high**2 * scale + offset)
    if rounding == CUT and last == high**2 * scale + offset:
        last -= 1
    least, most = _extremes(counts.runs, total, counts.items)
    first, last = max(first, least), min(last, most)
    return range(first + (first - total) % 2, last + 1, 2)


def _extremes(numbers: int, total: int, most: int) -> tuple[int, int]:
    """The least and the largest sum of squares of that many whole numbers from 0 to ``most`` with that sum."""
    base, rest = divmod(total, numbers)
    full, left = divmod(total, most)
    return numbers * base**2 + 2 * base * rest + rest, full * most**2 + left**2


def representable(numbers: int, total: int, squares: int, most: int, effort: _Effort | None = None) -> bool | None:
    """Whether that many whole numbers from 0 to ``most`` have this sum and this sum of squares.

    None where neither proof nor search tell it.
    """
    least, largest = _extremes(numbers, total, most)
    if not least <= squares <= largest or (total - squares) % 2:
        return False
    if _unbounded(numbers, total, squares, (0, most)):
        return True
    if numbers > _DEEPEST:
        return None
    return _Search(0, most, effort or _Effort(_EFFORT)).found(numbers, total, squares)


def _unbounded(numbers: int, total: int, squares: int, bounds: tuple[int, int]) -> bool:
    """Whether such numbers are sure to exist within the bounds; False says nothing.

    Let e be a number less the mean rounded down. Five whole numbers e whose sum r is 0 to 4 take every sum of squares
    of r's parity from r on: the lattice A4 has class number one, as have the forms of its cosets. None of them is
    larger than the root of that sum. All other e are 0 or 1, and pairs of them that are moved
    apart by b (e + b and e - b) add 2 b^2, so that the five are left with a sum of squares
    small enough to stay within the bounds.
    """
    base, rest = divmod(total, numbers)
    room = min(base - bounds[0], bounds[1] - base)
    if numbers < 5 or room < 1:
        return False
    ones = min(rest, numbers - 5)
    left, rest = squares - 2 * base * rest - numbers * base**2 - ones, rest - ones
    pairs = (numbers - 5) // 2
    if room > 1 and left > room**2:
        taken = min((left - room**2) // (2 * (room - 1) ** 2), pairs)
        left, pairs = left - taken * 2 * (room - 1) ** 2, pairs - taken
        while left > room**2 and pairs:
            left -= 2 * min(isqrt((left - rest) // 2), room - 1) ** 2
            pairs -= 1
    return rest <= left <= room**2


class _Search:
    """Whole numbers from ``low`` to ``high``; what was found to be impossible is not tried again."""

    def __init__(self, low: int, high: int, effort: _Effort) -> None:
        self._low, self._high, self._effort = low, high, effort
        self._known: dict[tuple[int, int, int], bool | None] = {}

    def found(self, numbers: int, total: int, squares: int) -> bool | None:
        """Whether they exist; None where the effort ran out."""
        if squares < 0 or (total - squares) % 2 or numbers * squares < total**2:
            return False
        if numbers == 1:
            return total**2 == squares and self._low <= total <= self._high
        if numbers == 2:
            return self._pair(total, squares)
        if _unbounded(numbers, total, squares, (self._low, self._high)):
            return True
        key = numbers, total, squares
        if key not in self._known:
            self._known[key] = self._tried(*key)
        return self._known[key]

    def _tried(self, numbers: int, total: int, squares: int) -> bool | None:
        answer: bool | None = False
        for first in self._candidates(numbers, total, squares):
            if not self._effort.spend():
                return None
            found = self.found(numbers - 1, total - first, squares - first**2)
            if found:
                return True
            answer = None if found is None else answer
        return answer

    def _pair(self, total: int, squares: int) -> bool:
        """Two numbers: their difference squared is ``2 squares - total^2``."""
        gap = isqrt(2 * squares - total**2)
        smaller, odd = divmod(total - gap, 2)
        exact = gap**2 == 2 * squares - total**2 and not odd
        return exact and self._low <= smaller and smaller + gap <= self._high

    def _candidates(self, numbers: int, total: int, squares: int) -> Iterator[int]:
        """First numbers that leave the others enough room (Cauchy and Schwarz), the farthest from the mean first."""
        reach = isqrt((numbers - 1) * (numbers * squares - total**2))
        first = max(-((reach - total) // numbers), self._low)
        last = min((total + reach) // numbers, self._high)
        while first <= last:
            if abs(numbers * first - total) >= abs(numbers * last - total):
                yield first
                first += 1
            else:
                yield last
                last -= 1

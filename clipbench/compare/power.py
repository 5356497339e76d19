"""One mean against zero, and how many seeds a decision takes: Student's t and its power."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy import special

LEVEL, POWER = 0.05, 0.8
"""One-sided error rate of every decision, and the chance of a decision that "the seeds needed" promises."""
MOST = 1000


@dataclass(frozen=True)
class Sample:
    """A difference over ``n`` seeds: mean, standard deviation of one seed (None: not known), and a fixed variance that
    more seeds do not reduce (a quoted number's own)."""

    mean: float
    std: float
    n: int
    fixed: float = 0.0
    known: bool = False

    def error(self, n: int | None = None) -> float:
        """Standard error with ``n`` seeds (its own number by default)."""
        return math.sqrt(self.std**2 / (n or self.n) + self.fixed)

    def df(self, n: int | None = None) -> float:
        """Degrees of freedom: infinitely many where the spread is not estimated from these seeds."""
        n = n or self.n
        if self.known:
            return math.inf
        part = self.std**2 / n
        return math.inf if part == 0.0 else (n - 1) * ((part + self.fixed) / part) ** 2


def sample_of(values: Sequence[float], floor: float, stand_in: float, fixed: float = 0.0) -> Sample:
    """Mean and spread of per-seed differences.

    ``floor`` is the least spread that a difference can have (one image is a step, not nothing); ``stand_in`` takes the
    place of the spread where there is one seed only.
    """
    n = len(values)
    mean = math.fsum(values) / n
    if n == 1:
        return Sample(mean, stand_in, 1, fixed, known=True)
    std = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (n - 1))
    return Sample(mean, max(std, floor), n, fixed)


def above(sample: Sample, bound: float = 0.0, level: float = LEVEL) -> bool:
    """Whether the mean is shown to lie above the bound."""
    return sample.mean - bound > t_quantile(1 - level, sample.df()) * sample.error()


def below(sample: Sample, bound: float = 0.0, level: float = LEVEL) -> bool:
    """Whether the mean is shown to lie below the bound."""
    return above(Sample(-sample.mean, sample.std, sample.n, sample.fixed, sample.known), -bound, level)


def power(distance: float, sample: Sample, n: int, level: float = LEVEL) -> float:
    """Chance to show, with ``n`` seeds, that a mean lies beyond a bound when it truly lies ``distance`` beyond it."""
    df, error = sample.df(n), sample.error(n)
    if error == 0.0:
        return 1.0 if distance > 0 else level
    if math.isinf(df):
        return float(special.ndtr(distance / error - special.ndtri(1 - level)))
    return float(1.0 - special.nctdtr(df, distance / error, t_quantile(1 - level, df)))


def seeds_for(distance: float, sample: Sample, level: float = LEVEL, wanted: float = POWER) -> int | None:
    """The fewest seeds that show it with that chance, were mean and spread to stay; None: no number does."""
    if distance <= 0.0 or power(distance, sample, MOST, level) < wanted:
        return None
    low, high = 2, MOST
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if power(distance, sample, middle, level) >= wanted else (middle + 1, high)
    return low


def t_quantile(probability: float, df: float) -> float:
    """Quantile of Student's t; of the normal distribution for infinitely many degrees of freedom."""
    return float(special.ndtri(probability) if math.isinf(df) else special.stdtrit(df, probability))

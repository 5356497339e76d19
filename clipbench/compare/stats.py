"""The statistics of every verdict: two means beside each other, one mean against zero, and the seeds a decision takes.

``assess`` compares a measured mean with a printed one (Welch's t, two one-sided tests). ``Sample`` is a difference
formed seed by seed, with Student's t and its power.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy import special

LEVEL, POWER = 0.05, 0.8
"""One-sided error rate of every decision, and the chance of a decision that "the seeds needed" promises."""
MOST_SEEDS = 1000
"""No advice goes beyond that many seeds."""


@dataclass(frozen=True)
class Side:
    """One side of a comparison: a mean over ``n`` repetitions, their sample standard deviation (None: not known).

    ``decimals`` is the number of printed decimals (None: not rounded).
    """

    mean: float
    std: float | None
    n: int | None
    decimals: int | None = None


@dataclass(frozen=True)
class TestSet:
    """How the test images enter: their number, the number they are drawn from, and whether both sides saw the same.

    ``draw`` is ``same`` (official test list), ``once`` (each side drew one split) or ``per-repetition``.
    """

    images: int
    population: int
    draw: str


@dataclass(frozen=True)
class Assessment:
    """Difference (first side minus second) with its standard error and degrees of freedom, in the unit of the means.

    ``equivalent``: the ``1 - 2 level`` interval lies within the margin (two one-sided tests). ``different``: the
    two-sided test at ``level`` rejects equality. ``notes`` say what was known and used.
    """

    difference: float
    error: float
    df: float
    low: float
    high: float
    equivalent: bool
    different: bool
    seeds_needed: int | None
    notes: tuple[str, ...]


def side_of(values: Sequence[float]) -> Side:
    """Mean and sample standard deviation of our own runs."""
    n = len(values)
    mean = math.fsum(values) / n
    std = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (n - 1)) if n > 1 else None
    return Side(mean, std, n)


def assess(ours: Side, theirs: Side, test: TestSet, margin: float, level: float = LEVEL) -> Assessment:
    """Compare two means in percent. Welch's t with Satterthwaite's degrees of freedom, on these variances:

    * each side's variance over its n. A side without a standard deviation borrows the other's (both unknown: the
      binomial error of the test set stands in); where splits are redrawn, a spread below the binomial error of the
      test set, with its finite-population correction, is raised to it;
    * printed rounding, uniform over the last digit (variance ``10^(-2 d) / 12``);
    * the binomial error of two test sets, where each side drew one split for all its repetitions.
    """
    binomial = _binomial(theirs.mean, test)
    notes: list[str] = []
    parts = _spreads(ours, theirs, test, binomial, notes)
    parts += [(10.0 ** (-2 * s.decimals) / 12.0, math.inf) for s in (ours, theirs) if s.decimals is not None]
    if test.draw == "once":
        parts.append((2.0 * binomial, math.inf))
        notes.append("each side has one test set of its own: its binomial error enters twice")
    difference = ours.mean - theirs.mean
    error, df = welch(parts)
    reach = t_quantile(1.0 - level, df) * error
    low, high = difference - reach, difference + reach
    return Assessment(
        difference=difference,
        error=error,
        df=df,
        low=low,
        high=high,
        equivalent=-margin <= low and high <= margin,
        different=abs(difference) > t_quantile(1.0 - level / 2.0, df) * error,
        seeds_needed=_seeds_needed(ours, theirs, test, margin, level),
        notes=tuple(notes),
    )


def _spreads(ours: Side, theirs: Side, test: TestSet, binomial: float, notes: list[str]) -> list[tuple[float, float]]:
    """Variance of each mean and its degrees of freedom."""
    n_ours, n_theirs = ours.n or 1, theirs.n or 1
    if theirs.n is None:
        notes.append("the paper's number of repetitions is not known: taken as one")
    if ours.std is None and theirs.std is None:
        notes.append("no spread is known on either side: the binomial error of the test set stands in")
        return [(binomial / n_ours, math.inf), (binomial / n_theirs, math.inf)]
    if ours.std is None or theirs.std is None:
        known, n = (theirs, n_theirs) if ours.std is None else (ours, n_ours)
        who = "we have one run" if ours.std is None else "the paper prints no standard deviation"
        notes.append(f"{who}: the other side's is taken for both")
        variance, df = _floored(known.std or 0.0, n, test, binomial, notes)
        return [(variance * (1.0 / n_ours + 1.0 / n_theirs), df)]
    sides = [(ours.std, n_ours), (theirs.std, n_theirs)]
    floored = [(*_floored(std, n, test, binomial, notes), n) for std, n in sides]
    return [(variance / n, df) for variance, df, n in floored]


def _floored(std: float, n: int, test: TestSet, binomial: float, notes: list[str]) -> tuple[float, float]:
    """Variance of one repetition and its degrees of freedom, not below the test set's where splits are redrawn."""
    if test.draw == "per-repetition" and std**2 < binomial:
        note = f"a spread below the test set's binomial error ({math.sqrt(binomial):.2f}) is raised to it"
        notes.extend([] if note in notes else [note])
        return binomial, math.inf
    return std**2, max(n - 1, 1)


def _binomial(percent: float, test: TestSet) -> float:
    """Variance, in squared percent, of an accuracy over ``images`` drawn from a finite data set."""
    p = min(max(percent / 100.0, 0.0), 1.0)
    drawn_from = 1.0 - test.images / test.population if test.population > test.images else 1.0
    return 1e4 * p * (1.0 - p) / max(test.images, 1) * drawn_from


def welch(parts: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Standard error of the sum of independent parts (variance, df), and Satterthwaite's degrees of freedom."""
    total = math.fsum(variance for variance, _ in parts)
    spread = math.fsum(variance**2 / df for variance, df in parts if variance > 0.0)
    return math.sqrt(total), math.inf if spread == 0.0 else total**2 / spread


def _seeds_needed(ours: Side, theirs: Side, test: TestSet, margin: float, level: float) -> int | None:
    """The fewest seeds of ours that would decide, were difference and spread to stay as they are; None: none would."""
    spread = ours.std if ours.std is not None else theirs.std
    difference, binomial = abs(ours.mean - theirs.mean), _binomial(theirs.mean, test)
    for n in range(max(ours.n or 1, 2), MOST_SEEDS + 1):
        parts = _spreads(Side(ours.mean, spread, n), theirs, test, binomial, [])
        parts += [(10.0 ** (-2 * theirs.decimals) / 12.0, math.inf)] if theirs.decimals is not None else []
        parts += [(2.0 * binomial, math.inf)] if test.draw == "once" else []
        error, df = welch(parts)
        if (
            difference + t_quantile(1 - level, df) * error <= margin
            or difference > t_quantile(1 - level / 2, df) * error
        ):
            return n
    return None


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
    if distance <= 0.0 or power(distance, sample, MOST_SEEDS, level) < wanted:
        return None
    low, high = 2, MOST_SEEDS
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if power(distance, sample, middle, level) >= wanted else (middle + 1, high)
    return low


def t_quantile(probability: float, df: float) -> float:
    """Quantile of Student's t; of the normal distribution for infinitely many degrees of freedom."""
    return float(special.ndtri(probability) if math.isinf(df) else special.stdtrit(df, probability))

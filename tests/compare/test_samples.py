"""The t test of a claim, its error rate and its power, by formula and by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats as reference

from clipbench.compare.stats import Sample, above, below, power, sample_of, seeds_for


def test_is_students_t() -> None:
    values = [0.3, 0.1, 0.5, 0.2, 0.4]
    sample = sample_of(values, 0.0, 0.0)
    assert (sample.mean, sample.df()) == (pytest.approx(0.3), 4)
    assert sample.error() == pytest.approx(reference.sem(values))
    for bound in (0.0, 0.1, 0.15, 0.2, 0.3):
        due = reference.ttest_1samp(values, bound, alternative="greater").pvalue < 0.05
        assert above(sample, bound) == due
        assert below(sample, 0.6 - bound) == due


def test_one_seed_takes_the_stand_in_and_equal_seeds_the_floor() -> None:
    assert sample_of([0.4], 0.0, 0.3) == Sample(0.4, 0.3, 1, 0.0, known=True)
    assert math.isinf(sample_of([0.4], 0.0, 0.3).df())
    assert sample_of([0.4, 0.4, 0.4], 0.07, 0.3).std == 0.07


@pytest.mark.parametrize("n", [2, 3, 5, 10])
def test_error_rate_by_simulation(n: int) -> None:
    draw = np.random.default_rng(n)
    found = [above(sample_of(list(draw.normal(0.0, 1.0, n)), 0.0, 0.0)) for _ in range(4000)]
    assert np.mean(found) == pytest.approx(0.05, abs=4 * math.sqrt(0.05 * 0.95 / 4000))


@pytest.mark.parametrize(("distance", "n"), [(0.5, 5), (1.0, 5), (1.0, 10), (0.4, 20)])
def test_power_by_simulation(distance: float, n: int) -> None:
    draw = np.random.default_rng(n)
    found = np.mean([above(sample_of(list(draw.normal(distance, 1.0, n)), 0.0, 0.0)) for _ in range(3000)])
    assert power(distance, Sample(distance, 1.0, 3), n) == pytest.approx(found, abs=4 * math.sqrt(0.25 / 3000))


@pytest.mark.parametrize(("distance", "due"), [(0.5, 27), (1.0, 8), (0.8, 12), (2.0, 4)])
def test_seeds_needed_are_those_of_the_books(distance: float, due: int) -> None:
    """One-sample one-sided t test, level 5%, power 80%: n = 27 for d = 0.5, 12 for 0.8, 8 for 1."""
    assert seeds_for(distance, Sample(distance, 1.0, 3)) == due
    assert power(distance, Sample(distance, 1.0, 3), due) >= 0.8 > power(distance, Sample(distance, 1.0, 3), due - 1)


def test_no_number_of_seeds_helps_against_a_quoted_spread() -> None:
    assert seeds_for(0.1, Sample(0.1, 0.2, 3, fixed=0.3**2)) is None
    assert seeds_for(0.0, Sample(0.0, 0.2, 3)) is None
    assert (seeds_for(2.0, Sample(2.0, 0.2, 3, fixed=0.3**2)) or 0) <= 3

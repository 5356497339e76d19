"""The statistics of a difference, against scipy, against sums by hand, and by simulation."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as reference

from clipbench.compare import stats
from clipbench.compare.stats import Assessment, Side, assess, side_of
from clipbench.compare.stats import TestSet as Drawn

SAME = Drawn(10_000, 10_000, "same")


def test_mean_and_sample_standard_deviation() -> None:
    side = side_of([1.0, 2.0, 4.0])
    assert (side.mean, side.n) == (pytest.approx(7 / 3), 3)
    assert side.std == pytest.approx(math.sqrt(((4 / 3) ** 2 + (1 / 3) ** 2 + (5 / 3) ** 2) / 2))
    assert side_of([3.0]) == Side(3.0, None, 1)


@settings(deadline=None, max_examples=60)
@given(
    st.floats(80, 99), st.floats(0.05, 2), st.integers(2, 9), st.floats(80, 99), st.floats(0.05, 2), st.integers(2, 9)
)
def test_is_welchs_t_where_nothing_is_rounded_or_floored(
    m1: float, s1: float, n1: int, m2: float, s2: float, n2: int
) -> None:
    found = assess(Side(m1, s1, n1), Side(m2, s2, n2), SAME, margin=0.5)
    due = reference.ttest_ind_from_stats(m1, s1, n1, m2, s2, n2, equal_var=False)
    assert found.different == (due.pvalue < 0.05)
    variances = s1**2 / n1, s2**2 / n2
    df = sum(variances) ** 2 / (variances[0] ** 2 / (n1 - 1) + variances[1] ** 2 / (n2 - 1))
    assert found.df == pytest.approx(df)
    assert found.difference / found.error == pytest.approx(due.statistic)
    reach = reference.t.ppf(0.95, df) * math.sqrt(sum(variances))
    assert (found.low, found.high) == (pytest.approx(m1 - m2 - reach), pytest.approx(m1 - m2 + reach))


@settings(deadline=None, max_examples=60)
@given(st.floats(-1, 1), st.floats(0.05, 1), st.integers(2, 9), st.floats(0.1, 2))
def test_equivalence_is_two_one_sided_tests(difference: float, std: float, n: int, margin: float) -> None:
    ours, theirs = Side(90.0 + difference, std, n), Side(90.0, std, n)
    found = assess(ours, theirs, SAME, margin)
    error, df = std * math.sqrt(2 / n), 2 * (n - 1)
    below = reference.t.sf((difference + margin) / error, df)  # H0: difference <= -margin
    above = reference.t.cdf((difference - margin) / error, df)  # H0: difference >= margin
    assert found.equivalent == (max(below, above) <= 0.05)


def test_an_interval_by_hand() -> None:
    """n = 5 on both sides, s = 0.2: error 0.2 sqrt(2/5) = 0.12649, t(0.95; 8) = 1.85955, t(0.975; 8) = 2.30600."""
    found = assess(Side(90.2, 0.2, 5), Side(90.0, 0.2, 5), SAME, margin=0.5)
    assert found.error == pytest.approx(0.126491, abs=1e-6)
    assert found.low == pytest.approx(0.2 - 0.235219, abs=1e-5)
    assert found.high == pytest.approx(0.2 + 0.235219, abs=1e-5)
    assert found.equivalent
    assert not found.different
    assert assess(Side(90.2917, 0.2, 5), Side(90.0, 0.2, 5), SAME, 0.5).different  # 2.306 * 0.12649 = 0.29169
    assert not assess(Side(90.2916, 0.2, 5), Side(90.0, 0.2, 5), SAME, 0.5).different


def test_printed_rounding_enters_as_a_uniform_error_without_costing_degrees_of_freedom() -> None:
    plain = assess(Side(90.0, 0.2, 5), Side(90.0, 0.2, 5), SAME, 0.5)
    rounded = assess(Side(90.0, 0.2, 5), Side(90.0, 0.2, 5, decimals=1), SAME, 0.5)
    assert rounded.error**2 - plain.error**2 == pytest.approx(0.1**2 / 12)
    assert rounded.df == pytest.approx(rounded.error**4 / (2 * (0.2**2 / 5) ** 2 / 4))


def test_without_a_printed_deviation_ours_stands_for_both() -> None:
    found = assess(Side(90.0, 0.3, 5), Side(90.0, None, 3), SAME, 0.5)
    assert found.error == pytest.approx(0.3 * math.sqrt(1 / 5 + 1 / 3))
    assert found.df == pytest.approx(4)
    assert any("prints no standard deviation" in note for note in found.notes)


def test_with_one_run_of_ours_theirs_stands_for_both() -> None:
    found = assess(side_of([90.0]), Side(90.0, 0.3, 5), SAME, 0.5)
    assert found.error == pytest.approx(0.3 * math.sqrt(1 / 5 + 1))
    assert found.df == pytest.approx(4)
    assert any("we have one run" in note for note in found.notes)


def test_an_unknown_number_of_repetitions_is_one_and_is_said() -> None:
    found = assess(Side(90.0, 0.3, 5), Side(90.0, None, None), SAME, 0.5)
    assert found.error == pytest.approx(0.3 * math.sqrt(1 / 5 + 1))
    assert any("repetitions is not known" in note for note in found.notes)


def test_without_any_deviation_the_binomial_error_stands_in() -> None:
    found = assess(side_of([90.0]), Side(90.0, None, 1), Drawn(400, 400, "same"), 0.5)
    assert found.error == pytest.approx(100 * math.sqrt(2 * 0.9 * 0.1 / 400))
    assert found.df == math.inf
    assert any("no spread is known" in note for note in found.notes)


def test_once_drawn_splits_add_the_binomial_error_of_both_sides() -> None:
    binomial = 1e4 * 0.9 * 0.1 / 400 * (1 - 400 / 2000)
    found = assess(Side(90.0, 0.2, 5), Side(90.0, 0.2, 5), Drawn(400, 2000, "once"), 0.5)
    assert found.error**2 == pytest.approx(2 * 0.2**2 / 5 + 2 * binomial)
    assert any("test set of its own" in note for note in found.notes)


def test_redrawn_splits_raise_a_spread_below_the_binomial_error() -> None:
    binomial = 1e4 * 0.9 * 0.1 / 400 * (1 - 400 / 2000)  # 1.8: one repetition scatters by 1.34 at least
    found = assess(Side(90.0, 0.2, 5), Side(90.0, 3.0, 5), Drawn(400, 2000, "per-repetition"), 0.5)
    assert found.error**2 == pytest.approx(binomial / 5 + 9 / 5)
    assert found.df == pytest.approx(found.error**4 / ((9 / 5) ** 2 / 4))
    assert any("(1.34) is raised to it" in note for note in found.notes)
    kept = assess(Side(90.0, 2.0, 5), Side(90.0, 3.0, 5), Drawn(400, 2000, "per-repetition"), 0.5)
    assert kept.error**2 == pytest.approx(4 / 5 + 9 / 5)
    assert not kept.notes


def test_a_hundred_per_cent_has_no_binomial_error() -> None:
    found = assess(Side(100.0, 0.0, 5), Side(100.0, 0.0, 5), Drawn(400, 2000, "once"), 0.5)
    assert (found.error, found.equivalent, found.different) == (0.0, True, False)


def test_numbers_without_any_spread_still_compare() -> None:
    assert assess(Side(90.1, 0.0, 5), Side(90.0, 0.0, 5), SAME, 0.5).equivalent
    found = assess(Side(91.0, 0.0, 5), Side(90.0, 0.0, 5), SAME, 0.5)
    assert found.different
    assert not found.equivalent


@settings(deadline=None, max_examples=40)
@given(
    st.floats(-1.5, 1.5),
    st.one_of(st.none(), st.floats(0.1, 1.5)),
    st.floats(0.1, 1.5),
    st.integers(1, 6),
    st.sampled_from(["same", "once", "per-repetition"]),
)
def test_the_seeds_needed_decide_and_one_fewer_does_not(
    difference: float, std: float | None, printed: float, n: int, draw: str
) -> None:
    test, theirs = Drawn(2000, 10_000, draw), Side(95.0, printed, 5, 2)
    ours = Side(95.0 + difference, None if n == 1 else std or 0.5, n)
    need = assess(ours, theirs, test, 0.5).seeds_needed
    spread = ours.std if ours.std is not None else printed

    def decides(seeds: int) -> bool:
        found = assess(Side(ours.mean, spread, seeds), theirs, test, 0.5)
        return found.equivalent or found.different

    for seeds in (None,) if need is None else (need, need - 1):
        if seeds is None:
            assert not any(decides(k) for k in (max(n, 2), 10, 100, 1000))
        elif seeds == need:
            assert decides(seeds)
        elif seeds >= max(n, 2):
            assert not decides(seeds)


@pytest.fixture
def _no_forecast(monkeypatch: pytest.MonkeyPatch) -> None:
    """The simulations do not ask how many seeds would tell."""
    monkeypatch.setattr(stats, "_seeds_needed", lambda *_: None)


def _simulate(count: int, shift: float, sigma: tuple[float, float], n: tuple[int, int]) -> list[Assessment]:
    """``count`` comparisons of normal samples whose means differ by ``shift``; theirs is rounded as a paper does."""
    rng = np.random.default_rng(20)
    ours = rng.normal(95.0 + shift, sigma[0], (count, n[0]))
    theirs = rng.normal(95.0, sigma[1], (count, n[1]))
    means, stds = theirs.mean(axis=1).round(2), theirs.std(axis=1, ddof=1).round(2)
    return [
        assess(side_of(list(map(float, row))), Side(float(mean), float(std), n[1], 2), SAME, 0.5)
        for row, mean, std in zip(ours, means, stds, strict=True)
    ]


@pytest.mark.usefixtures("_no_forecast")
@pytest.mark.parametrize(("sigma", "n"), [((0.3, 0.3), (5, 5)), ((0.15, 0.6), (5, 5)), ((0.3, 0.3), (5, 3))])
def test_the_interval_covers_the_truth_and_equal_means_seldom_deviate(
    sigma: tuple[float, float], n: tuple[int, int]
) -> None:
    found = _simulate(3000, 0.0, sigma, n)
    coverage = np.mean([a.low <= 0.0 <= a.high for a in found])
    assert 0.88 <= coverage <= 0.94  # nominal 0.90; 3 standard errors are 0.016
    false_alarms = np.mean([a.different for a in found])
    assert 0.02 <= false_alarms <= 0.062  # level 0.05; 3 standard errors are 0.012


@pytest.mark.usefixtures("_no_forecast")
def test_a_difference_at_the_margin_is_seldom_called_reproduced() -> None:
    found = _simulate(3000, 0.5, (0.2, 0.2), (5, 5))
    assert 0.03 <= np.mean([a.equivalent for a in found]) <= 0.062
    assert np.mean([a.different for a in found]) > 0.9


def _accuracies(rng: random.Random, images: list[bool], repetitions: int, size: int) -> list[float]:
    return [100.0 * sum(rng.sample(images, size)) / size for _ in range(repetitions)]


@pytest.mark.usefixtures("_no_forecast")
@pytest.mark.parametrize("draw", ["per-repetition", "once"])
def test_sampling_of_the_test_images_alone_seldom_deviates(draw: str) -> None:
    """The same classifier on test sets drawn from one data set: every difference is chance."""
    rng, alarms, count = random.Random(3), 0, 1500  # noqa: S311
    images = [i < 1900 for i in range(2000)]  # 95 % right
    test = Drawn(400, 2000, draw)
    for _ in range(count):
        if draw == "once":
            noise = [rng.gauss(0, 0.1) for _ in range(10)]
            a, b = (_accuracies(rng, images, 1, 400) * 5 for _ in range(2))
            a, b = (
                [x + y for x, y in zip(a, noise[:5], strict=True)],
                [x + y for x, y in zip(b, noise[5:], strict=True)],
            )
        else:
            a, b = (_accuracies(rng, images, 5, 400) for _ in range(2))
        theirs = side_of(b)
        alarms += assess(side_of(a), Side(theirs.mean, theirs.std, 5, 2), test, 0.5).different
    assert alarms / count <= 0.062

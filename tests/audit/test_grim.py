"""GRIM and GRIMMER against brute force over every count there can be."""

from __future__ import annotations

import time
from fractions import Fraction
from itertools import combinations_with_replacement
from math import isqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipbench.audit.grim import (
    ESTIMATORS,
    Counts,
    Spread,
    mean_roundings,
    nearest,
    representable,
    std_estimators,
    std_informative,
)
from clipbench.registry.decimal import ROUNDINGS, Decimal

COUNTS = st.builds(Counts, st.integers(2, 13), st.integers(2, 4))


def prints_as(variance: Fraction, printed: Decimal, reading: str) -> bool:
    """Whether the root of ``variance`` prints as that number, compared by squares."""
    if reading == "rounded":
        low, high = printed.value - printed.unit / 2, printed.value + printed.unit / 2
        return max(low, Fraction(0)) ** 2 <= variance <= high**2
    return printed.value**2 <= variance < (printed.value + printed.unit) ** 2


def brute_means(printed: Decimal, counts: Counts) -> tuple[str, ...]:
    means = [Fraction(100 * k, counts.items * counts.runs) for k in range(counts.items * counts.runs + 1)]
    return tuple(r for r in ROUNDINGS if any(printed.holds(m, r) for m in means))


def brute_stds(mean: Decimal, std: Decimal, counts: Counts) -> tuple[str, ...]:
    found = set()
    for runs in combinations_with_replacement(range(counts.items + 1), counts.runs):
        values = [Fraction(100 * k, counts.items) for k in runs]
        centre = sum(values, Fraction(0)) / counts.runs
        if not any(mean.holds(centre, r) for r in ROUNDINGS):
            continue
        squares = sum((v - centre) ** 2 for v in values)
        for name, divisor in zip(ESTIMATORS, (counts.runs - 1, counts.runs), strict=True):
            if any(prints_as(squares / divisor, std, r) for r in ROUNDINGS):
                found.add(name)
    return tuple(name for name in ESTIMATORS if name in found)


@settings(deadline=None, max_examples=400)
@given(st.integers(0, 1000), st.integers(0, 1), COUNTS)
def test_means_against_brute_force(digits: int, decimals: int, counts: Counts) -> None:
    printed = Decimal(digits % (100 * 10**decimals + 1), decimals)
    assert mean_roundings(printed, counts) == brute_means(printed, counts)


@settings(deadline=None, max_examples=150)
@given(st.integers(0, 1000), st.integers(0, 400), COUNTS)
def test_standard_deviations_against_brute_force(mean: int, std: int, counts: Counts) -> None:
    printed, spread = Decimal(mean, 1), Decimal(std, 1)
    assert std_estimators(printed, spread, counts) == Spread(brute_stds(printed, spread, counts), ())


@settings(deadline=None, max_examples=150)
@given(st.data(), COUNTS)
def test_numbers_that_were_really_measured_always_pass(data: st.DataObject, counts: Counts) -> None:
    runs = [Fraction(100 * data.draw(st.integers(0, counts.items)), counts.items) for _ in range(counts.runs)]
    centre = sum(runs, Fraction(0)) / counts.runs
    std = (float(sum((v - centre) ** 2 for v in runs)) / (counts.runs - 1)) ** 0.5
    mean = Decimal(round(centre * 100), 2)
    assert "rounded" in mean_roundings(mean, counts)
    assert "sample" in std_estimators(mean, Decimal(round(std * 100), 2), counts).possible


@settings(deadline=None, max_examples=200)
@given(st.integers(1, 4), st.integers(0, 30), st.integers(0, 300), st.integers(1, 9))
def test_sums_of_squares_against_brute_force(numbers: int, total: int, squares: int, most: int) -> None:
    every = combinations_with_replacement(range(most + 1), numbers)
    due = any(sum(k) == total and sum(x * x for x in k) == squares for k in every)
    assert representable(numbers, total, squares, most) == due


@pytest.mark.parametrize(
    ("digits", "due"),
    [(9937, ()), (9954, ()), (9794, ()), (9928, ("cut",)), (9924, ("rounded",)), (9952, ("rounded", "cut"))],
)
def test_ucm_of_lora_clip(digits: int, due: tuple[str, ...]) -> None:
    """420 images, 5 runs, steps of 0.0476."""
    counts = Counts(420, 5)
    assert mean_roundings(Decimal(digits, 2), counts) == due
    assert counts.informative(Decimal(digits, 2))
    below, above = nearest(Decimal(digits, 2), counts)
    assert below <= Decimal(digits, 2).value < above


def test_large_counts_answer_at_once() -> None:
    """NWPU: 28,350 images; a spread of 0.28 is 79 images."""
    assert std_estimators(Decimal(9530, 2), Decimal(28, 2), Counts(28_350, 5)).possible == ("sample", "population")
    assert not Counts(28_350, 5).informative(Decimal(9530, 2))


@pytest.mark.parametrize("rest", range(5))
def test_five_whole_numbers_take_every_sum_of_squares_of_the_right_parity(rest: int) -> None:
    """What the shortcut for counts far from 0 and N rests on: no gap from the least sum of squares on."""
    most = 200
    reached = {(0, 0)}
    for _ in range(5):
        steps = range(-isqrt(most), isqrt(most) + 1)
        reached = {(t + e, q + e * e) for t, q in reached for e in steps if q + e * e <= most}
    assert {q for t, q in reached if t == rest} == set(range(rest, most + 1, 2))


@settings(deadline=None, max_examples=200)
@given(st.data(), st.integers(5, 7), st.integers(3, 8))
def test_more_numbers_against_brute_force(data: st.DataObject, numbers: int, most: int) -> None:
    total = data.draw(st.integers(0, numbers * most))
    squares = data.draw(st.integers(total**2 // numbers, min(total * most, total**2) + 2))
    every = combinations_with_replacement(range(most + 1), numbers)
    due = any(sum(k) == total and sum(x * x for x in k) == squares for k in every)
    assert representable(numbers, total, squares, most) == due


@pytest.mark.parametrize("runs", [30, 100, 1_000, 100_000])
@pytest.mark.parametrize("items", [420, 50_000, 3 * 10**9])
@pytest.mark.parametrize(("mean", "std"), [("97.43", "0.31"), ("99.99", "0.01"), ("50.00", "12.50"), ("0.10", "0.09")])
def test_many_runs_and_large_test_sets_answer_at_once(runs: int, items: int, mean: str, std: str) -> None:
    began = time.monotonic()
    std_estimators(Decimal.read(mean), Decimal.read(std), Counts(items, runs))
    std_informative(Decimal.read(mean), Decimal.read(std), Counts(items, runs))
    assert time.monotonic() - began < 5.0


def test_a_spread_that_no_counts_allow_is_impossible_at_any_size() -> None:
    """Around a mean of 99 %, runs from 0 to 100 % spread by less than 10 points (population): 12 cannot be."""
    for counts in (Counts(420, 30), Counts(3 * 10**9, 1_000)):
        assert std_estimators(Decimal(9900, 2), Decimal(1200, 2), counts) == Spread((), ())


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 2**31), st.sampled_from([30, 100, 300]), st.sampled_from([420, 8_100, 10**6]), st.floats(0.0, 1.0)
)
def test_many_runs_that_were_really_measured_are_never_called_impossible(
    seed: int, runs: int, items: int, right: float
) -> None:
    counts = np.random.default_rng(seed).binomial(items, right, runs)
    percent = 100.0 * counts / items
    mean = Decimal(round(Fraction(100 * 100 * int(counts.sum()), items * runs)), 2)
    for name, ddof in (("sample", 1), ("population", 0)):
        spread = std_estimators(mean, Decimal(round(100 * float(percent.std(ddof=ddof))), 2), Counts(items, runs))
        assert name in (*spread.possible, *spread.open)

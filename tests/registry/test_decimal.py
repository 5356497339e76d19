"""GRIM and GRIMMER against brute force over every count there can be."""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations_with_replacement

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipbench.registry.decimal import (
    ESTIMATORS,
    READINGS,
    Counts,
    Decimal,
    mean_readings,
    nearest,
    representable,
    std_readings,
)

COUNTS = st.builds(Counts, st.integers(2, 13), st.integers(2, 4))


def prints_as(variance: Fraction, printed: Decimal, reading: str) -> bool:
    """Whether the root of ``variance`` prints as that number, compared by squares."""
    if reading == "rounded":
        low, high = printed.value - printed.unit / 2, printed.value + printed.unit / 2
        return max(low, Fraction(0)) ** 2 <= variance <= high**2
    return printed.value**2 <= variance < (printed.value + printed.unit) ** 2


def brute_means(printed: Decimal, counts: Counts) -> tuple[str, ...]:
    means = [Fraction(100 * k, counts.items * counts.runs) for k in range(counts.items * counts.runs + 1)]
    return tuple(r for r in READINGS if any(printed.holds(m, r) for m in means))


def brute_stds(mean: Decimal, std: Decimal, counts: Counts) -> tuple[str, ...]:
    found = set()
    for runs in combinations_with_replacement(range(counts.items + 1), counts.runs):
        values = [Fraction(100 * k, counts.items) for k in runs]
        centre = sum(values, Fraction(0)) / counts.runs
        if not any(mean.holds(centre, r) for r in READINGS):
            continue
        squares = sum((v - centre) ** 2 for v in values)
        for name, divisor in zip(ESTIMATORS, (counts.runs - 1, counts.runs), strict=True):
            if any(prints_as(squares / divisor, std, r) for r in READINGS):
                found.add(name)
    return tuple(name for name in ESTIMATORS if name in found)


@settings(deadline=None, max_examples=400)
@given(st.integers(0, 1000), st.integers(0, 1), COUNTS)
def test_means_against_brute_force(digits: int, decimals: int, counts: Counts) -> None:
    printed = Decimal(digits % (100 * 10**decimals + 1), decimals)
    assert mean_readings(printed, counts) == brute_means(printed, counts)


@settings(deadline=None, max_examples=150)
@given(st.integers(0, 1000), st.integers(0, 400), COUNTS)
def test_standard_deviations_against_brute_force(mean: int, std: int, counts: Counts) -> None:
    printed, spread = Decimal(mean, 1), Decimal(std, 1)
    assert std_readings(printed, spread, counts) == brute_stds(printed, spread, counts)


@settings(deadline=None, max_examples=150)
@given(st.data(), COUNTS)
def test_numbers_that_were_really_measured_always_pass(data: st.DataObject, counts: Counts) -> None:
    runs = [Fraction(100 * data.draw(st.integers(0, counts.items)), counts.items) for _ in range(counts.runs)]
    centre = sum(runs, Fraction(0)) / counts.runs
    std = (float(sum((v - centre) ** 2 for v in runs)) / (counts.runs - 1)) ** 0.5
    mean = Decimal(round(centre * 100), 2)
    assert "rounded" in mean_readings(mean, counts)
    assert "sample" in std_readings(mean, Decimal.of(std, 2), counts)


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
    """PROTOCOLS 7.2: 420 images, 5 runs, steps of 0.0476."""
    counts = Counts(420, 5)
    assert mean_readings(Decimal(digits, 2), counts) == due
    assert counts.informative(Decimal(digits, 2))
    below, above = nearest(Decimal(digits, 2), counts)
    assert below <= Decimal(digits, 2).value < above


def test_large_counts_answer_at_once() -> None:
    """NWPU: 28,350 images; a spread of 0.28 is 79 images."""
    assert std_readings(Decimal(9530, 2), Decimal(28, 2), Counts(28_350, 5)) == ("sample", "population")
    assert not Counts(28_350, 5).informative(Decimal(9530, 2))

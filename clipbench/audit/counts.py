"""GRIM and GRIMMER over printed numbers: which means and standard deviations whole counts can give."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from clipbench.audit.finding import CANNOT, Finding
from clipbench.audit.grim import Counts, Spread, mean_roundings, nearest, std_estimators, std_informative, sums
from clipbench.registry.decimal import CUT, ROUNDED, Decimal
from clipbench.registry.printed import PrintedNumber

_DIVISOR = {"sample": "n - 1 (sample)", "population": "n (population)"}


def check_counts(numbers: Iterable[PrintedNumber]) -> Iterator[Finding]:
    """A finding per printed accuracy that stands for itself, and one per printed standard deviation.

    One more where some standard deviations fit one divisor only and some the other.
    """
    numbers = list(numbers)
    yield from _one_by_one(numbers)
    yield from _divisors(numbers)


def _one_by_one(numbers: Iterable[PrintedNumber]) -> Iterator[Finding]:
    for number in numbers:
        if number.operation or number.value is None:
            continue
        yield _mean(number, number.value)
        if number.std is not None:
            yield _std(number, number.value, number.std)


def _divisors(numbers: Iterable[PrintedNumber]) -> Iterator[Finding]:
    """Standard deviations of one source that cannot all have been formed by the same formula."""
    fits: dict[str, list[PrintedNumber]] = {}
    for number in numbers:
        if number.value is None or number.std is None or number.operation or _unknown(number):
            continue
        spread = std_estimators(number.value, number.std, Counts(number.test_size or 0, number.n or 0))
        if len(spread.possible) == 1 and not spread.open:
            fits.setdefault(spread.possible[0], []).append(number)
    if len(fits) == 2:
        sides = [f"only with {_DIVISOR[name]}: {_places(those)}" for name, those in fits.items()]
        found = "some fit only one divisor, some only the other: not all were formed alike, or not all are right"
        yield Finding("std", "all standard deviations", "±", found, "inconsistent", "; ".join(sides))


def _places(numbers: list[PrintedNumber]) -> str:
    shown = [f"{n.where} ({n.raw})" for n in numbers[:3]]
    more = f" and {len(numbers) - 3} more" if len(numbers) > 3 else ""
    return ", ".join(shown) + more


def _unknown(number: PrintedNumber) -> str:
    """What is lacking, or nothing."""
    if number.test_size is None:
        return number.size_source or "its test-set size is not known"
    return "its number of repetitions is not stated" if number.n is None else ""


def _mean(number: PrintedNumber, printed: Decimal) -> Finding:
    if lack := _unknown(number):
        return Finding("mean", number.where, number.raw, lack, CANNOT, "")
    counts = Counts(number.test_size or 0, number.n or 0)
    if not counts.informative(printed):
        why = "every number of that many decimals is reachable"
        return Finding("mean", number.where, number.raw, why, CANNOT, _steps(counts))
    found, severity = _reached(mean_roundings(printed, counts))
    found += f", {number.note}" if number.note and not number.metric else ""
    arithmetic = f"{_steps(counts)}; {_around(printed, counts)}{_source(number)}{_rests_on(number, severity)}"
    return Finding("mean", number.where, number.raw, found, severity, arithmetic)


def _reached(roundings: tuple[str, ...]) -> tuple[str, str]:
    if ROUNDED in roundings:
        return "reachable", "fine"
    if CUT in roundings:
        return "reachable only if it was cut off instead of rounded", "inconsistent"
    return "no whole number of correct answers gives it, rounded or cut", "impossible"


def _source(number: PrintedNumber) -> str:
    return f" [{number.size_source}]" if number.size_source else ""


def _rests_on(number: PrintedNumber, severity: str) -> str:
    """What must be true for a number to be called impossible."""
    if severity not in ("impossible", "inconsistent"):
        return ""
    return (
        f". This rests on: {number.test_size:,} test images in {_repetitions(number.n or 0)}, "
        "every image counted once as right or wrong, the mean taken over the repetitions with equal weight, none of "
        f"them rounded before{', ' + number.note if number.note else ''}"
    )


def _repetitions(n: int) -> str:
    return "one repetition" if n == 1 else f"each of {n} repetitions"


def _steps(counts: Counts) -> str:
    step = float(counts.step)
    runs = "1 run" if counts.runs == 1 else f"{counts.runs} runs"
    return f"{runs} of {counts.items:,} test images: means move in steps of {step:.4f}"


def _around(printed: Decimal, counts: Counts) -> str:
    total = counts.items * counts.runs
    shown = []
    for value in nearest(printed, counts):
        if value <= 100:
            shown.append(f"{round(value * total / 100):,}/{total:,} = {float(value):.4f}")
    return ", ".join(shown)


def _std(number: PrintedNumber, mean: Decimal, std: Decimal) -> Finding:
    shown = number.raw if "±" in number.raw else f"{mean} ± {std}"
    if lack := _unknown(number):
        return Finding("std", number.where, shown, lack, CANNOT, "")
    counts = Counts(number.test_size or 0, number.n or 0)
    if counts.runs < 2:
        return Finding("std", number.where, shown, "one repetition has no standard deviation", "inconsistent", "n = 1")
    if not mean_roundings(mean, counts):
        return Finding("std", number.where, shown, "its mean is not reachable, so no counts can be tried", CANNOT, "")
    if not std_informative(mean, std, counts) and std_estimators(mean, std, counts).possible:
        why = "every standard deviation of that many decimals is reachable"
        return Finding("std", number.where, shown, why, CANNOT, _image(counts))
    found, severity = _spread(std_estimators(mean, std, counts))
    rests_on = _rests_on(number, severity) and f"{_rests_on(number, severity)}, and a standard deviation behind the ±"
    arithmetic = _tried(mean, std, counts) + rests_on
    return Finding("std", number.where, shown, found, severity, arithmetic)


def _spread(spread: Spread) -> tuple[str, str]:
    if not spread.possible and not spread.open:
        return "no counts give this mean and this spread, with n - 1 or with n", "impossible"
    if not spread.possible:
        return "too many counts are possible to try them all", CANNOT
    if len(spread.possible) == 1 and not spread.open:
        return f"reachable only when divided by {_DIVISOR[spread.possible[0]]}", "fine"
    return (
        f"reachable, divided by {' or by '.join(_DIVISOR[name].partition(' (')[0] for name in spread.possible)}",
        "fine",
    )


def _image(counts: Counts) -> str:
    return f"one image is {100 / counts.items:.4f} points"


def _tried(mean: Decimal, std: Decimal, counts: Counts) -> str:
    totals = [sums(mean, counts, rounding) for rounding in mean_roundings(mean, counts)]
    low, high = min(t[0] for t in totals), max(t[-1] for t in totals)
    span = f"{low:,}" if low == high else f"{low:,} to {high:,}"
    images = float(std.value) * counts.items / 100
    return f"{_image(counts)}; {span} correct in {counts.runs} runs; a spread of {std} is {images:.2f} images"

"""Averages and differences, computed again from the printed parts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction

from clipbench.audit.finding import CANNOT, Finding
from clipbench.registry.decimal import CUT, ROUNDED, Decimal
from clipbench.registry.printed import Key, PrintedNumber


def check_sums(numbers: Mapping[Key, PrintedNumber]) -> Iterator[Finding]:
    """One finding per printed average or difference."""
    for number in numbers.values():
        if number.operation and number.value is not None:
            yield _finding(number, number.value, [numbers.get(key) for key in number.parts])


def _finding(number: PrintedNumber, printed: Decimal, parts: Sequence[PrintedNumber | None]) -> Finding:
    values = [part.value for part in parts if part is not None and part.value is not None]
    if len(values) < len(parts):
        missing = f"{len(parts) - len(values)} of its {len(parts)} parts are not printed"
        return Finding("average", number.where, number.raw, missing, CANNOT, "")
    exact, slack = combined(number.operation, values)
    found, severity = _judged(printed, exact, slack)
    if severity != "fine" and number.operation == "average" and _re_adds_weighted(printed, parts):
        found, severity = "re-adds only if every part counts by its number of test images", "fine"
    return Finding("average", number.where, number.raw, found, severity, _arithmetic(number.operation, values, exact))


def _re_adds_weighted(printed: Decimal, parts: Sequence[PrintedNumber | None]) -> bool:
    """Whether the mean over all test images together prints as this number."""
    weighted = [(part.value, part.test_size) for part in parts if part and part.value and part.test_size]
    images = sum(size for _, size in weighted)
    exact = sum((value.value * size for value, size in weighted), Fraction(0)) / (images or 1)
    slack = sum((value.unit * size for value, size in weighted), Fraction(0)) / 2 / (images or 1)
    return len(weighted) == len(parts) and _judged(printed, exact, slack)[1] == "fine"


def combined(operation: str, values: Sequence[Decimal]) -> tuple[Fraction, Fraction]:
    """The result for the printed parts, and how far unrounded parts could move it."""
    if operation == "difference":
        return values[0].value - values[1].value, (values[0].unit + values[1].unit) / 2
    count = len(values)
    return sum((v.value for v in values), Fraction(0)) / count, sum((v.unit for v in values), Fraction(0)) / 2 / count


def re_adds(operation: str, printed: Decimal, values: Sequence[Decimal]) -> bool:
    """Whether the printed parts, or unrounded ones behind them, give the printed result."""
    return _judged(printed, *combined(operation, values))[1] == "fine"


def _judged(printed: Decimal, exact: Fraction, slack: Fraction) -> tuple[str, str]:
    if printed.holds(exact, ROUNDED):
        return "re-adds from the printed parts", "fine"
    if abs(exact - printed.value) <= printed.unit / 2 + slack:
        return "re-adds only if it was formed from unrounded parts", "fine"
    if printed.holds(exact, CUT):
        return "re-adds only if it was cut off instead of rounded", "inconsistent"
    return f"does not re-add: the parts give {float(exact):.{printed.decimals + 1}f}", "inconsistent"


def _arithmetic(operation: str, values: Sequence[Decimal], exact: Fraction) -> str:
    sign = " - " if operation == "difference" else " + "
    shown = sign.join(f"({v})" if v.digits < 0 else str(v) for v in values)
    return (
        f"{shown} = {float(exact):.4f}"
        if operation == "difference"
        else f"({shown}) / {len(values)} = {float(exact):.4f}"
    )

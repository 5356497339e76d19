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
    return Finding("average", number.where, number.raw, found, severity, _arithmetic(number.operation, values, exact))


def combined(operation: str, values: Sequence[Decimal]) -> tuple[Fraction, Fraction]:
    """The result for the printed parts, and how far unrounded parts could move it."""
    if operation == "difference":
        return values[0].value - values[1].value, (values[0].unit + values[1].unit) / 2
    count = len(values)
    return sum((v.value for v in values), Fraction(0)) / count, sum((v.unit for v in values), Fraction(0)) / 2 / count


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

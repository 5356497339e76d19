"""The same quantity printed twice: both must print the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from clipbench.audit.finding import Finding
from clipbench.registry.printed import PrintedNumber


def check_repeats(numbers: Iterable[PrintedNumber]) -> Iterator[Finding]:
    """A finding for every number that repeats an earlier one."""
    first: dict[str, PrintedNumber] = {}
    for number in numbers:
        if not number.same_as or number.value is None:
            continue
        earlier = first.setdefault(number.same_as, number)
        if earlier is not number:
            yield _finding(earlier, number)


def _finding(earlier: PrintedNumber, later: PrintedNumber) -> Finding:
    where = f"{earlier.where} and {later.where}"
    printed = f"{earlier.raw} and {later.raw}"
    same = _agree(earlier, later)
    found = "the same protocol, the same number" if same else "the same protocol, another number"
    return Finding("repeat", where, printed, found, "fine" if same else "inconsistent", f"{printed}")


def _agree(a: PrintedNumber, b: PrintedNumber) -> bool:
    """Equal values (to the decimals that both print) and, where both print one, equal standard deviations."""
    if a.value is None or b.value is None:
        return True
    coarser = max(a.value.unit, b.value.unit)
    close = abs(a.value.value - b.value.value) * 2 <= (coarser if a.value.unit != b.value.unit else 0)
    return close and (a.std is None or b.std is None or a.std.value == b.std.value)

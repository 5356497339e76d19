"""The records of an output folder, as every command reads them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from clipbench.results.folder import results_of
from clipbench.results.record import Record
from clipbench.results.store import Fault, Store


def records_of(out: Path) -> list[Record]:
    """The records of an output folder, or of a results folder named directly. Raises ``UserError`` where none is."""
    records, faults = Store(results_of(out)).scan()
    report(faults)
    return records


def report(faults: Sequence[Fault]) -> None:
    """Name the directories that are no trustworthy records, beside the output so that JSON and CSV stay whole."""
    for fault in faults:
        print(
            f"not used: {fault}. It is left as it is; `clipbench run` makes the record again.",
            file=sys.stderr,
        )

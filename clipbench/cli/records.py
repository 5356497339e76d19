"""The records of an output folder, as every command reads them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from clipbench.errors import UserError
from clipbench.files import reason
from clipbench.results.record import Record
from clipbench.results.store import Fault, Store


def records_of(out: Path) -> list[Record]:
    """The records of an output folder, or of a results folder named directly. Raises ``UserError`` where none is."""
    records, faults = Store(results_of(out)).scan()
    report(faults)
    return records


def results_of(out: Path) -> Path:
    """``out/results``, or the folder itself where it is one of results."""
    try:
        found = out.is_dir()
    except OSError as error:
        raise UserError(f"--out {str(out)[:80]}... cannot be: {reason(error)}.") from error
    if not found:
        raise UserError(f"there is no folder {out}; name the folder that holds results/.")
    return out if not (out / "results").is_dir() and any(out.glob("*/record.json")) else out / "results"


def report(faults: Sequence[Fault]) -> None:
    """Name the directories that are no trustworthy records, beside the output so that JSON and CSV stay whole."""
    for fault in faults:
        print(
            f"not used: {fault.path}: {fault.reason}. It is left as it is; `clipbench run` makes the record again.",
            file=sys.stderr,
        )

"""Results folders put together, so that several places can share the work without a shared disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from clipbench.errors import UserError
from clipbench.results.record import Record
from clipbench.results.store import Draft, Fault, Store

_WHEN_AND_WHERE = ("finished", "environment", "cost", "history")
"""What may differ between two makings of the same run: seconds, memory, machine, date."""


@dataclass
class Merged:
    """What became of the records: run ids taken, those that were there alike, those that differ, and bad folders.

    ``empty`` are sources without any record, good or bad: most often a slip in a name.
    """

    taken: list[str] = field(default_factory=list)
    alike: list[str] = field(default_factory=list)
    differ: dict[str, str] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    empty: list[Path] = field(default_factory=list)


def merge(into: Path, sources: Sequence[Path]) -> Merged:
    """Copy every record of ``sources`` into the results folder ``into``; what is there stays as it is.

    A record counts as alike where its numbers and files are; of two that differ, the one that is there stays, and the
    other is reported. Raises ``UserError`` for a folder that is not there or is ``into`` itself.
    """
    target, found = Store(into), Merged()
    for source in sources:
        if not source.is_dir():
            raise UserError(f"{source} is no folder; `clipbench merge DIR... --out DIR` takes folders with results/.")
        if source.resolve() == into.resolve():
            raise UserError(f"{source} is the folder that is merged into; name the others only.")
        records, faults = Store(source).scan()
        found.faults += faults
        if not records and not faults:
            found.empty.append(source)
        for record in records:
            _take(target, source, record, found)
    return found


def _take(target: Store, source: Path, record: Record, found: Merged) -> None:
    there = target.get(record.id)
    if there is not None:
        reason = _difference(there, record)
        if reason:
            found.differ[record.id] = f"{source}: {reason}"
        else:
            found.alike.append(record.id)
        return
    files = {name: (source / record.id / name).read_bytes() for name in record.files}
    target.publish([Draft(record, files)])
    found.taken.append(record.id)


def _difference(a: Record, b: Record) -> str:
    """How two records of one run differ in what they measured; empty where they do not."""
    first, second = a.to_json(), b.to_json()
    for name in first:
        if name in _WHEN_AND_WHERE or first[name] == second[name]:
            continue
        if name == "metrics":
            return "; ".join(
                f"{metric} {value} here, {b.metrics.get(metric)} there"
                for metric, value in a.metrics.items()
                if b.metrics.get(metric) != value
            )
        return f"its {name} is another"
    return ""

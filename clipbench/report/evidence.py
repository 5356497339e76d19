"""What stands behind one compared cell: its runs, and the protocol of them with the basis of every field."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from clipbench.compare.verdict import Comparison
from clipbench.errors import UserError
from clipbench.plan.target_domains import cell_of
from clipbench.registry import Cell, Overrides, Paper, Protocol, Resolved, Table, resolve
from clipbench.registry.protocol import field_of
from clipbench.results.metrics import METRICS
from clipbench.results.record import Record


@dataclass(frozen=True)
class FieldLine:
    """A protocol field: its value, the basis (stated, code, assumed, profile, override), its source and its meaning."""

    name: str
    value: str
    basis: str
    source: str
    meaning: str


@dataclass(frozen=True)
class RunLine:
    """A run as the page shows it."""

    id: str
    seed: int
    domain: str
    number: str
    record: Record


@dataclass(frozen=True)
class Evidence:
    """The runs of a cell, and the protocols behind them: one, or for an average one of each part."""

    runs: Sequence[RunLine]
    protocols: Sequence[tuple[str, Sequence[FieldLine]]]


def evidence(paper: Paper, table: Table, compared: Comparison) -> Evidence:
    """The runs that a cell's number is made of, lowest seed first."""
    records = compared.measured.records if compared.measured else ()
    read = METRICS[table.metric_of(compared.cell)].read
    runs = [
        RunLine(r.id, r.seed, _domain(r), f"{read(r):.2f}", r)
        for r in sorted(records, key=lambda r: (r.seed, _domain(r), r.id))
    ]
    by_digest = {cell_of(r.protocol).digest: r for r in records}
    parts = table.parts(compared.cell) if compared.cell.derived else [compared.cell]
    return Evidence(runs, [_protocol(paper, table, parts, record) for record in by_digest.values()])


def _domain(record: Record) -> str:
    """The target domain; empty where there is none."""
    return "" if record.protocol.test_domain is None else record.protocol.test_domain


def shared_fields(paper: Paper, table: Table, cells: Sequence[Cell]) -> Sequence[FieldLine]:
    """The protocol fields that every one of the cells has alike, as the paper's protocol sets them."""
    resolved = [resolve(paper, table, cell) for cell in cells]
    if not resolved:
        return ()
    first, *others = (r.protocol.as_dict() for r in resolved)
    alike = {name for name, value in first.items() if all(o.get(name) == value for o in others)}
    return [line for line in _lines(resolved[0].protocol, resolved[0]) if line.name in alike]


def _protocol(paper: Paper, table: Table, parts: Sequence[Cell], record: Record) -> tuple[str, Sequence[FieldLine]]:
    """The protocol that a record was made by; its bases come from the cell that resolves to it."""
    protocol = cell_of(record.protocol)
    origin = record.origin
    overrides = Overrides(protocol.need("profile"), dict(origin.assume), dict(origin.overrides))
    matching = next((r for r in _resolved(paper, table, parts, overrides) if r.protocol == protocol), None)
    return f"{origin.experiment}, {origin.row}, {origin.column}", list(_lines(protocol, matching))


def _resolved(paper: Paper, table: Table, parts: Sequence[Cell], overrides: Overrides) -> Iterator[Resolved]:
    for cell in parts:
        try:
            yield resolve(paper, table, cell, overrides)
        except UserError:  # an older record: a choice or field that the registry no longer has
            continue


def _lines(protocol: Protocol, resolved: Resolved | None) -> Iterator[FieldLine]:
    basis: Mapping[str, tuple[str, str]] = (
        {name: (b.kind, b.source) for name, b in resolved.basis.items()} if resolved else {}
    )
    for name, value in protocol.as_dict().items():
        kind, source = basis.get(name, ("recorded", "the record; no cell resolves to it any more"))
        yield FieldLine(name, str(value), kind, source, field_of(name, protocol.method).meaning)

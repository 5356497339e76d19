"""``clipbench show TABLE``: rows, columns, runs and printed numbers; ``--protocol`` for every field's basis."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from typing import Any

from clipbench.cli.output import show
from clipbench.errors import UserError
from clipbench.plan.runnable import missing_reason
from clipbench.plan.select import cells_of, place_of, repeatable, runnable_cells, source_of
from clipbench.plan.target_domains import domains_of, runs_of
from clipbench.registry import Cell, Overrides, Paper, Protocol, Resolved, Run, Table, find, resolve
from clipbench.registry.printed import PrintedNumber, load_published
from clipbench.registry.protocol import field_of
from clipbench.registry.resolve import assumptions_in_use, seeds_of
from clipbench.report.terminal import grid, text_table, wrapped


def main(arguments: argparse.Namespace) -> int:
    """Print one table; several that match are printed one after the other."""
    overrides = Overrides(profile="smoke" if arguments.smoke else "full")
    shown = [_describe(paper, table, overrides) for paper, table in find(arguments.tables)]
    if arguments.format == "json":
        print(json.dumps(shown if len(shown) > 1 else shown[0], indent=1, ensure_ascii=False))
        return 0
    found = find(arguments.tables)
    show("\n".join(line for named in found for line in _text(*named, overrides, protocol=arguments.protocol)))
    return 0


def _text(paper: Paper, table: Table, overrides: Overrides, *, protocol: bool) -> Iterator[str]:
    yield wrapped(f"{table.id}: {place_of(paper, table)}, {table.title}")
    yield wrapped(f"{paper.title} ({paper.reference})") + "\n"
    if table.panels:
        panels = [(p.title, ", ".join(p.columns), ", ".join(p.rows)) for p in table.panels]
        yield text_table(("panel", "columns", "rows"), panels)
        yield f"\ndrawn from the runs of {source_of(paper, table).id}"
    else:
        yield _numbers(table, load_published(paper))
    source = source_of(paper, table)
    seeds = seeds_of(paper, source, overrides)
    cells = cells_of(table, source)
    runs = sum(len(runs_of(resolve(paper, source, cell, overrides).protocol)) for cell in cells)
    each = f", once for each target domain: {runs * len(seeds)} runs" if runs > len(cells) else ""
    per_cell = f"{len(seeds)} seed{'s' * (len(seeds) != 1)} each ({', '.join(map(str, seeds))})"
    yield f"\n{len(cells)} cells to run, {per_cell}{each}"
    if table.notes:
        yield f"\n{wrapped(' '.join(table.notes.split()), further='')}"
    yield from _gaps(paper, source)
    if protocol:
        yield from _protocol(paper, source, overrides)
    else:
        yield "\n" + wrapped("--protocol shows every field of the protocol and where it comes from")


def _numbers(table: Table, printed: Mapping[tuple[str, str, str], PrintedNumber]) -> str:
    """The printed numbers, raw, in the paper's rows and columns."""
    rows = []
    group = None
    for row in table.rows:
        if row.group != group and row.group:
            rows.append([f"[{row.group}]", *[""] * (len(table.columns) + 1)])
        group = row.group
        entries = [printed.get((table.name, row.id, column.id)) for column in table.columns]
        rows.append([row.printed, row.id, *(e.raw if e else "" for e in entries)])
    return grid(["printed as", "row\n(--only)", *(f"{c.full_name}\n{c.id}" for c in table.columns)], rows, names=2)


def _gaps(paper: Paper, table: Table) -> Iterator[str]:
    """Rows that are quoted, and rows that cannot run yet, each with the reason."""
    for row in table.rows:
        cells = [Cell(row, column) for column in table.columns if not column.derived and not column.quoted]
        if row.quoted:
            reason = missing_reason(paper, table, cells[0]) if cells and row.recipe else None
            ours = "; we can run it too" if cells and repeatable(table, cells[0]) else f"; {reason}" if reason else ""
            source = paper.references.get(row.quoted, f"[{row.quoted}]")
            yield wrapped(f"{row.printed}: quoted from {source}{ours}", "  ")
        elif not row.derived and cells and (reason := missing_reason(paper, table, cells[0])):
            yield wrapped(f"{row.printed}: not runnable yet, {reason}", "  ")


def _protocol(paper: Paper, table: Table, overrides: Overrides) -> Iterator[str]:
    """Fields that all cells share once, then what each row, each column and each single cell adds."""
    resolved = {cell: resolve(paper, table, cell, overrides) for cell in runnable_cells(table)}
    if not resolved:
        return
    names = list(dict.fromkeys(name for r in resolved.values() for name in r.protocol.as_dict()))
    shared = [n for n in names if len({_value(r, n) for r in resolved.values()}) == 1]
    first = next(iter(resolved.values()))
    rows = [
        (n, _value(first, n), first.basis[n].kind, first.basis[n].source, field_of(n, first.protocol.method).meaning)
        for n in shared
    ]
    yield f"\nthe same in every cell\n\n{text_table(('field', 'value', 'basis', 'source', 'meaning'), rows)}"
    rest = [n for n in names if n not in shared]
    for axis in ("row", "column"):
        constant = [n for n in rest if _constant(resolved, axis, n)]
        rest = [n for n in rest if n not in constant]
        yield from _differing(resolved, axis, constant)
    for name in rest:
        values = ", ".join(f"{c.row.id}/{c.column.id}: {_value(r, name)}" for c, r in resolved.items())
        yield "\n" + wrapped(f"{name} differs from cell to cell: {values}")
    yield from _assumptions(paper, table)


def _value(resolved: Resolved, name: str) -> str:
    value = resolved.protocol.get(name)
    return "-" if value is None else str(value)


def _constant(resolved: Mapping[Cell, Resolved], axis: str, name: str) -> bool:
    """Whether the field has one value along each row (or column)."""
    seen: dict[str, set[str]] = {}
    for cell, r in resolved.items():
        seen.setdefault(getattr(cell, axis).id, set()).add(_value(r, name))
    return all(len(values) == 1 for values in seen.values())


def _differing(resolved: Mapping[Cell, Resolved], axis: str, names: list[str]) -> Iterator[str]:
    """One line per row (or column): what it sets, and by what right."""
    if not names:
        return
    by_axis = {getattr(cell, axis).id: r for cell, r in resolved.items()}
    yield f"\nby {axis}\n"
    for name, r in by_axis.items():
        kinds: dict[str, list[str]] = {}
        for field in names:
            if field in r.basis:
                kinds.setdefault(r.basis[field].kind, []).append(f"{field}={_value(r, field)}")
        shown = "; ".join(f"{', '.join(fields)} ({kind})" for kind, fields in kinds.items())
        yield wrapped(f"{name}: {shown}", "  ", "    ")


def _assumptions(paper: Paper, table: Table) -> Iterator[str]:
    yield "\nassumptions (--assume id=choice)\n"
    for name in sorted(assumptions_in_use(paper, table)):
        a = paper.assumptions[name]
        yield wrapped(f"{name}: {a.question}", "  ")
        for choice, r in a.choices.items():
            taken = " (taken)" if choice == a.take else ""
            missing = f" (cannot run yet: {r.missing})" if r.missing else ""
            yield wrapped(f"{choice}{taken}: {r.means}{missing}", "      ")
        yield wrapped(f"why: {' '.join(a.why.split())}", "      ")


def _describe(paper: Paper, table: Table, overrides: Overrides) -> dict[str, Any]:
    """Everything of one table as plain values."""
    source = source_of(paper, table)
    printed = load_published(paper)
    cells, own = [], runnable_cells(source)
    for cell in source.cells():
        entry = printed.get((source.name, cell.row.id, cell.column.id))
        described: dict[str, Any] = {"row": cell.row.id, "column": cell.column.id}
        if entry:
            described |= {
                "raw": entry.raw,
                "value": None if entry.value is None else float(entry.value),
                "std": None if entry.std is None else float(entry.std),
                "n": entry.n,
                "provenance": entry.provenance,
            }
        if cell in own:
            described |= _plan(paper, source, cell, overrides)
        cells.append(described)
    return {
        "table": table.id,
        "paper": paper.title,
        "printed_as": table.printed,
        "title": table.title,
        "aliases": list(table.aliases),
        "source": source.id,
        "panels": [{"title": p.title, "rows": list(p.rows), "columns": list(p.columns)} for p in table.panels],
        "cells": cells,
    }


def _plan(paper: Paper, table: Table, cell: Cell, overrides: Overrides) -> dict[str, Any]:
    try:
        resolved = resolve(paper, table, cell, overrides)
    except UserError as error:
        return {"not_runnable": str(error)}
    fields = {
        name: {"value": value, "basis": resolved.basis[name].kind, "source": resolved.basis[name].source}
        for name, value in resolved.protocol.as_dict().items()
    }
    runs = {seed: _ids(resolved.protocol, seed) for seed in seeds_of(paper, table, overrides, resolved.protocol)}
    return {"protocol": fields, "runs": runs, "not_runnable": missing_reason(paper, table, cell)}


def _ids(protocol: Protocol, seed: int) -> str | dict[str, str]:
    """The run of a cell and seed, or its runs by held-out domain."""
    if not domains_of(protocol):
        return Run(protocol, seed).id
    return {p.need("test_domain"): Run(p, seed).id for p in runs_of(protocol)}

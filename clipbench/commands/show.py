"""``clipbench show EXPERIMENT``: rows, columns, runs and printed numbers; ``--protocol`` for every field's standing."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from typing import Any

from tabulate import tabulate

from clipbench.errors import UserError
from clipbench.measured import missing_reason
from clipbench.plan import source_of
from clipbench.published import Published, load_published
from clipbench.spec import Cell, Experiment, Overrides, Paper, Run, find, resolve
from clipbench.spec.protocol import DOCS
from clipbench.spec.resolve import assumptions_in_use, seeds_of


def main(arguments: argparse.Namespace) -> int:
    """Print one experiment; several that match are printed one after the other."""
    overrides = Overrides(profile="smoke" if arguments.smoke else "full")
    shown = [_describe(paper, experiment, overrides) for paper, experiment in find(arguments.experiments)]
    if arguments.json:
        print(json.dumps(shown if len(shown) > 1 else shown[0], indent=1, ensure_ascii=False))
        return 0
    for paper, experiment in find(arguments.experiments):
        _print(paper, experiment, overrides, protocol=arguments.protocol)
    return 0


def _print(paper: Paper, experiment: Experiment, overrides: Overrides, *, protocol: bool) -> None:
    print(f"{experiment.id}: {experiment.printed} of {paper.short}, {experiment.title}")
    print(f"{paper.title} ({paper.reference})\n")
    if experiment.panels:
        panels = [(p.title, ", ".join(p.columns), ", ".join(p.rows)) for p in experiment.panels]
        print(tabulate(panels, headers=("panel", "columns", "rows")))
        print(f"\ndrawn from the runs of {source_of(paper, experiment).id}")
    else:
        print(_numbers(experiment, load_published(paper)))
    source = source_of(paper, experiment)
    seeds = seeds_of(paper, source, overrides)
    cells = [c for c in source.cells() if not c.quoted and not c.derived]
    print(f"\n{len(cells)} cells to run, {len(seeds)} seeds each ({', '.join(map(str, seeds))})")
    if experiment.notes:
        print(f"\n{' '.join(experiment.notes.split())}")
    _print_gaps(paper, source)
    if protocol:
        _print_protocol(paper, source, overrides)
    else:
        print("\n--protocol shows every field of the protocol and where it comes from")


def _numbers(experiment: Experiment, printed: Mapping[tuple[str, str, str], Published]) -> str:
    """The printed numbers, raw, in the paper's rows and columns."""
    rows = []
    group = None
    for row in experiment.rows:
        if row.group != group and row.group:
            rows.append([f"[{row.group}]"])
        group = row.group
        entries = [printed.get((experiment.name, row.id, column.id)) for column in experiment.columns]
        rows.append([row.id, row.printed, *(e.raw if e else "" for e in entries)])
    return tabulate(rows, headers=["row", "printed as", *(c.id for c in experiment.columns)], disable_numparse=True)


def _print_gaps(paper: Paper, experiment: Experiment) -> None:
    """Rows that are quoted, and rows that cannot run yet, each with the reason."""
    for row in experiment.rows:
        cells = [Cell(row, column) for column in experiment.columns if not column.derived and not column.quoted]
        if row.quoted:
            print(f"  {row.id}: quoted from {paper.references.get(row.quoted, f'[{row.quoted}]')}")
        elif not row.derived and cells and (reason := missing_reason(paper, experiment, cells[0])):
            print(f"  {row.id}: not runnable yet, {reason}")


def _print_protocol(paper: Paper, experiment: Experiment, overrides: Overrides) -> None:
    """Fields that all cells share once, then what each row and column changes."""
    resolved = [(cell, resolve(paper, experiment, cell, overrides)) for cell in _own_cells(experiment)]
    if not resolved:
        return
    first = resolved[0][1]
    names = {name: None for _, r in resolved for name in r.protocol.as_dict()}
    shared, varying = [], []
    for name in names:
        values = {json.dumps(r.protocol.as_dict().get(name)) for _, r in resolved}
        if len(values) == 1:
            standing = first.standing[name]
            shared.append((name, first.protocol.as_dict()[name], standing.kind, standing.source, DOCS[name]))
        else:
            varying.append(name)
    print("\nthe same in every cell\n")
    print(
        tabulate(
            shared,
            headers=("field", "value", "standing", "source", "meaning"),
            disable_numparse=True,
            maxcolwidths=[None, 24, None, 60, 50],
        )
    )
    print("\nwhat differs\n")
    rows = [
        _varying(cell, r.protocol.as_dict(), {n: f"{s.kind}: {s.source}" for n, s in r.standing.items()}, varying)
        for cell, r in resolved
    ]
    print(
        tabulate(sorted(set(rows), key=rows.index), headers=("row", "column", "fields"), maxcolwidths=[None, None, 110])
    )
    print("\nassumptions (--assume id=reading)\n")
    for name in sorted(assumptions_in_use(paper, experiment)):
        a = paper.assumptions[name]
        readings = ", ".join(
            f"{r}{' (taken)' if r == a.take else ''}{' (cannot run yet)' if x.missing else ''}"
            for r, x in a.readings.items()
        )
        print(f"  {name}: {a.question}\n      {readings}\n      {' '.join(a.why.split())}")


def _varying(
    cell: Cell, values: Mapping[str, Any], standing: Mapping[str, str], names: list[str]
) -> tuple[str, str, str]:
    shown = "; ".join(f"{n} = {values[n]} ({standing[n].partition(':')[0]})" for n in names if n in values)
    return cell.row.id, cell.column.id, shown


def _own_cells(experiment: Experiment) -> list[Cell]:
    return [cell for cell in experiment.cells() if not cell.quoted and not cell.derived]


def _describe(paper: Paper, experiment: Experiment, overrides: Overrides) -> dict[str, Any]:
    """Everything of one experiment as plain values."""
    source = source_of(paper, experiment)
    printed = load_published(paper)
    cells = []
    for cell in source.cells():
        entry = printed.get((source.name, cell.row.id, cell.column.id))
        described: dict[str, Any] = {"row": cell.row.id, "column": cell.column.id}
        if entry:
            described |= {
                "raw": entry.raw,
                "value": entry.value,
                "std": entry.std,
                "n": entry.n,
                "provenance": entry.provenance,
            }
        if not cell.quoted and not cell.derived:
            described |= _plan(paper, source, cell, overrides)
        cells.append(described)
    return {
        "experiment": experiment.id,
        "paper": paper.title,
        "printed_as": experiment.printed,
        "title": experiment.title,
        "aliases": list(experiment.aliases),
        "source": source.id,
        "panels": [{"title": p.title, "rows": list(p.rows), "columns": list(p.columns)} for p in experiment.panels],
        "cells": cells,
    }


def _plan(paper: Paper, experiment: Experiment, cell: Cell, overrides: Overrides) -> dict[str, Any]:
    try:
        resolved = resolve(paper, experiment, cell, overrides)
    except UserError as error:
        return {"not_runnable": str(error)}
    fields = {
        name: {"value": value, "standing": resolved.standing[name].kind, "source": resolved.standing[name].source}
        for name, value in resolved.protocol.as_dict().items()
    }
    runs = {seed: Run(resolved.protocol, seed).id for seed in seeds_of(paper, experiment, overrides)}
    return {"protocol": fields, "runs": runs, "not_runnable": missing_reason(paper, experiment, cell)}

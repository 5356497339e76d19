"""One printed table with the measured numbers beside the printed ones; CSV and JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from clipbench.compare.verdict import COMPARED, Comparison
from clipbench.registry import Axis, Paper
from clipbench.registry import Table as PrintedTable
from clipbench.registry.decimal import Decimal
from clipbench.registry.printed import PrintedNumber
from clipbench.report.by_domain import as_values as domain_values
from clipbench.report.by_domain import domain_sides
from clipbench.report.numbers import decimals_of, difference_text, measured_text
from clipbench.report.provenance import Provenance, provenance_of
from clipbench.results.metrics import METRICS
from clipbench.results.record import Record

JUDGED = (*COMPARED, "incomplete")
"""Verdicts beside which a table says the difference."""


@dataclass(frozen=True)
class Line:
    """One line of a table: its row, ``printed``, ``measured`` or ``verdict``, its cells, and which of them are bold."""

    row: Axis
    kind: str
    cells: Sequence[str]
    bold: set[int]


@dataclass(frozen=True)
class Table:
    """An experiment's printed numbers, and its cells compared."""

    paper: Paper
    experiment: PrintedTable
    printed: Mapping[tuple[str, str, str], PrintedNumber]
    cells: Sequence[Comparison]

    @property
    def provenance(self) -> Provenance:
        """The runs behind the measured cells."""
        return provenance_of(r for c in self.cells if c.measured for r in c.measured.records)

    @property
    def measured(self) -> bool:
        """Whether any cell holds a measured number."""
        return any(c.measured and c.measured.records for c in self.cells)

    def lines(self) -> Iterator[Line]:
        """For each row the printed numbers, then (where there are any) the measured ones, differences and verdicts."""
        by_cell = {(c.cell.row.id, c.cell.column.id): c for c in self.cells}
        raw = {(row, column): p.raw for (name, row, column), p in self.printed.items() if name == self.experiment.name}
        best = {kind: self._best(kind) for kind in ("printed", "measured")}
        columns = self.experiment.columns
        for row in self.experiment.rows:
            cells = [by_cell.get((row.id, column.id)) for column in columns]
            bold = {
                kind: {at for at, c in enumerate(columns) if (row.id, c.id) in found} for kind, found in best.items()
            }
            if not row.extra:
                yield Line(row, "printed", [raw.get((row.id, c.id), "") for c in columns], bold["printed"])
            if any(c and c.measured for c in cells):
                yield Line(row, "measured", [measured_text(c) if c else "" for c in cells], bold["measured"])
            if any(c and c.verdict in JUDGED for c in cells):
                yield Line(row, "verdict", [_judgement(c) if c else "" for c in cells], set())

    def _best(self, kind: str) -> set[tuple[str, str]]:
        """The cells with the best number of their column within their group of rows, as papers print them bold.

        Where the rows are data sets and the columns methods, that of their row. Counts of parameters have no best.
        """
        by_row = any(row.dataset_name or "dataset" in row.set for row in self.experiment.rows)
        rivals: dict[tuple[str, str], list[tuple[float, tuple[str, str]]]] = {}
        for c in self.cells:
            row, column = c.cell.row, c.cell.column
            value = _number(c, kind)
            metric = METRICS.get(self.experiment.metric_of(c.cell))
            if value is None or metric is None or metric.exact or row.difference_of or column.difference_of:
                continue
            rivals.setdefault((row.id, "") if by_row else (row.group or "", column.id), []).append(
                (value, (row.id, column.id))
            )
        return {
            place
            for found in rivals.values()
            if len(found) > 1
            for value, place in found
            if value == max(number for number, _ in found)
        }


def _number(c: Comparison, kind: str) -> float | None:
    """The number as the table shows it: two that print alike are equally good."""
    if kind == "printed":
        return float(c.published.value) if c.published and c.published.value is not None else None
    return round(c.ours.mean, decimals_of(c)) if c.ours else None


def _judgement(c: Comparison) -> str:
    return f"{difference_text(c)} {c.verdict}" if c.verdict in JUDGED else ""


def csv(table: Table, *, by_domain: bool = False) -> str:
    """One line per cell, printed and measured, with the verdict; behind it one per target domain, if asked for."""
    rows: list[dict[str, Any]] = []
    for c in table.cells:
        rows.append(_csv_line(c) | ({"domain": ""} if by_domain else {}))
        for domain, side in domain_sides(c).items() if by_domain else ():
            own = {"measured": side.mean, "measured_std": side.std, "runs": side.n}
            rows.append({name: rows[-1][name] for name in ("row", "column", "unit")} | own | {"domain": domain})
    return str(pd.DataFrame(rows).to_csv(index=False))


def _csv_line(c: Comparison) -> dict[str, Any]:
    return {
        "row": c.cell.row.id,
        "column": c.cell.column.id,
        "row_printed": c.cell.row.printed,
        "row_group": c.cell.row.group or "",
        "column_printed": c.cell.column.printed,
        "column_group": c.cell.column.group or "",
        "unit": c.unit,
        "printed": _float(c.published.value) if c.published else None,
        "printed_std": _float(c.published.std) if c.published else None,
        "printed_raw": c.published.raw if c.published else "",
        "measured": c.ours.mean if c.ours else None,
        "measured_std": c.ours.std if c.ours else None,
        "difference": c.assessment.difference if c.assessment else None,
        "runs": c.ours.n if c.ours else 0,
        "profile": c.measured.profile if c.measured else "",
        "verdict": c.verdict,
        "reason": c.reason,
    }


def _float(value: Decimal | None) -> float | None:
    return None if value is None else float(value)


def to_json(table: Table) -> str:
    """Every cell with its runs: seed, run id and number."""
    p = table.provenance
    content = {
        "experiment": table.experiment.id,
        "printed_as": table.experiment.printed,
        "profiles": p.profiles,
        "devices": p.devices,
        "dates": p.dates,
        "commits": p.commits,
        "columns": [{"id": c.id, "printed": c.printed, "group": c.group} for c in table.experiment.columns],
        "cells": [cell_values(c) for c in table.cells],
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def cell_values(c: Comparison) -> dict[str, Any]:
    """One comparison as plain values."""
    printed = c.published and {
        "raw": c.published.raw,
        "value": _float(c.published.value),
        "std": _float(c.published.std),
        "n": c.published.n,
        "provenance": c.published.provenance,
        "note": c.published.note,
    }
    measured = c.measured and {
        "mean": c.ours.mean if c.ours else None,
        "std": c.ours.std if c.ours else None,
        "profile": c.measured.profile,
        "values": {str(seed): value for seed, value in sorted(c.measured.values.items())},
        "runs": _runs(c.measured.records),
        "not_comparable": list(c.measured.not_comparable),
        **domain_values(c),
    }
    interval = c.assessment and {
        "difference": c.assessment.difference,
        "low": c.assessment.low,
        "high": c.assessment.high,
        "error": c.assessment.error,
        "seeds_needed": c.assessment.seeds_needed,
    }
    where = {"experiment": c.experiment, "row": c.cell.row.id, "column": c.cell.column.id, "unit": c.unit}
    return {
        **where,
        "printed": printed,
        "measured": measured,
        "interval": interval,
        "verdict": c.verdict,
        "reason": c.reason,
    }


def _runs(records: Sequence[Record]) -> dict[str, list[str]]:
    """Ids of the runs behind a cell, by seed: one each, or for an average one of every part."""
    seeds = sorted({r.seed for r in records})
    return {str(seed): [r.id for r in records if r.seed == seed] for seed in seeds}

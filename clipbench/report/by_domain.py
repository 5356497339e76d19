"""The numbers of each target domain, behind the mean that a table shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from clipbench.compare.domains import by_domain, means
from clipbench.compare.stats import Side, side_of
from clipbench.compare.verdict import Comparison
from clipbench.report.numbers import decimals_of, side_text
from clipbench.results.metrics import METRICS

_BESIDE = ("unknown_accuracy", "h_score")
"""What ODG-CLIP's label space measures beside the accuracy on the known classes."""


def domain_sides(cell: Comparison) -> dict[str, Side]:
    """Mean and spread of each target domain; empty where none is held out."""
    found = cell.measured.by_domain if cell.measured else {}
    return {name: side_of(list(values.values())) for name, values in found.items() if values}


def beside(cell: Comparison) -> dict[str, Mapping[str, Mapping[int, float]]]:
    """Further metrics of the same runs: by name, target domain and seed."""
    if cell.measured is None:
        return {}
    counted = cell.measured.by_domain
    runs = [r for r in cell.measured.records if r.seed in counted.get(r.protocol.need("test_domain"), {})]
    return {
        name: by_domain(runs, METRICS[name].read)
        for name in _BESIDE
        if runs and all(name in run.metrics for run in runs)
    }


def as_values(cell: Comparison) -> dict[str, Any]:
    """Plain values for JSON; nothing where no domain is held out."""
    if cell.measured is None or not cell.measured.by_domain:
        return {}
    due = tuple(cell.measured.by_domain)
    domains = {name: _values(numbers) for name, numbers in cell.measured.by_domain.items()}
    more = {
        name: _values(means(numbers, due)) | {"by_domain": {d: _values(numbers[d]) for d in due}}
        for name, numbers in beside(cell).items()
    }
    return {"by_domain": domains, "lacking": cell.measured.lacking, **more}


def _values(numbers: Mapping[int, float]) -> dict[str, Any]:
    side = side_of(list(numbers.values())) if numbers else None
    return {
        "mean": side.mean if side else None,
        "std": side.std if side else None,
        "values": {str(seed): value for seed, value in sorted(numbers.items())},
    }


def markdown(cells: Sequence[Comparison]) -> str:
    """One table per column of the printed table: methods down, target domains across, their mean last."""
    return "".join(_section(name, lines) for name, lines in domain_lines(cells).items())


def domain_lines(cells: Sequence[Comparison]) -> dict[str, list[list[str]]]:
    """Heads and lines of these tables, by the printed column."""
    columns: dict[str, list[Comparison]] = {}
    for cell in cells:
        if domain_sides(cell):
            columns.setdefault(cell.cell.column.printed, []).append(cell)
    return {name: _lines(group) for name, group in columns.items()}


def _lines(cells: Sequence[Comparison]) -> list[list[str]]:
    domains = list(dict.fromkeys(d for c in cells for d in domain_sides(c)))
    return [["", *domains, "mean"], *(line for cell in cells for line in _rows(cell, domains))]


def _section(name: str, rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(line) + " |" for line in rows]
    lines.insert(1, "|" + " --- |" * len(rows[0]))
    return f"\n## {name} by target domain\n\n" + "\n".join(lines) + "\n"


def _rows(cell: Comparison, domains: Sequence[str]) -> list[list[str]]:
    """The accuracy of each domain, and a line for each further metric."""
    assert cell.measured is not None  # noqa: S101 - it has domains
    rows = [_row(cell.cell.row.printed, cell, cell.measured.by_domain, domains)]
    for name, numbers in beside(cell).items():
        rows.append(_row(f"{cell.cell.row.printed}: {METRICS[name].label}", cell, numbers, domains))
    return rows


def _row(label: str, cell: Comparison, numbers: Mapping[str, Mapping[int, float]], domains: Sequence[str]) -> list[str]:
    whole = means(numbers, domains)
    values = [*(numbers.get(domain, {}) for domain in domains), whole]
    decimals = decimals_of(cell)
    return [label, *(side_text(side_of(list(v.values())), decimals) if v else "" for v in values)]

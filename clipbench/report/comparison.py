"""A comparison as text, Markdown, CSV or JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import pandas as pd

from clipbench.compare.verdict import Comparison
from clipbench.registry import Axis
from clipbench.report.by_domain import domain_sides
from clipbench.report.numbers import decimals_of, difference_text, measured_text, shared_runs, side_text
from clipbench.report.provenance import provenance_of
from clipbench.report.table import cell_values
from clipbench.report.terminal import as_table

_HEADERS = ("row", "column", "printed", "measured", "difference", "verdict", "why")


def render(
    results: Sequence[Comparison], counts: Mapping[str, int], kind: str, margin: float, *, by_domain: bool = False
) -> str:
    """The whole comparison in one of the formats; with a line per target domain if asked for (JSON has them)."""
    match kind:
        case "csv":
            return str(
                pd.DataFrame(
                    [
                        dict(zip(("experiment", *_HEADERS), (r.experiment, *line), strict=True))
                        for r in results
                        for line in _lines(r, by_domain, ids=True)
                    ]
                ).to_csv(index=False)
            )
        case "json":
            return json.dumps(
                {"margin": margin, "summary": dict(counts), "cells": [cell_values(r) for r in results]},
                indent=1,
                ensure_ascii=False,
            )
    return _blocks(results, summary_line(counts, margin), kind, by_domain)


def summary_line(counts: Mapping[str, int], margin: float) -> str:
    """``61 printed numbers: 4 reproduced, ...``."""
    words = ", ".join(f"{n} {word}" for word, n in counts.items())
    return (
        f"{sum(counts.values())} printed numbers: {words or 'none'} (equivalence margin ±{margin:g} points, level 5%)"
    )


def _blocks(results: Sequence[Comparison], ending: str, kind: str, by_domain: bool) -> str:
    mark, blocks = "## " if kind == "md" else "", []
    for name, cells in _by_experiment(results).items():
        about = "\n".join(_about(cells))
        folded = [c for c in cells if c.verdict == "quoted" and not c.measured]
        cells = sorted((c for c in cells if c not in folded), key=lambda c: not c.measured)  # noqa: PLW2901
        lines = [line for c in cells for line in _lines(c, by_domain)]
        body = as_table(kind, _HEADERS, lines)
        blocks.append("\n".join([f"{mark}{name}", about, "", *([body, ""] if cells else []), *_folded(folded)]))
    return "\n".join([*blocks, ending])


def _about(cells: Sequence[Comparison]) -> list[str]:
    """Where the measured numbers come from: runs, or the architecture alone."""
    lines = provenance_of(r for c in cells if c.measured for r in c.measured.records).lines() + shared_runs(cells)
    computed = sum(1 for c in cells if c.measured and not c.measured.records)
    return (
        [*lines, f"{computed} of the numbers are computed from the architecture; they need no run."]
        if computed
        else lines
    )


def _folded(cells: Sequence[Comparison]) -> list[str]:
    """One line for the numbers that the paper quotes and that nothing was measured beside."""
    if not cells:
        return []
    rows = list(dict.fromkeys(c.cell.row.printed for c in cells))
    shown = ", ".join(rows[:6]) + (f" and {len(rows) - 6} more" if len(rows) > 6 else "")
    return [f"{len(cells)} numbers are quoted from other papers, with nothing measured beside them ({shown}).", ""]


Line: TypeAlias = tuple[str, str, str, str, str, str, str]


def _lines(c: Comparison, by_domain: bool, *, ids: bool = False) -> list[Line]:
    """The cell, and behind it (if asked for) each of its target domains; ids instead of the printed names for CSV."""
    row, column = (c.cell.row.id, c.cell.column.id) if ids else (_row_name(c.cell.row), c.cell.column.full_name)
    printed = c.published.raw if c.published else "(not in the paper)"
    domains = domain_sides(c) if by_domain else {}
    own = [(name, side_text(side, decimals_of(c))) for name, side in domains.items()]
    first = (row, column, printed, measured_text(c), difference_text(c), c.verdict, c.reason)
    return [first, *((row, f"{column}: {name}", "", text, "", "", "") for name, text in own)]


def _row_name(row: Axis) -> str:
    return f"{row.printed}, {row.group}" if row.group else row.printed


def _by_experiment(results: Sequence[Comparison]) -> dict[str, list[Comparison]]:
    blocks: dict[str, list[Comparison]] = {}
    for result in results:
        blocks.setdefault(result.experiment, []).append(result)
    return blocks

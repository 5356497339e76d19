"""A comparison as text, Markdown, CSV or JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import pandas as pd

from clipbench.compare.verdict import Comparison
from clipbench.report.by_domain import domain_sides
from clipbench.report.numbers import decimals_of, difference_text, measured_text, side_text
from clipbench.report.table import cell_values
from clipbench.report.terminal import wrapped
from clipbench.report.verdict_table import block

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
                        for line in _lines(r, by_domain)
                    ]
                ).to_csv(index=False)
            )
        case "json":
            return json.dumps(
                {"margin": margin, "summary": dict(counts), "cells": [cell_values(r) for r in results]},
                indent=1,
                ensure_ascii=False,
            )
    line = summary_line(counts, margin)
    return _blocks(results, line if kind == "md" else wrapped(line), kind, by_domain)


def summary_line(counts: Mapping[str, int], margin: float) -> str:
    """``61 printed numbers: 4 reproduced, ...``."""
    words = ", ".join(f"{n} {word}" for word, n in counts.items())
    return (
        f"{sum(counts.values())} printed numbers: {words or 'none'} (equivalence margin ±{margin:g} points, level 5%)"
    )


def _blocks(results: Sequence[Comparison], ending: str, kind: str, by_domain: bool) -> str:
    """A block per table, those with measured numbers first."""
    tables: dict[str, list[Comparison]] = {}
    for result in results:
        tables.setdefault(result.experiment, []).append(result)
    first = sorted(tables.items(), key=lambda table: not any(c.measured for c in table[1]))
    return "\n".join([*(block(name, cells, kind, by_domain=by_domain) for name, cells in first), ending])


Line: TypeAlias = tuple[str, str, str, str, str, str, str]


def _lines(c: Comparison, by_domain: bool) -> list[Line]:
    """The cell by its ids, and behind it (if asked for) each of its target domains."""
    row, column = c.cell.row.id, c.cell.column.id
    printed = c.published.raw if c.published else "(not in the paper)"
    domains = domain_sides(c) if by_domain else {}
    named = [(name, side_text(side, decimals_of(c))) for name, side in domains.items()]
    first = (row, column, printed, measured_text(c), difference_text(c), c.verdict, c.reason)
    return [first, *((row, f"{column}: {name}", "", text, "", "", "") for name, text in named)]

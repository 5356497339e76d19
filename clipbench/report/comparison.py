"""A comparison as text, Markdown, CSV, JSON or one self-contained HTML page."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import pandas as pd
from tabulate import tabulate

from clipbench.compare.verdict import Comparison
from clipbench.report.by_domain import domain_sides
from clipbench.report.numbers import decimals_of, difference_text, measured_text, side_text
from clipbench.report.provenance import provenance_of
from clipbench.report.table import cell_values

_HEADERS = ("row", "column", "printed", "measured", "difference", "verdict", "why")
_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; color: #1a1a1a; }
table { border-collapse: collapse; width: 100%; margin: 0.5rem 0 2rem; }
th, td { text-align: left; padding: 0.25rem 0.6rem; border-bottom: 1px solid #ddd; vertical-align: top; }
td:nth-child(n+3):nth-child(-n+5) { font-variant-numeric: tabular-nums; white-space: nowrap; }
.reproduced { color: #00614a; font-weight: 600; } .deviates { color: #a63c00; font-weight: 600; }
.compatible { color: #004b8d; } .quoted, .not-run, .unobtainable { color: #777; }
.smoke { background: #fff3cd; border: 1px solid #d9b44a; padding: 0.6rem 1rem; }
"""


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
        case "html":
            return _html(results, counts, margin, by_domain)
        case "md":
            return _blocks(results, (counts, margin), ("github", "## "), by_domain)
    return _blocks(results, (counts, margin), ("simple", ""), by_domain)


def summary_line(counts: Mapping[str, int], margin: float) -> str:
    """``61 printed numbers: 4 reproduced, ...``."""
    words = ", ".join(f"{n} {word}" for word, n in counts.items())
    return (
        f"{sum(counts.values())} printed numbers: {words or 'none'} (equivalence margin ±{margin:g} points, level 5%)"
    )


def _blocks(
    results: Sequence[Comparison], ending: tuple[Mapping[str, int], float], how: tuple[str, str], by_domain: bool
) -> str:
    (style, mark), blocks = how, []
    for name, cells in _by_experiment(results).items():
        about = "\n".join(_about(cells))
        folded = [c for c in cells if c.verdict == "quoted" and not c.measured]
        cells = sorted((c for c in cells if c not in folded), key=lambda c: not c.measured)  # noqa: PLW2901
        widths = [None, None, None, None, None, None, 60] if style == "simple" else None
        lines = [line for c in cells for line in _lines(c, by_domain)]
        body = tabulate(lines, _HEADERS, style, disable_numparse=True, maxcolwidths=widths)
        blocks.append("\n".join([f"{mark}{name}", about, "", *([body, ""] if cells else []), *_folded(folded)]))
    return "\n".join([*blocks, summary_line(*ending)])


def _about(cells: Sequence[Comparison]) -> list[str]:
    """Where the measured numbers come from: runs, or the architecture alone."""
    lines = provenance_of(r for c in cells if c.measured for r in c.measured.records).lines()
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


def _html(results: Sequence[Comparison], counts: Mapping[str, int], margin: float, by_domain: bool) -> str:
    parts = []
    for name, cells in _by_experiment(results).items():
        about = provenance_of(r for c in cells if c.measured for r in c.measured.records)
        mark = " class=smoke" if about.smoke else ""
        notes = "".join(f"<p{mark}>{_h(line)}</p>" for line in about.lines())
        head = "".join(f"<th>{h}</th>" for h in _HEADERS)
        rows = "".join(_html_row(line) for c in cells for line in _lines(c, by_domain))
        parts.append(f"<h2>{_h(name)}</h2>{notes}<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>")
    title = "clipbench: measured beside printed"
    head = f'<head><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style></head>'
    return (
        f'<!doctype html><html lang="en">{head}'
        f"<body><h1>{title}</h1><p>{_h(summary_line(counts, margin))}</p>{''.join(parts)}</body></html>\n"
    )


def _html_row(line: Line) -> str:
    cells = "".join(
        f'<td class="{_h(x.replace(" ", "-"))}">{_h(x)}</td>' if i == 5 else f"<td>{_h(x)}</td>"
        for i, x in enumerate(line)
    )
    return f"<tr>{cells}</tr>"


Line: TypeAlias = tuple[str, str, str, str, str, str, str]


def _lines(c: Comparison, by_domain: bool) -> list[Line]:
    """The cell, and behind it (if asked for) each of its target domains."""
    domains = domain_sides(c) if by_domain else {}
    place = c.cell.column.id
    own = [(name, side_text(side, decimals_of(c))) for name, side in domains.items()]
    return [_line(c), *((c.cell.row.id, f"{place}: {name}", "", text, "", "", "") for name, text in own)]


def _line(c: Comparison) -> Line:
    printed = c.published.raw if c.published else "(not in the paper)"
    return c.cell.row.id, c.cell.column.id, printed, measured_text(c), difference_text(c), c.verdict, c.reason


def _by_experiment(results: Sequence[Comparison]) -> dict[str, list[Comparison]]:
    blocks: dict[str, list[Comparison]] = {}
    for result in results:
        blocks.setdefault(result.experiment, []).append(result)
    return blocks


def _h(text: str) -> str:
    return html.escape(text)

"""One printed table with the measured numbers beside the printed ones: Markdown, CSV, LaTeX and JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from clipbench.compare.verdict import Comparison
from clipbench.registry import Axis, Paper
from clipbench.registry import Table as PrintedTable
from clipbench.registry.decimal import Decimal
from clipbench.registry.printed import PrintedNumber
from clipbench.report.by_domain import as_values as domain_values
from clipbench.report.by_domain import domain_lines, domain_sides
from clipbench.report.by_domain import markdown as domain_tables
from clipbench.report.numbers import footnotes, measured_text
from clipbench.report.provenance import Provenance, provenance_of
from clipbench.results.record import Record


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

    def lines(self) -> Iterator[tuple[Axis, str, list[str]]]:
        """For each row a line of printed numbers and (where there are any) a line of measured ones."""
        by_cell = {(c.cell.row.id, c.cell.column.id): c for c in self.cells}
        raw = {(row, column): p.raw for (name, row, column), p in self.printed.items() if name == self.experiment.name}
        for row in self.experiment.rows:
            cells = [by_cell.get((row.id, column.id)) for column in self.experiment.columns]
            if not row.extra:
                yield row, "printed", [raw.get((row.id, column.id), "") for column in self.experiment.columns]
            if any(c and c.measured for c in cells):
                yield row, "measured", [measured_text(c) if c else "" for c in cells]


def markdown(table: Table, *, by_domain: bool = False) -> str:
    """A title, where the numbers come from, and two lines per row: printed and measured; then the held-out domains."""
    e = table.experiment
    header = ["", "", *(c.printed for c in e.columns)]
    body: list[list[str]] = []
    group, paper = None, not all(row.extra for row in e.rows)
    for row, kind, values in table.lines():
        if row.group and row.group != group:
            body.append([f"**{row.group}**", *[""] * (len(header) - 1)])
        group = row.group
        name = f"{row.printed} (not in the paper)" if row.extra and paper else row.printed
        shown = name if kind == "printed" or row.extra else ""
        body.append([shown, kind, *(f"**{v}**" if v and kind == "measured" else v for v in values)])
    lines = ["| " + " | ".join(_md(x) for x in line) + " |" for line in [header, *body]]
    lines.insert(1, "|" + " --- |" * len(header))
    about = "\n".join(f"> {line}" for line in table.provenance.lines())
    title = f"# {e.id}: {e.printed} of {table.paper.short}\n\n{e.title}."
    note = "Measured: mean ± sample standard deviation (number of runs). Printed: as in the paper, misprints included."
    notes = "".join(f"\n{line}\n" for line in footnotes(table.experiment, table.cells))
    domains = domain_tables(table.cells) if by_domain else ""
    return f"{title}\n\n{about}\n\n{note}\n\n" + "\n".join(lines) + f"\n{notes}{domains}"


def csv(table: Table, *, by_domain: bool = False) -> str:
    """One line per cell, printed and measured, with the verdict; behind it one per held-out domain, if asked for."""
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
        "unit": c.unit,
        "printed": _float(c.published.value) if c.published else None,
        "printed_std": _float(c.published.std) if c.published else None,
        "printed_raw": c.published.raw if c.published else "",
        "measured": c.ours.mean if c.ours else None,
        "measured_std": c.ours.std if c.ours else None,
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


def latex(table: Table, *, by_domain: bool = False) -> str:
    """A booktabs table, and one per column of held-out domains, if asked for; needs ``\\usepackage{booktabs}``."""
    e = table.experiment
    body, group = [], None
    for row, kind, values in table.lines():
        if row.group and row.group != group:
            body.append(f"\\midrule\n\\multicolumn{{{len(values) + 2}}}{{l}}{{{_tex(row.group)}}} \\\\")
        group = row.group
        name = _tex(row.printed) if kind == "printed" or row.extra else ""
        body.append(" & ".join([name, kind, *(_tex(v) for v in values)]) + r" \\")
    about = "\n".join(f"% {line}" for line in table.provenance.lines())
    caption = f"{e.title} ({e.printed} of {table.paper.short})."
    caption = " ".join([caption, *footnotes(table.experiment, table.cells)])
    head = " & ".join(["", "", *(_tex(c.printed) for c in e.columns)]) + r" \\"
    more = "".join(
        _booktabs(f"{name} by held-out domain.", "l", _tex_line(lines[0]), [_tex_line(line) for line in lines[1:]])
        for name, lines in (domain_lines(table.cells) if by_domain else {}).items()
    )
    return (
        f"% {e.id}, written by clipbench; needs \\usepackage{{booktabs}}\n{about}\n"
        + _booktabs(caption, "ll", head, body)
        + more
    )


def _booktabs(caption: str, labels: str, head: str, body: Sequence[str]) -> str:
    """One table; every column but the ``labels`` is right-aligned."""
    numbers = "r" * (head.count(" & ") + 1 - len(labels))
    return (
        f"\\begin{{table}}\n\\centering\n\\caption{{{_tex(caption)}}}\n"
        f"\\begin{{tabular}}{{{labels}{numbers}}}\n\\toprule\n{head}\n\\midrule\n"
        + "\n".join(body)
        + "\n\\bottomrule\n\\end{tabular}\n\\end{table}\n"
    )


def _tex_line(values: Sequence[str]) -> str:
    return " & ".join(_tex(value) for value in values) + r" \\"


def _md(text: str) -> str:
    return text.replace("|", "\\|")


_TEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "†": r"$^\dagger$",
    "‡": r"$^\ddagger$",
    "±": r"$\pm$",
    "α": r"$\alpha$",
    "−": r"$-$",
    "×": r"$\times$",
    "§": r"\S{}",
}


def _tex(text: str) -> str:
    return "".join(_TEX.get(character, character) for character in text)

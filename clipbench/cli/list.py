"""``clipbench list``: every table and figure with its aliases and how far it is."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass
from typing import Any

from clipbench.cli.output import show
from clipbench.cli.records import report
from clipbench.compare.cells import Library, Measured
from clipbench.data.images import default_data_root
from clipbench.plan.needs import Counts, Here
from clipbench.plan.runnable import missing_reason
from clipbench.plan.select import panels_of, source_of
from clipbench.registry import Paper, Table, find
from clipbench.registry.printed import PrintedNumber, load_published
from clipbench.report.terminal import as_table, wrapped
from clipbench.results.record import Record
from clipbench.results.store import Store

_HEADERS = ("table", "in the paper", "numbers printed", "measured", "to run", "runnable", "missing")


@dataclass(frozen=True)
class Line:
    """One table or figure: its printed numbers, the cells that have records, and the cells that a run could fill.

    ``why_not`` is the most frequent reason among the cells that are not implemented.
    """

    table: str
    printed_as: str
    title: str
    aliases: list[str]
    printed: int
    quoted: int
    measured: int
    counts: Counts
    why_not: str

    def as_dict(self) -> dict[str, Any]:
        """Plain values, the counts among the others."""
        values = asdict(self)
        return {**{k: v for k, v in values.items() if k != "counts"}, **self.counts.as_dict()}


def main(arguments: argparse.Namespace) -> int:
    """Print the list; torn or foreign directories in the results folder are named on standard error."""
    records, faults = Store(arguments.out / "results").scan()
    chosen = find(arguments.tables)
    numbers = {paper.id: list(load_published(paper).values()) for paper, _ in chosen}
    here = Here(arguments.data or default_data_root())
    lines = [line(paper, figure, numbers[paper.id], records, here) for paper, figure in chosen]
    report(faults)
    if arguments.format == "json":
        print(json.dumps([one.as_dict() for one in lines], indent=1))
        return 0
    rows = [_row(one) for one in lines]
    kept = [at for at, head in enumerate(_HEADERS) if head != "measured" or any(row[at] for row in rows)]
    notes = [
        f"measured: cells with records in {arguments.out / 'results'}; to run: cells that a run could fill",
        "(fewshot): a shorter name that does as well; no: a table beyond the paper, and where it says why",
        "runnable: now, with the data and weights that are here; missing: what the other cells lack (66 data: 66 "
        "cells lack their data). --smoke needs neither data nor weights.",
        *(f"not implemented: {reason}" for reason in dict.fromkeys(one.why_not for one in lines if one.why_not)),
    ]
    table = as_table(arguments.format, [_HEADERS[at] for at in kept], [[row[at] for at in kept] for row in rows])
    show("\n".join([table, "", *(wrapped(note) for note in notes)]))
    return 0


def _row(one: Line) -> tuple[str | int, ...]:
    counts, names = one.counts, [alias for alias in one.aliases if alias != one.table.partition("/")[2]]
    missing = {"data": counts.data_missing, "weights": counts.weights_missing, "code": counts.not_implemented}
    return (
        " ".join([one.table, *(f"({name})" for name in names)]),
        one.printed_as.replace("not in the paper", "no"),
        f"{one.printed} ({one.quoted} quoted)" if one.quoted else one.printed or "",
        *(one.measured or "", counts.cells, counts.runnable),
        ", ".join(f"{n} {what}" for what, n in missing.items() if n),
    )


def line(paper: Paper, figure: Table, numbers: list[PrintedNumber], records: list[Record], here: Here) -> Line:
    """Count one table's cells, given the paper's printed numbers and the records that there are."""
    printed = [p for p in numbers if p.experiment == figure.name and p.value is not None]
    table = source_of(paper, figure)
    cells = [c for c in table.cells() if not figure.panels or panels_of(figure, c)]
    library = Library(records)
    missing = [reason for c in cells if not c.quoted and (reason := missing_reason(paper, table, c))]
    return Line(
        table=figure.id,
        printed_as=f"not in the paper ({figure.printed})" if all(row.extra for row in table.rows) else figure.printed,
        title=figure.title,
        aliases=list(figure.aliases),
        printed=len(printed),
        quoted=sum(p.provenance == "quoted" for p in printed),
        measured=sum(_has_number(library.cell(paper, table, cell)) for cell in cells) if records else 0,
        counts=here.count(paper, figure),
        why_not=max(set(missing), key=missing.count) if missing else "",
    )


def _has_number(measured: Measured | None) -> bool:
    """Whether runs gave a cell a number: of several target domains, a seed needs all."""
    return measured is not None and bool(measured.records and measured.values)

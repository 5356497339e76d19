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

_HEADERS = (
    *("table", "alias", "in the paper", "printed", "quoted", "measured"),
    *("to run", "runnable", "data missing", "weights missing", "not implemented"),
)


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
    rows = [
        (
            *(one.table, ", ".join(one.aliases), one.printed_as, one.printed, one.quoted, one.measured),
            *(one.counts.cells, one.counts.runnable, one.counts.data_missing, one.counts.weights_missing),
            one.counts.not_implemented,
        )
        for one in lines
    ]
    notes = [
        f"measured: cells with records in {arguments.out / 'results'}; to run: cells that a run could fill",
        "runnable: now, with the data and weights that are here; --smoke needs neither (`clipbench doctor` counts it)",
        *(f"not implemented: {reason}" for reason in dict.fromkeys(one.why_not for one in lines if one.why_not)),
    ]
    show("\n".join([as_table(arguments.format, _HEADERS, rows), "", *(wrapped(note) for note in notes)]))
    return 0


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

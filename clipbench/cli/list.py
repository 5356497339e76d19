"""``clipbench list``: every experiment with its aliases and how far it is."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, dataclass

from tabulate import tabulate

from clipbench.compare.cells import Library, Measured
from clipbench.plan.runnable import missing_reason
from clipbench.plan.select import source_of
from clipbench.registry import Paper, Table, find
from clipbench.registry.printed import PrintedNumber, load_published
from clipbench.results.record import Record
from clipbench.results.store import Fault, Store


@dataclass(frozen=True)
class Line:
    """One experiment: printed cells, those measured in the results folder, those that a run could fill today.

    ``why_not`` is the most frequent reason among the cells that cannot run.
    """

    experiment: str
    printed_as: str
    title: str
    aliases: list[str]
    printed: int
    quoted: int
    measured: int
    runnable: int
    why_not: str


def main(arguments: argparse.Namespace) -> int:
    """Print the list; torn or foreign directories in the results folder are named on standard error."""
    records, faults = Store(arguments.out / "results").scan()
    chosen = find(arguments.tables)
    numbers = {paper.id: list(load_published(paper).values()) for paper, _ in chosen}
    lines = [line(paper, experiment, numbers[paper.id], records) for paper, experiment in chosen]
    report(faults)
    if arguments.json:
        print(json.dumps([asdict(entry) for entry in lines], indent=1))
        return 0
    rows = [
        (
            e.experiment,
            ", ".join(e.aliases),
            e.printed_as,
            e.printed,
            e.quoted,
            e.measured,
            e.runnable,
            _short(e.why_not),
        )
        for e in lines
    ]
    headers = ("experiment", "alias", "in the paper", "printed", "quoted", "measured", "runnable", "why not the rest")
    print(tabulate(rows, headers=headers))
    print(f"\nmeasured: cells with records in {arguments.out / 'results'}; runnable: cells that a run can fill today")
    return 0


def line(paper: Paper, experiment: Table, numbers: list[PrintedNumber], records: list[Record]) -> Line:
    """Count one experiment's cells, given the paper's printed numbers and the records that there are."""
    printed = [p for p in numbers if p.experiment == experiment.name and p.value is not None]
    source = source_of(paper, experiment)
    drawn = {(row, column) for p in experiment.panels for row in p.rows for column in p.columns}
    cells = [c for c in source.cells() if not drawn or (c.row.id, c.column.id) in drawn]
    reasons = {cell: missing_reason(paper, source, cell) for cell in cells}
    cells = [cell for cell in cells if not cell.quoted or not reasons[cell]]
    library = Library(records)
    missing = [reason for cell in cells if (reason := reasons[cell])]
    return Line(
        experiment=experiment.id,
        printed_as=experiment.printed,
        title=experiment.title,
        aliases=list(experiment.aliases),
        printed=len(printed),
        quoted=sum(p.provenance == "quoted" for p in printed),
        measured=sum(_has_number(library.cell(paper, source, cell)) for cell in cells) if records else 0,
        runnable=len(cells) - len(missing),
        why_not=max(set(missing), key=missing.count) if missing else "",
    )


def _has_number(measured: Measured | None) -> bool:
    """Whether a cell has a number: of several held-out domains, a seed needs all."""
    return measured is not None and bool(measured.values)


def report(faults: list[Fault]) -> None:
    """Name the directories that are no trustworthy records, beside the output so that JSON and CSV stay whole."""
    for fault in faults:
        print(
            f"not used: {fault.path}: {fault.reason}. It is left as it is; `clipbench run` makes the record again.",
            file=sys.stderr,
        )


def _short(text: str, most: int = 60) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"

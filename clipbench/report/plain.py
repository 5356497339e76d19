"""A table for the terminal: the rows and columns that have a measured number; the rest is in the files."""

from __future__ import annotations

from clipbench.plan.select import place_of
from clipbench.report.numbers import footnotes, row_name
from clipbench.report.table import Table
from clipbench.report.terminal import grid, wrapped


def plain(table: Table) -> str:
    """Title, where the numbers come from, printed above measured above difference and verdict, and the notes."""
    e = table.experiment
    measured = [line for line in table.lines() if line.kind == "measured"]
    rows = {line.row.id for line in measured}
    columns = [at for at in range(len(e.columns)) if any(line.cells[at] for line in measured)]
    body = [
        [
            (row_name(line.row) if line.kind == "printed" or line.row.extra else ""),
            line.kind,
            *(line.cells[at] for at in columns),
        ]
        for line in table.lines()
        if line.row.id in rows
    ]
    others = sum(not row.extra for row in e.rows if row.id not in rows)
    notes = footnotes(e, [c for c in table.cells if c.measured], of_measured=True)
    if others:
        notes.append(f"{others} more rows of the paper have no measured number here; the files have them.")
    own = all(row.extra for row in e.rows)
    title = e.title if own else f"{place_of(table.paper, e)}, {e.title}"
    return "\n".join(
        [
            *map(wrapped, [f"{e.id}: {title}", *table.provenance.lines()]),
            "",
            grid(["row", "", *(e.columns[at].full_name for at in columns)], body, names=2),
            *(["", *map(wrapped, notes)] if notes else []),
            "",
        ]
    )

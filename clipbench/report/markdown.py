"""A table as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from clipbench.report.by_domain import markdown as domain_tables
from clipbench.report.numbers import footnotes
from clipbench.report.table import Line, Table


def markdown(table: Table, *, by_domain: bool = False) -> str:
    """A title, where the numbers come from, and up to three lines per row; then, if asked for, the target domains.

    The best of a column is bold, among the printed and among the measured numbers.
    """
    e = table.experiment
    header = ["", "", *(column.full_name for column in e.columns)]
    body: list[Sequence[str]] = []
    group, of_paper = None, not all(row.extra for row in e.rows)
    for line in table.lines():
        if line.row.group and line.row.group != group:
            body.append([f"**{_text(line.row.group)}**", *[""] * (len(header) - 1)])
        group = line.row.group
        body.append(_cells(line, of_paper=of_paper))
    lines = ["| " + " | ".join(line) + " |" for line in [[_text(name) for name in header], *body]]
    lines.insert(1, "|" + " --- |" * len(header))
    about = "\n".join(f"> {_text(line)}" for line in table.provenance.lines())
    title = f"# {e.id}: {e.printed} of {table.paper.short}\n\n{e.title}." if of_paper else f"# {e.title}"
    note = "Measured: mean ± sample standard deviation (number of runs). Bold: the best of a column."
    note += " Printed: as in the paper, misprints included." if of_paper else ""
    notes = "".join(f"\n{_text(line)}\n" for line in footnotes(e, table.cells))
    domains = domain_tables(table.cells) if by_domain else ""
    return f"{title}\n\n{about}\n\n{note}\n\n" + "\n".join(lines) + f"\n{notes}{domains}"


def _cells(line: Line, *, of_paper: bool) -> list[str]:
    first = line.kind == "printed" or (line.kind == "measured" and line.row.extra)
    name = f"{line.row.printed} (not in the paper)" if line.row.extra and of_paper else line.row.printed
    cells = [f"**{_text(cell)}**" if at in line.bold and cell else _text(cell) for at, cell in enumerate(line.cells)]
    return [_text(name) if first else "", line.kind, *cells]


def _text(text: str) -> str:
    """Without what Markdown takes for a cell's end or for HTML."""
    return text.replace("|", "\\|").replace("<", "&lt;")

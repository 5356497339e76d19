"""From tables to runs: the cells that words name, each with its protocol, its seeds, or why it cannot run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from clipbench.errors import UserError
from clipbench.plan.filters import Filter
from clipbench.plan.runnable import missing_reason, rates_fault, why_not
from clipbench.plan.target_domains import runs_of
from clipbench.registry import Cell, Overrides, Panel, Paper, Resolved, Run, Table, find, resolve
from clipbench.registry.find import Added, nothing_added
from clipbench.registry.paper import load_papers
from clipbench.registry.resolve import check_assumed, seeds_of
from clipbench.results.record import Origin


@dataclass(frozen=True)
class Planned:
    """One run of a table, with the first cell that asked for it, of the table's own metric where there is one."""

    run: Run
    table: Table
    cell: Cell
    resolved: Resolved
    overrides: Overrides

    @property
    def origin(self) -> Origin:
        """What the record says of where the run came from."""
        where = (self.table.id, self.cell.row.id, self.cell.column.id)
        return Origin(*where, dict(self.overrides.assume), dict(self.overrides.fields), self.cell.row.printed)

    @property
    def column(self) -> str:
        """The column, and the target domain where one is left out of training: ``pacs, tested on sketch``."""
        domain = self.run.protocol.test_domain
        return f"{self.cell.column.id}, tested on {domain}" if domain else self.cell.column.id


@dataclass(frozen=True)
class Gap:
    """A cell that cannot run, and why."""

    table: Table
    cell: Cell
    reason: str


@dataclass(frozen=True)
class Plan:
    """Everything that a ``run`` command would do."""

    overrides: Overrides
    runs: Sequence[Planned]
    gaps: Sequence[Gap]


def make_plan(
    patterns: Sequence[str],
    overrides: Overrides,
    only: Sequence[str] = (),
    seeds: Sequence[int] = (),
    added: Added = nothing_added,
) -> Plan:
    """Plan the tables and figures that the words name; ``only`` holds ``key=value`` filters."""
    runs: dict[str, Planned] = {}
    gaps: list[Gap] = []
    filters = [Filter.read(word) for word in only]
    matched: list[Resolved] = []
    for paper, figure in find(patterns, added):
        table = source_of(paper, figure)
        check_assumed(paper, table, overrides.assume)
        for cell in cells_of(figure, table):
            resolved = resolve(paper, table, cell, overrides)
            panels = panels_of(figure, cell)
            chosen = [p for p in runs_of(resolved.protocol) if all(f.keeps(cell, p, panels) for f in filters)]
            if not chosen:
                continue
            matched.append(resolved)
            if overrides.fields.keys() & {"lr", "lr_min"} and (fault := rates_fault(resolved.protocol)):
                raise UserError(f"{table.id}, row {cell.row.id}: {fault}.")
            if reason := why_not(resolved):
                gaps.append(Gap(table, cell, reason))
                continue
            for protocol in chosen:
                alone = replace(resolved, protocol=protocol)
                for seed in seeds_of(paper, table, overrides, protocol, seeds):
                    run = Run(protocol, seed)
                    if run.id not in runs or _counts_more(table, cell, runs[run.id].cell):
                        runs[run.id] = Planned(run, table, cell, alone, overrides)
    if filters and not matched:
        named = find(patterns, added)
        raise UserError(
            f"--only {','.join(only)} matches no cell; {_field_values(filters, named, overrides) or _choices(named)}"
        )
    _check_read(overrides, matched)
    return Plan(overrides, tuple(runs.values()), tuple(gaps))


def runnable_cells(table: Table) -> list[Cell]:
    """The cells that a run could fill: not computed from others, and quoted only where we can run the method too."""
    return [c for c in table.cells() if not c.derived and (not c.quoted or repeatable(table, c))]


def cells_of(figure: Table, table: Table) -> list[Cell]:
    """The cells that a run could fill of a table; of a figure, those of its source that its panels draw."""
    cells = runnable_cells(table)
    return [cell for cell in cells if panels_of(figure, cell)] if figure.panels else cells


def panels_of(figure: Table, cell: Cell) -> list[tuple[int, Panel]]:
    """The panels of a figure that draw a cell, with their numbers from 1."""
    numbered = enumerate(figure.panels, start=1)
    return [(i, p) for i, p in numbered if cell.row.id in p.rows and cell.column.id in p.columns]


def repeatable(table: Table, cell: Cell) -> bool:
    """Whether a number that the paper quotes from elsewhere is of a method that runs here."""
    return missing_reason(paper_of(table), table, cell) is None


def source_of(paper: Paper, figure: Table) -> Table:
    """The table whose runs a figure draws; a table is its own."""
    return paper.tables[figure.source] if figure.source else figure


def place_of(paper: Paper, table: Table) -> str:
    """``Figure 2 of CLIP-DoRA``; where the paper prints none of its rows, ``beyond CLIP-DoRA (Related work)``."""
    beyond = all(row.extra for row in source_of(paper, table).rows)
    return f"beyond {paper.short} ({table.printed})" if beyond else f"{table.printed} of {paper.short}"


def paper_of(table: Table) -> Paper:
    """The paper that a table belongs to."""
    return next(p for p in load_papers() if p.id == table.paper)


def _check_read(overrides: Overrides, cells: Sequence[Resolved]) -> None:
    """Refuse a field of the command line that no run of the selection reads."""
    for name, value in overrides.fields.items():
        reasons = [cell.ignored.get(name) for cell in cells]
        if cells and all(reasons):
            raise UserError(f"{name} = {value}: no run of this selection reads it; {reasons[0]}.")


def _counts_more(table: Table, cell: Cell, than: Cell) -> bool:
    """Whether a cell says better what a run is for: its Dice, not the parameters that the same run counts."""
    return table.metric_of(cell) == table.metric != table.metric_of(than)


def _field_values(filters: Sequence[Filter], named: Sequence[tuple[Paper, Table]], overrides: Overrides) -> str:
    """``shots is 0, 1, 4 here.``: the values of the protocol fields that no cell has as they were asked for."""
    cells = [(p, source_of(p, figure), cell) for p, figure in named for cell in cells_of(figure, source_of(p, figure))]
    runs = [(cell, protocol) for p, t, cell in cells for protocol in runs_of(resolve(p, t, cell, overrides).protocol)]
    unmet = [f for f in filters if f.of_field and not any(f.keeps(cell, protocol, ()) for cell, protocol in runs)]
    return " ".join(
        f"{one.key} is {', '.join(dict.fromkeys(one.field_value(protocol) for _, protocol in runs))} here."
        for one in unmet
    )


def _choices(named: Sequence[tuple[Paper, Table]]) -> str:
    cells = [cell for paper, figure in named for cell in cells_of(figure, source_of(paper, figure))]
    rows, columns = ({getattr(c, axis).id: None for c in cells} for axis in ("row", "column"))
    panels = [panel.title for _, figure in named for panel in figure.panels]
    drawn = f"; panels are {'; '.join(panels)}" if panels else ""
    return f"rows are {', '.join(rows)}; columns are {', '.join(columns)}{drawn}."

"""From experiments to runs: which there are, which are done, which train together, and what they cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from clipbench.errors import UserError
from clipbench.plan.runnable import missing_reason, why_not
from clipbench.plan.target_domains import runs_of
from clipbench.registry import Cell, Overrides, Paper, Protocol, Resolved, Run, Table, find, resolve
from clipbench.registry.method_fields import own_field
from clipbench.registry.paper import Extend, as_it_is, load_papers
from clipbench.registry.protocol import SHARED
from clipbench.registry.resolve import check_assumed, seeds_of
from clipbench.results.record import Origin


@dataclass(frozen=True)
class Planned:
    """One run of an experiment, with the first cell that asked for it, of the table's own metric where there is one."""

    run: Run
    experiment: Table
    cell: Cell
    resolved: Resolved
    overrides: Overrides

    @property
    def origin(self) -> Origin:
        """What the record says of where the run came from."""
        where = (self.experiment.id, self.cell.row.id, self.cell.column.id)
        return Origin(*where, dict(self.overrides.assume), dict(self.overrides.fields))

    @property
    def place(self) -> str:
        """The column, and the domain that is held out where one is: ``pacs, sketch held out``."""
        domain = self.run.protocol.test_domain
        return f"{self.cell.column.id}, {domain} held out" if domain else self.cell.column.id


@dataclass(frozen=True)
class Gap:
    """A cell that cannot run, and why."""

    experiment: Table
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
    extend: Extend = as_it_is,
) -> Plan:
    """Plan the experiments that the words name; ``only`` holds ``key=value`` filters (``|`` and ``*`` work)."""
    runs: dict[str, Planned] = {}
    gaps: list[Gap] = []
    filters = [_filter(word) for word in only]
    matched: list[Resolved] = []
    for paper, experiment, cells in _cells(patterns, extend):
        check_assumed(paper, experiment, overrides.assume)
        for cell in cells:
            resolved = resolve(paper, experiment, cell, overrides)
            chosen = [p for p in runs_of(resolved.protocol) if all(keep(cell, p) for keep in filters)]
            if not chosen:
                continue
            matched.append(resolved)
            if reason := why_not(resolved):
                gaps.append(Gap(experiment, cell, reason))
                continue
            for protocol in chosen:
                alone = replace(resolved, protocol=protocol)
                for seed in seeds or seeds_of(paper, experiment, overrides):
                    run = Run(protocol, seed)
                    if run.id not in runs or _counts_more(experiment, cell, runs[run.id].cell):
                        runs[run.id] = Planned(run, experiment, cell, alone, overrides)
    if filters and not matched:
        raise UserError(f"--only {','.join(only)} matches no cell; {_choices(patterns, extend)}")
    _check_read(overrides, matched)
    return Plan(overrides, tuple(runs.values()), tuple(gaps))


def _check_read(overrides: Overrides, cells: Sequence[Resolved]) -> None:
    """Refuse a field of the command line that no run of the selection reads."""
    for name, value in overrides.fields.items():
        reasons = [cell.ignored.get(name) for cell in cells]
        if cells and all(reasons):
            raise UserError(f"{name} = {value}: no run of this selection reads it; {reasons[0]}.")


def _counts_more(experiment: Table, cell: Cell, than: Cell) -> bool:
    """Whether a cell says better what a run is for: its Dice, not the parameters that the same run counts."""
    return experiment.metric_of(cell) == experiment.metric != experiment.metric_of(than)


def runnable_cells(experiment: Table) -> list[Cell]:
    """The cells that a run could fill: not computed from others, and quoted only where we can run the method too."""
    return [c for c in experiment.cells() if not c.derived and (not c.quoted or repeatable(experiment, c))]


def repeatable(experiment: Table, cell: Cell) -> bool:
    """Whether a number that the paper quotes from elsewhere is of a method that runs here."""
    return missing_reason(paper_of(experiment), experiment, cell) is None


def source_of(paper: Paper, experiment: Table) -> Table:
    """The experiment whose runs a figure draws; a table is its own."""
    return paper.tables[experiment.source] if experiment.source else experiment


def _cells(patterns: Sequence[str], extend: Extend) -> list[tuple[Paper, Table, list[Cell]]]:
    """Papers, experiments and the cells to run; a figure asks for the cells of its panels."""
    found = []
    for paper, experiment in find(patterns, extend):
        source = source_of(paper, experiment)
        cells = runnable_cells(source)
        if experiment.panels:
            drawn = {(row, column) for p in experiment.panels for row in p.rows for column in p.columns}
            cells = [cell for cell in cells if (cell.row.id, cell.column.id) in drawn]
        found.append((paper, source, cells))
    return found


def _filter(word: str) -> Callable[[Cell, Protocol], bool]:
    key, equals, value = word.partition("=")
    if not equals or not value:
        raise UserError(f"--only takes key=value pairs (dataset=aid,method=lora-r4), not {word!r}.")
    choices = value.split("|")

    def keep(cell: Cell, protocol: Protocol) -> bool:
        names = {
            "row": [cell.row.id],
            "column": [cell.column.id],
            "method": [cell.row.id, cell.column.id, protocol.need("method")],
            "dataset": [protocol.need("dataset"), (cell.column.dataset_name or "").lower()],
        }
        if key not in names and key not in SHARED and not own_field(key):
            raise UserError(f"--only knows row, column, method, dataset and the protocol's fields, not {key!r}.")
        values = names.get(key) or [_plain(protocol.get(key))]
        return any(fnmatchcase(v, choice) for v in values for choice in choices)

    return keep


def _plain(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _choices(patterns: Sequence[str], extend: Extend) -> str:
    cells = [cell for _, _, found in _cells(patterns, extend) for cell in found]
    rows, columns = ({getattr(c, axis).id: None for c in cells} for axis in ("row", "column"))
    return f"rows are {', '.join(rows)}; columns are {', '.join(columns)}."


def paper_of(experiment: Table) -> Paper:
    """The paper that an experiment belongs to."""
    return next(p for p in load_papers() if p.id == experiment.paper)

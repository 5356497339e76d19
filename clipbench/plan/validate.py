"""Whether a folder of papers is whole: every file, every cell's protocol in every profile and choice, every number."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from clipbench.audit.sentences.claim import load_claims
from clipbench.data.catalogue import known as known_datasets
from clipbench.errors import UserError, near
from clipbench.registry import Axis, Cell, Overrides, Paper, Table, load_paper, resolve
from clipbench.registry.paper import paper_folders
from clipbench.registry.printed import load_published
from clipbench.registry.toml_files import At
from clipbench.results.metrics import METRICS


@dataclass(frozen=True)
class Counted:
    """What a valid paper holds."""

    paper: str
    tables: int
    cells: int
    numbers: int
    claims: int


def validate(folder: Path) -> tuple[list[Counted], list[str]]:
    """The papers of a folder that are whole, and the first fault of each other one, with file and line.

    Raises ``UserError`` where the folder holds no paper.
    """
    whole: list[Counted] = []
    faults: list[str] = []
    for one in paper_folders(folder):
        try:
            whole.append(_checked(load_paper(one)))
        except UserError as error:
            faults.append(str(error))
    return whole, faults


def _checked(paper: Paper) -> Counted:
    cells = 0
    for table in paper.tables.values():
        _check_metrics(table)
        for axis in (*table.rows, *table.columns):
            _check_dataset(axis)
        for number, cell in enumerate(table.cells()):
            if not cell.derived and (cell.row.recipe or cell.column.recipe):
                # Choices are of recipes: the first column tells what they do with a row.
                _check_cell(paper, table, cell, choices=number % len(table.columns) == 0)
                cells += resolve(paper, table, cell).missing is None
    claims = load_claims(paper)
    return Counted(paper.id, len(paper.tables), cells, len(load_published(paper)), len(claims))


def _check_metrics(table: Table) -> None:
    places: tuple[Table | Axis, ...] = (table, *table.rows, *table.columns)
    for where in places:
        if where.metric is not None and where.metric not in METRICS:
            at, hint = (where.at or At(Path(table.name))) / "metric", near(where.metric, METRICS)
            raise UserError(f"{at}: metric = {where.metric!r}; there are {', '.join(METRICS)}.{hint}")


def _check_dataset(axis: Axis) -> None:
    entry = axis.set.get("dataset")
    name = entry.get("value") if isinstance(entry, dict) else entry
    if name is not None and name not in known_datasets():
        raise UserError(
            f"{(axis.at or At(Path())) / 'dataset'}: the data set {name!r} is not in the catalogue."
            f"{near(str(name), known_datasets())} `clipbench data list` shows what is."
        )


def _check_cell(paper: Paper, table: Table, cell: Cell, *, choices: bool) -> None:
    """The cell resolves as printed, in the smoke profile, and by each choice of each assumption."""
    profiles = [Overrides(), *([Overrides("smoke")] if table.protocol in paper.smoke else [])]
    for overrides in profiles:
        found = resolve(paper, table, cell, overrides)
        for assumption in {b.source.partition("=")[0] for b in found.basis.values() if choices and b.kind == "assumed"}:
            for choice in paper.assumptions[assumption].choices:
                resolve(paper, table, cell, Overrides(overrides.profile, {assumption: choice}))

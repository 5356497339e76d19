"""The numbers that the papers print: one row of ``published.csv`` per printed cell, read strictly."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from clipbench.errors import UserError
from clipbench.registry import Cell, Experiment, Paper

PROVENANCES = ("measured", "quoted", "not stated")
COLUMNS = (
    "experiment",
    "row",
    "column",
    "metric",
    "value",
    "std",
    "n",
    "unit",
    "decimals",
    "raw",
    "provenance",
    "reference",
    "line",
    "note",
)
# 98.20±12 | 0.27% | (0.5%) | -147.7
_RAW = re.compile(r"\(?(?P<value>-?\d+(?:\.\d+)?)%?\)?(?:\s*±\s*(?P<std>\d+(?:\.\d+)?))?")
_NOT_REPORTED = "--"


@dataclass(frozen=True)
class Published:
    """One printed number.

    Attributes:
        experiment: Stem of the experiment's file: ``table1``.
        row: Id of the row in that file.
        column: Id of the column in that file.
        metric: What the number measures: a name in ``clipbench.results.metrics``.
        value: The printed number in `unit`; None where the paper prints ``--``.
        std: The printed standard deviation in `unit`, None where none is printed. A misprint stands as it is read, and
            `note` says so.
        n: Repetitions that the paper states for this number; None where it states none.
        unit: ``%`` or ``M`` (millions).
        decimals: Printed decimals of `value`; None where there is no value.
        raw: The number exactly as it is printed.
        provenance: ``measured`` by the paper, ``quoted`` by it from elsewhere, or ``not stated`` which of the two.
        reference: The paper's own number of the work that a quoted number comes from.
        line: Line of the paper's extracted text that the number was read from.
        note: Misprints and how they are read, and what else a reader of this number must know.
    """

    experiment: str
    row: str
    column: str
    metric: str
    value: float | None
    std: float | None
    n: int | None
    unit: str
    decimals: int | None
    raw: str
    provenance: str
    reference: str | None
    line: int
    note: str

    @property
    def key(self) -> tuple[str, str, str]:
        """Experiment, row and column."""
        return self.experiment, self.row, self.column


def load_published(paper: Paper) -> Mapping[tuple[str, str, str], Published]:
    """Every printed number of a paper by (experiment, row, column), in the file's order.

    Raises:
        UserError: The file, the line and what is wrong: an unknown column, id or word, a cell that stands twice, or a
            value that is not what its raw string says.
    """
    path = paper.folder / "published.csv"
    found: dict[tuple[str, str, str], Published] = {}
    for number, row in _rows(path):
        where = f"{path}, line {number}"
        entry = _entry(row, where)
        _check(entry, paper, where)
        if entry.key in found:
            raise UserError(f"{where}: the cell {' / '.join(entry.key)} stands twice")
        found[entry.key] = entry
    return found


def _rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    """The rows with their line numbers, once the header is known to be `COLUMNS`."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.reader(file, strict=True)
            header = next(reader, [])
            _check_header(header, path)
            rows = [(reader.line_num, cells) for cells in reader]
    except FileNotFoundError:
        raise UserError(f"{path} is missing; every paper's folder holds it.") from None
    except (csv.Error, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid CSV: {error}") from None
    for number, cells in rows:
        if len(cells) != len(header):
            raise UserError(f"{path}, line {number}: {len(cells)} fields; the header has {len(header)}")
    return [(number, dict(zip(header, cells, strict=True))) for number, cells in rows]


def _check_header(header: list[str], path: Path) -> None:
    for name in header:
        if name not in COLUMNS:
            raise UserError(f"{path}, line 1: unknown column {name!r}; the columns are {', '.join(COLUMNS)}")
    if tuple(header) != COLUMNS:
        raise UserError(f"{path}, line 1: the columns must be {', '.join(COLUMNS)}, once each and in this order")


def _entry(row: Mapping[str, str], where: str) -> Published:
    """The row, typed."""
    return Published(
        experiment=row["experiment"],
        row=row["row"],
        column=row["column"],
        metric=row["metric"],
        value=_number(row, "value", where),
        std=_number(row, "std", where),
        n=_whole(row, "n", where),
        unit=row["unit"],
        decimals=_whole(row, "decimals", where),
        raw=row["raw"],
        provenance=row["provenance"],
        reference=row["reference"] or None,
        line=_whole(row, "line", where) or 0,
        note=row["note"],
    )


def _number(row: Mapping[str, str], name: str, where: str) -> float | None:
    text = row[name]
    if text and not re.fullmatch(r"-?\d+(\.\d+)?", text):
        raise UserError(f"{where}: {name} = {text!r} is not a plain number")
    return float(text) if text else None


def _whole(row: Mapping[str, str], name: str, where: str) -> int | None:
    text = row[name]
    if text and not re.fullmatch(r"\d+", text):
        raise UserError(f"{where}: {name} = {text!r} is not a whole number")
    return int(text) if text else None


def _check(entry: Published, paper: Paper, where: str) -> None:
    experiment = paper.experiments.get(entry.experiment)
    if experiment is None:
        raise UserError(f"{where}: no experiment {entry.experiment!r}; {paper.id} has {', '.join(paper.experiments)}")
    try:
        cell = Cell(experiment.row(entry.row), experiment.column(entry.column))
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    _check_meaning(entry, experiment, cell, where)
    _check_source(entry, paper, cell, where)
    _check_value(entry, where)


def _check_meaning(entry: Published, experiment: Experiment, cell: Cell, where: str) -> None:
    """Metric and unit are those of the experiment's file."""
    for name, found, due in (
        ("metric", entry.metric, experiment.metric_of(cell)),
        ("unit", entry.unit, experiment.unit_of(cell)),
    ):
        if found != due:
            raise UserError(f"{where}: {name} = {found!r}, but {experiment.name}.toml says {due!r}")


def _check_source(entry: Published, paper: Paper, cell: Cell, where: str) -> None:
    """Quoted here exactly where the experiment's file says so, from a reference that the paper lists."""
    if entry.provenance not in PROVENANCES:
        raise UserError(f"{where}: provenance = {entry.provenance!r}; allowed are {', '.join(PROVENANCES)}")
    if (entry.provenance == "quoted") != (entry.reference is not None):
        raise UserError(f"{where}: a quoted number needs its reference, and no other number has one")
    if entry.reference != cell.quoted:
        raise UserError(f"{where}: reference = {entry.reference!r}, but {entry.experiment}.toml says {cell.quoted!r}")
    if entry.reference is not None and entry.reference not in paper.references:
        raise UserError(f"{where}: paper.toml has no reference {entry.reference!r}")


def _check_value(entry: Published, where: str) -> None:
    """Value, decimals and standard deviation are those of the raw string."""
    if entry.raw == _NOT_REPORTED:
        if (entry.value, entry.std, entry.decimals) != (None, None, None):
            raise UserError(f"{where}: '--' is printed, so value, std and decimals must be empty")
        return
    match = _RAW.fullmatch(entry.raw)
    if match is None:
        raise UserError(f"{where}: raw = {entry.raw!r} is no printed number")
    decimals = len(match["value"].partition(".")[2])
    if entry.value != float(match["value"]) or entry.decimals != decimals:
        raise UserError(f"{where}: value {entry.value} with {entry.decimals} decimals, but {entry.raw!r} is printed")
    _check_std(entry, match["std"], decimals, where)


def _check_std(entry: Published, printed: str | None, decimals: int, where: str) -> None:
    """As printed; a whole number beside a decimal value lost its point (``98.20±12``) and needs a note."""
    due = float(printed) if printed else None
    if printed and decimals and "." not in printed:
        due = int(printed) / 10**decimals
        if not entry.note:
            raise UserError(f"{where}: {entry.raw!r} is a misprint; a note must say how it is read")
    if entry.std != due:
        raise UserError(f"{where}: std {entry.std}, but {entry.raw!r} is printed")

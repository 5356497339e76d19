"""The numbers that the papers print: one row of ``published.csv`` per printed cell, read strictly."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path

from clipbench.errors import UserError
from clipbench.registry import Axis, Cell, Paper, Table
from clipbench.registry.decimal import Decimal
from clipbench.registry.shapes import LABEL
from clipbench.registry.toml_files import read_text

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


Key = tuple[str, str, str]
"""Table, row and column, by their ids."""


@dataclass(frozen=True)
class PrintedNumber:
    """One printed number, of a registered paper or of a user's table.

    Attributes:
        key: Table (stem of its file: ``table1``), row and column.
        where: The same in the paper's words: ``Table I, r=8, AID 20% train``.
        raw: The number exactly as it is printed.
        value: The number in `unit`; None where the paper prints ``--``.
        std: The printed standard deviation in `unit`, None where none is printed. A misprint stands as it is read, and
            `note` says so.
        n: Repetitions that are stated for this number; None where none are.
        metric: What the number measures: a name in ``clipbench.results.metrics``; empty in a user's table.
        unit: ``%`` or ``M`` (millions).
        provenance: ``measured`` by the paper, ``quoted`` by it from elsewhere, or ``not stated`` which of the two.
        reference: The paper's own number of the work that a quoted number comes from.
        line: Line of the paper's extracted text, or of the user's file.
        note: Misprints and how they are read, and what else a reader of this number must know.
        operation: ``average`` or ``difference`` of `parts`; empty where the number stands for itself.
        parts: Keys of the numbers that it is computed from.
        test_size: Test images of one repetition; None where not known.
        size_source: Where that number comes from, or why it is not known.
        same_as: Numbers with an equal, non-empty word here are the same quantity.
    """

    key: Key
    where: str
    raw: str
    value: Decimal | None
    std: Decimal | None = None
    n: int | None = None
    metric: str = ""
    unit: str = "%"
    provenance: str = "not stated"
    reference: str | None = None
    line: int = 0
    note: str = ""
    operation: str = ""
    parts: tuple[Key, ...] = ()
    test_size: int | None = None
    size_source: str = ""
    same_as: str = ""

    @property
    def experiment(self) -> str:
        """Stem of the table's file."""
        return self.key[0]

    @property
    def row(self) -> str:
        """Id of the row."""
        return self.key[1]

    @property
    def column(self) -> str:
        """Id of the column."""
        return self.key[2]

    @property
    def decimals(self) -> int:
        """Printed decimals of the value."""
        return self.value.decimals if self.value else 0


@cache
def load_published(paper: Paper) -> Mapping[Key, PrintedNumber]:
    """Every printed number of a paper by (experiment, row, column), in the file's order.

    Raises:
        UserError: The file, the line and what is wrong: an unknown column, id or word, a cell that stands twice, or a
            value that is not what its raw string says.
    """
    path = paper.folder / "published.csv"
    found: dict[Key, PrintedNumber] = {}
    for number, row in _rows(path):
        where = f"{path}, line {number}"
        entry = _checked(row, paper, where)
        if entry.key in found:
            raise UserError(f"{where}: the cell {' / '.join(entry.key)} stands twice")
        found[entry.key] = entry
    return found


def _rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    """The rows with their line numbers, once the header is known to be `COLUMNS`."""
    try:
        reader = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
        header = next(reader, [])
        _check_header(header, path)
        rows = [(reader.line_num, cells) for cells in reader]
    except (csv.Error, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid CSV: {error}") from None
    for number, cells in rows:
        if len(cells) != len(header):
            raise UserError(f"{path}, line {number}: {len(cells)} fields; the header has {len(header)}")
        if odd := next((cell for cell in cells if cell and not LABEL.holds(cell)), None):
            raise UserError(f"{path}, line {number}: {odd[:40]!r} is no {LABEL.says}")
    return [(number, dict(zip(header, cells, strict=True))) for number, cells in rows]


def _check_header(header: list[str], path: Path) -> None:
    for name in header:
        if name not in COLUMNS:
            raise UserError(f"{path}, line 1: unknown column {name!r}; the columns are {', '.join(COLUMNS)}")
    if tuple(header) != COLUMNS:
        raise UserError(f"{path}, line 1: the columns must be {', '.join(COLUMNS)}, once each and in this order")


def _checked(row: Mapping[str, str], paper: Paper, where: str) -> PrintedNumber:
    """The row, typed, once its cell, its meaning, its source and its value are known to agree with the registry."""
    experiment = paper.tables.get(row["experiment"])
    if experiment is None:
        known = ", ".join(paper.tables)
        raise UserError(f"{where}: no experiment {row['experiment']!r}; {paper.id} has {known}")
    try:
        cell = Cell(experiment.row(row["row"]), experiment.column(row["column"]))
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    _check_meaning(row, experiment, cell, where)
    _check_source(row, paper, cell, where)
    value, std = _read(row, where)
    return PrintedNumber(
        key=(row["experiment"], row["row"], row["column"]),
        where=f"{experiment.printed}, {_label(cell.row)}, {_label(cell.column)}",
        raw=row["raw"],
        value=value,
        std=std,
        n=_whole(row, "n", where),
        metric=row["metric"],
        unit=row["unit"],
        provenance=row["provenance"],
        reference=row["reference"] or None,
        line=_whole(row, "line", where) or 0,
        note=row["note"],
        operation=_operation(cell),
        parts=tuple((experiment.name, part.row.id, part.column.id) for part in experiment.parts(cell)),
    )


def _label(axis: Axis) -> str:
    """The printed label; with its group where the label says nothing by itself (1 shot: CoOp)."""
    return f"{axis.group}: {axis.printed}" if axis.group else axis.printed


def _operation(cell: Cell) -> str:
    if not cell.derived:
        return ""
    return "average" if (cell.column if cell.column.derived else cell.row).average_of else "difference"


def _whole(row: Mapping[str, str], name: str, where: str) -> int | None:
    text = row[name]
    if text and not re.fullmatch(r"\d{1,9}", text, re.ASCII):
        raise UserError(f"{where}: {name} = {text[:40]!r} is not a whole number of at most 9 digits")
    if name == "n" and text and int(text) == 0:
        raise UserError(f"{where}: n = 0; a printed number has one repetition at least, or leave it empty")
    return int(text) if text else None


def _check_meaning(row: Mapping[str, str], experiment: Table, cell: Cell, where: str) -> None:
    """Metric and unit are those of the experiment's file."""
    for name, due in (("metric", experiment.metric_of(cell)), ("unit", experiment.unit_of(cell))):
        if row[name] != due:
            raise UserError(f"{where}: {name} = {row[name]!r}, but {experiment.name}.toml says {due!r}")


def _check_source(row: Mapping[str, str], paper: Paper, cell: Cell, where: str) -> None:
    """Quoted here exactly where the experiment's file says so, from a reference that the paper lists."""
    provenance, reference = row["provenance"], row["reference"] or None
    if provenance not in PROVENANCES:
        raise UserError(f"{where}: provenance = {provenance!r}; allowed are {', '.join(PROVENANCES)}")
    if (provenance == "quoted") != (reference is not None):
        raise UserError(f"{where}: a quoted number needs its reference, and no other number has one")
    if reference != cell.quoted:
        raise UserError(f"{where}: reference = {reference!r}, but {row['experiment']}.toml says {cell.quoted!r}")
    if reference is not None and reference not in paper.references:
        raise UserError(f"{where}: paper.toml has no reference {reference!r}")


def _read(row: Mapping[str, str], where: str) -> tuple[Decimal | None, Decimal | None]:
    """Value and standard deviation, which the columns and the raw string must give alike."""
    raw, value, std, decimals = (row[name] for name in ("raw", "value", "std", "decimals"))
    if raw == _NOT_REPORTED:
        if value or std or decimals:
            raise UserError(f"{where}: '--' is printed, so value, std and decimals must be empty")
        return None, None
    match = _RAW.fullmatch(raw)
    if match is None:
        raise UserError(f"{where}: raw = {raw!r} is no printed number")
    printed = Decimal.read(match["value"])
    if _plain(value, where) != printed.value or decimals != f"{printed.decimals}":
        raise UserError(f"{where}: value {value or 'none'} with {decimals or 'no'} decimals, but {raw!r} is printed")
    spread = _spread(match["std"], printed.decimals, row, where)
    if (_plain(std, where) if std else None) != (spread.value if spread else None):
        raise UserError(f"{where}: std {std or 'none'}, but {raw!r} is printed")
    return printed, spread


def _plain(text: str, where: str) -> Fraction:
    try:
        return Decimal.read(text).value
    except ValueError as error:
        raise UserError(f"{where}: {error}") from None


def _spread(printed: str | None, decimals: int, row: Mapping[str, str], where: str) -> Decimal | None:
    """As printed; a whole number beside a decimal value lost its point (``98.20±12``) and needs a note."""
    if not printed:
        return None
    if decimals and "." not in printed:
        if not row["note"]:
            raise UserError(f"{where}: {row['raw']!r} is a misprint; a note must say how it is read")
        return Decimal(int(printed), decimals)
    return Decimal.read(printed)

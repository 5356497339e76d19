"""One printed table or figure: rows, columns, panels, and what differs from cell to cell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clipbench.errors import UserError
from clipbench.registry.caution import Caution, load_caution
from clipbench.registry.toml_files import read_toml, strict


@dataclass(frozen=True, eq=False)
class Axis:
    """A row or a column: its printed label and what it adds to the protocol.

    ``quoted`` is the reference that the paper took the numbers from; ``average_of`` and ``difference_of`` name the
    entries of the same axis that a derived entry is computed from; ``extra`` marks an entry that the paper does not
    print (a reference of ours).
    """

    id: str
    printed: str
    recipe: str | None = None
    set: Mapping[str, Any] = field(default_factory=dict)
    group: str | None = None
    quoted: str | None = None
    metric: str | None = None
    unit: str | None = None
    average_of: Sequence[str] = ()
    difference_of: Sequence[str] = ()
    extra: bool = False
    dataset_name: str | None = None

    @property
    def derived(self) -> bool:
        """Computed from other entries, not run."""
        return bool(self.average_of or self.difference_of)


@dataclass(frozen=True)
class Cell:
    """Where a row and a column meet."""

    row: Axis
    column: Axis

    @property
    def derived(self) -> bool:
        """Computed from other cells, not run."""
        return self.row.derived or self.column.derived

    @property
    def quoted(self) -> str | None:
        """The reference that the paper took this number from, if it did not measure it."""
        return self.row.quoted or self.column.quoted


@dataclass(frozen=True)
class Panel:
    """One panel of a figure: the cells that it draws (row and column ids of the source table)."""

    title: str
    rows: Sequence[str]
    columns: Sequence[str]
    feature: str | None = None


@dataclass(frozen=True, eq=False)
class Table:
    """One printed table or figure. A figure draws the runs of its ``source`` table."""

    paper: str
    name: str
    kind: str
    printed: str
    title: str
    aliases: Sequence[str]
    protocol: str | None
    metric: str | None
    unit: str | None
    seeds: Sequence[int]
    rows: Sequence[Axis]
    columns: Sequence[Axis]
    source: str | None
    y: str | None
    panels: Sequence[Panel]
    set: Mapping[str, Any]
    notes: str
    cautions: Sequence[Caution] = ()

    @property
    def id(self) -> str:
        """``paper/name``, the name used everywhere."""
        return f"{self.paper}/{self.name}"

    def cells(self) -> Iterator[Cell]:
        """Every cell, row by row in the paper's order."""
        return (Cell(row, column) for row in self.rows for column in self.columns)

    def parts(self, cell: Cell) -> list[Cell]:
        """The cells that a derived cell is computed from; none where it stands for itself."""
        if names := (*cell.column.average_of, *cell.column.difference_of):
            return [Cell(cell.row, self.column(name)) for name in names]
        return [Cell(self.row(name), cell.column) for name in (*cell.row.average_of, *cell.row.difference_of)]

    def row(self, name: str) -> Axis:
        """The row of that id. Raises ``UserError`` that lists the rows."""
        return _pick(self.rows, name, f"{self.id} has no row")

    def column(self, name: str) -> Axis:
        """The column of that id. Raises ``UserError`` that lists the columns."""
        return _pick(self.columns, name, f"{self.id} has no column")

    def cautions_of(self, cell: Cell) -> list[str]:
        """What must be known of the cell's printed number before anything is compared with it."""
        return [c.says for c in self.cautions if c.holds(cell.row.id, cell.column.id)]

    def metric_of(self, cell: Cell) -> str:
        """What the cell's number measures: a name in ``clipbench.results.metrics``."""
        return cell.column.metric or cell.row.metric or self.metric or ""

    def unit_of(self, cell: Cell) -> str:
        """Unit of the cell's number."""
        return cell.column.unit or cell.row.unit or self.unit or ""


KINDS = ("table", "text", "curves", "scatter")
_AXIS: dict[str, type | tuple[type, ...]] = {
    "recipe": str,
    "set": dict,
    "group": str,
    "quoted": str,
    "metric": str,
    "unit": str,
    "average_of": list,
    "difference_of": list,
    "extra": bool,
    "dataset_name": str,
}
_OPTIONAL: dict[str, type | tuple[type, ...]] = {
    "aliases": list,
    "protocol": str,
    "metric": str,
    "unit": str,
    "seeds": list,
    "rows": list,
    "columns": list,
    "source": str,
    "y": str,
    "panels": list,
    "set": dict,
    "notes": str,
    "cautions": list,
}


def load_table(path: Path, paper: str) -> Table:
    """Read ``table1.toml``, ``figure3.toml``... Raises ``UserError`` with the file, the key and the allowed values."""
    where = str(path)
    table = strict(read_toml(path), where, {"kind": str, "printed": str, "title": str}, _OPTIONAL)
    if table["kind"] not in KINDS:
        raise UserError(f"{where}: kind = {table['kind']!r}; allowed are {', '.join(KINDS)}")
    rows, columns = (_axes(table.get(name, []), f"{where}, {name}") for name in ("rows", "columns"))
    ids = {"rows": [row.id for row in rows], "columns": [column.id for column in columns]}
    return Table(
        paper=paper,
        name=path.stem,
        kind=table["kind"],
        printed=table["printed"],
        title=table["title"],
        aliases=tuple(table.get("aliases", ())),
        protocol=table.get("protocol"),
        metric=table.get("metric"),
        unit=table.get("unit"),
        seeds=tuple(table.get("seeds", ())),
        rows=rows,
        columns=columns,
        source=table.get("source"),
        y=table.get("y"),
        panels=tuple(_panel(p, f"{where}, panels") for p in table.get("panels", [])),
        set=table.get("set", {}),
        notes=table.get("notes", ""),
        cautions=tuple(load_caution(c, f"{where}, cautions", ids) for c in table.get("cautions", [])),
    )


def _axes(entries: Sequence[Any], where: str) -> tuple[Axis, ...]:
    axes = []
    for entry in entries:
        strict(entry, where, {"id": str, "printed": str}, _AXIS)
        axes.append(Axis(**entry))
    ids = [a.id for a in axes]
    if len(set(ids)) < len(ids):
        raise UserError(f"{where}: an id stands twice")
    for axis in axes:
        for name in (*axis.average_of, *axis.difference_of):
            if name not in ids:
                raise UserError(f"{where}, {axis.id}: no entry {name!r} to compute from")
    return tuple(axes)


def _panel(entry: Any, where: str) -> Panel:
    return Panel(**strict(entry, where, {"title": str, "rows": list, "columns": list}, {"feature": str}))


def _pick(axes: Sequence[Axis], name: str, what: str) -> Axis:
    for axis in axes:
        if axis.id == name:
            return axis
    raise UserError(f"{what} {name!r}; it has {', '.join(a.id for a in axes)}")

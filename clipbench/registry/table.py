"""One printed table or figure: rows, columns, panels, and what differs from cell to cell."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clipbench.errors import UserError
from clipbench.registry.caution import Caution, load_caution
from clipbench.registry.toml_files import At, read_toml, seeds, strict, texts


@dataclass(frozen=True, eq=False)
class Axis:
    """A row or a column: its printed label and what it adds to the protocol.

    ``quoted`` is the reference that the paper took the numbers from; ``average_of`` and ``difference_of`` name the
    entries of the same axis that a derived entry is computed from; ``extra`` marks an entry that the paper does not
    print (a reference of ours); ``at`` is where it stands.
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
    at: At | None = None

    @property
    def full_name(self) -> str:
        """The printed label with its group's in front: ``ViT-B/16: 4``."""
        return f"{self.group}: {self.printed}" if self.group else self.printed

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
    x: str
    """What the horizontal axis of curves counts: ``Epoch`` where the file says nothing else."""
    y: str | None
    panels: Sequence[Panel]
    set: Mapping[str, Any]
    notes: str
    cautions: Sequence[Caution] = ()
    at: At | None = None

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


_KINDS = ("table", "text", "curves", "scatter")
_DRAWN = {"curves": ("accuracy", "train_loss"), "scatter": ("features",)}
"""What each kind of figure draws."""
_FEATURES = ("before", "after")
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
    "x": str,
    "y": str,
    "panels": list,
    "set": dict,
    "notes": str,
    "cautions": list,
}
_UNITS = ("%", "M")


def load_table(path: Path, paper: str) -> Table:
    """Read ``table1.toml``, ``figure3.toml``... Raises ``UserError`` with the file, its line and the key."""
    at = At(path)
    read = strict(read_toml(path), at, {"kind": str, "printed": str, "title": str}, _OPTIONAL)
    _check_kind(read, at)
    rows, columns = (_axes(read.get(name, []), at / name) for name in ("rows", "columns"))
    ids = {"rows": [row.id for row in rows], "columns": [column.id for column in columns]}
    return Table(
        paper=paper,
        name=path.stem,
        kind=read["kind"],
        printed=read["printed"],
        title=read["title"],
        aliases=texts(read.get("aliases", ()), at / "aliases"),
        protocol=read.get("protocol"),
        metric=read.get("metric"),
        unit=_unit(read, at),
        seeds=seeds(read["seeds"], at / "seeds") if "seeds" in read else (),
        rows=rows,
        columns=columns,
        source=read.get("source"),
        x=read.get("x", "Epoch"),
        y=read.get("y"),
        panels=tuple(_panel(p, at / "panels") for p in read.get("panels", [])),
        set=read.get("set", {}),
        notes=read.get("notes", ""),
        cautions=tuple(load_caution(c, at / "cautions", ids) for c in read.get("cautions", [])),
        at=at,
    )


def _check_kind(read: Mapping[str, Any], at: At) -> None:
    """A table has rows, columns and seeds; a figure has panels, and a source whose runs it draws."""
    kind = read["kind"]
    if kind not in _KINDS:
        raise UserError(f"{at / 'kind'}: kind = {kind!r}; allowed are {', '.join(_KINDS)}")
    needed, other = ("rows", "columns", "seeds"), ("panels", "source", "y")
    if kind in _DRAWN:
        needed, other = other, needed
        if read.get("y") not in _DRAWN[kind]:
            raise UserError(f"{at / 'y'}: y = {read.get('y')!r}; {kind} draw {' or '.join(_DRAWN[kind])}")
    for key in needed:
        if not read.get(key):
            raise UserError(f"{at}: a file of the kind {kind} needs {key}")
    for key in (*other, *(["x"] if kind != "curves" else [])):
        if key in read:
            raise UserError(f"{at / key}: a file of the kind {kind} has no {key}")


def _axes(entries: Sequence[Any], at: At) -> tuple[Axis, ...]:
    axes: list[Axis] = []
    for number, entry in enumerate(entries, start=1):
        here = at / (entry.get("id", number) if isinstance(entry, dict) else number)
        strict(entry, here, {"id": str, "printed": str}, _AXIS)
        if not re.fullmatch(r"[\w.+-]+", entry["id"], re.ASCII):
            raise UserError(f"{here}: id = {entry['id']!r}: letters, digits, and . + - _ make an id")
        _unit(entry, here)
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in entry.items()}
        axes.append(Axis(**values, at=here))
    ids = [a.id for a in axes]
    if twice := next((name for name in ids if ids.count(name) > 1), None):
        raise UserError(f"{at / twice}: an id stands twice")
    for axis, entry in zip(axes, entries, strict=True):
        _check_derived(axis, entry, {a.id: a for a in axes})
    return tuple(axes)


def _check_derived(axis: Axis, entry: Mapping[str, Any], axes: Mapping[str, Axis]) -> None:
    """What an entry is computed from is there, is no entry that is computed from it, and is of the due number."""
    at = axis.at or At(Path())
    if "average_of" in entry and "difference_of" in entry:
        raise UserError(f"{at}: average_of or difference_of, not both")
    for key in ("average_of", "difference_of"):
        if key not in entry:
            continue
        names = texts(entry[key], at / key)
        if unknown := [name for name in names if name not in axes]:
            raise UserError(f"{at / key}: no entry {unknown[0]!r} to compute from; there are {', '.join(axes)}")
        if (len(names) != 2) if key == "difference_of" else (len(names) < 2):
            due = "two entries" if key == "difference_of" else "two entries or more"
            raise UserError(f"{at / key}: {list(names)!r}; it takes {due}")
        if axis.id in _behind(axis, axes, set()):
            raise UserError(f"{at / key}: {axis.id} would be computed from itself")


def _behind(axis: Axis, axes: Mapping[str, Axis], seen: set[str]) -> set[str]:
    """Ids of all entries that one is computed from, directly or not."""
    for name in (*axis.average_of, *axis.difference_of):
        if name in axes and name not in seen:
            seen.add(name)
            _behind(axes[name], axes, seen)
    return seen


def _unit(read: Mapping[str, Any], at: At) -> str | None:
    if (unit := read.get("unit")) is not None and unit not in _UNITS:
        raise UserError(f"{at / 'unit'}: unit = {unit!r}; allowed are {', '.join(_UNITS)}")
    return unit


def _panel(entry: Any, at: At) -> Panel:
    strict(entry, at, {"title": str, "rows": list, "columns": list}, {"feature": str})
    here = at / entry["title"]
    if not entry["rows"] or not entry["columns"]:
        raise UserError(f"{here}: a panel needs a row and a column at least")
    if (feature := entry.get("feature")) is not None and feature not in _FEATURES:
        raise UserError(f"{here / 'feature'}: feature = {feature!r}; allowed are {', '.join(_FEATURES)}")
    rows, columns = texts(entry["rows"], here / "rows"), texts(entry["columns"], here / "columns")
    return Panel(entry["title"], rows, columns, entry.get("feature"))


def _pick(axes: Sequence[Axis], name: str, what: str) -> Axis:
    for axis in axes:
        if axis.id == name:
            return axis
    raise UserError(f"{what} {name!r}; it has {', '.join(a.id for a in axes)}")

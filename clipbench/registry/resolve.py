"""From a cell to its protocol: the paper's block, the table, recipe, row and column, then the overrides."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from clipbench.errors import UserError
from clipbench.registry.method_fields import declared_by, own_field
from clipbench.registry.paper import Paper, Recipe
from clipbench.registry.protocol import SHARED, Protocol
from clipbench.registry.reads import trains, unread, without_chance
from clipbench.registry.table import Axis, Cell, Table


@dataclass(frozen=True)
class Basis:
    """Where a protocol value comes from.

    ``kind`` is ``stated`` (the paper, with section, row or column), ``code`` (repository, commit, file), ``assumed``
    (an entry of ``assumptions.toml``), ``profile``, ``override``, or ``ours`` (a row that the paper does not print).
    """

    kind: str
    source: str


@dataclass(frozen=True)
class Overrides:
    """What the user changes: the profile, other choices of assumptions, and protocol fields (``--epochs 3``)."""

    profile: str = "full"
    assume: Mapping[str, str] = field(default_factory=dict)
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Resolved:
    """A cell's protocol with the basis of every field, or the reason why it cannot run.

    ``ignored`` are the overrides that nothing reads here, each with the reason.
    """

    protocol: Protocol
    basis: Mapping[str, Basis]
    missing: str | None
    ignored: Mapping[str, str] = field(default_factory=dict)


_NONE = Overrides()


def resolve(paper: Paper, table: Table, cell: Cell, overrides: Overrides = _NONE) -> Resolved:
    """The protocol of one cell: its layers, weakest first, less what nothing reads.

    Raises ``UserError`` on a fault in the registry or in the overrides.
    """
    values: dict[str, Any] = {}
    basis: dict[str, Basis] = {}
    unset: set[str] = set()

    def put(name: str, value: Any, found: Basis) -> None:
        values[name], basis[name] = value, found

    for entries, plain in _layers(paper, table, cell):
        for name, entry in entries.items():
            unset.discard(name)
            if not isinstance(entry, dict):
                put(name, entry, plain)
            elif set(entry) == {"unset"}:
                values.pop(name, None)
                unset.add(name)
            else:
                put(name, *_entry(paper, name, entry, overrides))
    for name, value in _left(_replacements(paper, table, cell, overrides), unset).items():
        put(name, value, Basis("profile", overrides.profile))
    trained = trains(values)
    foreign = _foreign(overrides.fields, values)
    for name, value in _left(overrides.fields, unset | set(foreign)).items():
        put(name, value, Basis("override", "command line"))
    # A user's method stands in a row of another one, whose own fields are none of its.
    idle = unread(values, trained=trained) | _foreign(values, values)
    protocol = _protocol(_left(values, idle), f"{table.id}, row {cell.row.id}, column {cell.column.id}")
    missing = next((r.missing for r in _recipes(paper, cell) if r.missing), None)
    missing = missing or _left_out(paper, table, cell, overrides)
    not_read = dict.fromkeys(unset, "this row does not read it") | foreign | idle
    ignored = {name: reason for name, reason in not_read.items() if name in overrides.fields}
    return Resolved(protocol, {name: basis[name] for name in protocol.as_dict()}, missing, ignored)


@cache
def as_printed(paper: Paper, table: Table, row: Axis, column: Axis) -> Resolved:
    """The paper's own protocol of a cell; computed once, because every view of a table asks for it."""
    return resolve(paper, table, Cell(row, column))


@cache
def as_smoke(paper: Paper, table: Table, row: Axis, column: Axis) -> Resolved:
    """The smoke profile's protocol of a cell."""
    return resolve(paper, table, Cell(row, column), Overrides(profile="smoke"))


def _protocol(values: Mapping[str, Any], origin: str) -> Protocol:
    try:
        return Protocol.of(values, origin)
    except UserError as error:
        raise UserError(f"{origin}: {error}") from None


def _left(values: Mapping[str, Any], without: Container[str]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in without}


def _foreign(names: Iterable[str], values: Mapping[str, Any]) -> dict[str, str]:
    """Of these fields, those that only another method declares, each with the reason why nothing reads it here."""
    method = values.get("method")
    if (declared := declared_by(method)) is None:
        return {}
    foreign = [n for n in names if n not in SHARED and not declared.field(n) and own_field(n)]
    return dict.fromkeys(foreign, f"the method {method} does not read it")


def assumptions_in_use(paper: Paper, table: Table) -> set[str]:
    """Ids of the assumptions that any cell of the table rests on."""
    used: set[str] = set()
    for cell in table.cells():
        for entries, _ in _layers(paper, table, cell):
            used |= {e["assumed"] for e in entries.values() if isinstance(e, dict) and "assumed" in e}
    return used


def check_assumed(paper: Paper, table: Table, assume: Mapping[str, str]) -> None:
    """Refuse ``--assume`` words that this table does not rest on, or choices that do not exist."""
    used = assumptions_in_use(paper, table)
    for name, word in assume.items():
        if name not in used:
            raise UserError(f"{table.id} rests on no assumption {name!r}; it rests on {', '.join(sorted(used))}.")
        chosen = paper.assumptions[name].choice(word)
        if chosen.missing:
            raise UserError(f"the choice {name}={word} cannot run yet: {chosen.missing}.")


def _layers(paper: Paper, table: Table, cell: Cell) -> Iterator[tuple[Mapping[str, Any], Basis]]:
    """The tables of protocol entries, weakest first, each with the basis of its plain values."""
    kind = "ours" if cell.row.extra or cell.column.extra else "stated"
    yield from ((block, Basis("stated", paper.id)) for block in _blocks(paper, table))
    yield table.set, Basis("stated", table.printed)
    yield from ((recipe.set, Basis(kind, table.printed)) for recipe in _recipes(paper, cell))
    yield (
        cell.column.set,
        Basis("ours" if cell.column.extra else "stated", f"{table.printed}, column {cell.column.printed}"),
    )
    yield cell.row.set, Basis("ours" if cell.row.extra else "stated", f"{table.printed}, row {cell.row.printed}")


@cache
def _blocks(paper: Paper, table: Table) -> list[Mapping[str, Any]]:
    """The table's protocol block and those that it extends, weakest first."""
    blocks: list[Mapping[str, Any]] = []
    seen: list[str] = []
    name = table.protocol
    while name:
        if name in seen:
            raise UserError(
                f"{paper.folder}/paper.toml: the protocol {name} extends itself ({' -> '.join([*seen, name])})"
            )
        if name not in paper.protocols:
            raise UserError(f"{paper.folder}/paper.toml has no protocol {name!r}, which {table.id} asks for")
        seen.append(name)
        block = dict(paper.protocols[name])
        name = block.pop("extends", None)
        blocks.insert(0, block)
    return blocks


def _recipes(paper: Paper, cell: Cell) -> list[Recipe]:
    """A recipe may be composed: ``lora+vit-b`` is the recipe ``lora`` with what ``vit-b`` adds; each with its cases."""
    names = [name for axis in (cell.column, cell.row) if axis.recipe for name in axis.recipe.split("+")]
    unknown = [n for n in names if n not in paper.recipes]
    if unknown:
        raise UserError(f"{paper.folder}/paper.toml has no recipe {unknown[0]!r}, which a row or column asks for")
    return [recipe for n in names for recipe in paper.recipes[n].of(cell)]


def _entry(paper: Paper, name: str, entry: Mapping[str, Any], over: Overrides) -> tuple[Any, Basis]:
    """Value and basis of one protocol entry."""
    where = f"{paper.folder}/paper.toml, protocol field {name}"
    if set(entry) == {"assumed"}:
        if entry["assumed"] not in paper.assumptions:
            raise UserError(f"{where}: no assumption {entry['assumed']!r} in assumptions.toml")
        assumption = paper.assumptions[entry["assumed"]]
        choice = assumption.choice(over.assume.get(assumption.id, assumption.take))
        if name not in choice.set:
            raise UserError(f"{where}: assumption {assumption.id!r} does not set it")
        return choice.set[name], Basis("assumed", f"{assumption.id}={choice.name}")
    for kind in ("stated", "code"):
        if set(entry) == {"value", kind}:
            return entry["value"], Basis(kind, entry[kind])
    raise UserError(f"{where}: {dict(entry)!r}; write {{value, stated}}, {{value, code}}, {{assumed}} or {{unset}}")


def _replacements(paper: Paper, table: Table, cell: Cell, overrides: Overrides) -> Mapping[str, Any]:
    if overrides.profile != "smoke":
        return {"profile": "full"}
    smoke = paper.smoke.get(table.protocol or "")
    if smoke is None:
        raise UserError(f"{table.id} has no smoke profile yet.")
    values = {**smoke.set, "profile": "smoke"}
    for recipe in _recipes(paper, cell):
        values |= recipe.smoke
    return values


def _left_out(paper: Paper, table: Table, cell: Cell, overrides: Overrides) -> str | None:
    """Why the smoke profile leaves a column out: it runs as few as prove the machinery."""
    columns = paper.smoke[table.protocol].columns if overrides.profile == "smoke" and table.protocol else ()
    if not columns or cell.column.id in columns:
        return None
    return f"the smoke profile runs {' and '.join(columns)} of this table"


def seeds_of(
    paper: Paper, table: Table, overrides: Overrides, protocol: Protocol | None = None, asked: Sequence[int] = ()
) -> tuple[int, ...]:
    """The seeds that were asked for, or that the profile asks for; one of them for a protocol without chance."""
    seeds = tuple(asked or table.seeds)
    if not asked and overrides.profile == "smoke" and (smoke := paper.smoke.get(table.protocol or "")):
        seeds = tuple(smoke.seeds)
    return seeds[:1] if protocol is not None and without_chance(protocol) else seeds

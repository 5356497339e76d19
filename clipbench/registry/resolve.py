"""From a cell to its protocol: the paper's block, the experiment, recipe, row and column, then the overrides."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from clipbench.errors import UserError
from clipbench.registry.paper import Paper, Recipe
from clipbench.registry.protocol import TRAINING, Protocol
from clipbench.registry.table import Axis, Cell, Experiment


@dataclass(frozen=True)
class Standing:
    """Where a protocol value comes from.

    ``kind`` is ``stated`` (the paper, with section), ``table`` (the row or column itself), ``official-code``
    (repository, commit, file), ``assumed`` (an entry of ``assumptions.toml``), ``profile`` or ``override``.
    """

    kind: str
    source: str


@dataclass(frozen=True)
class Overrides:
    """What the user changes: the profile, other readings of assumptions, and protocol fields (``--epochs 3``)."""

    profile: str = "full"
    assume: Mapping[str, str] = field(default_factory=dict)
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Resolved:
    """A cell's protocol with the standing of every field, or the reason why it cannot run."""

    protocol: Protocol
    standing: Mapping[str, Standing]
    missing: str | None


_NONE = Overrides()


def resolve(paper: Paper, experiment: Experiment, cell: Cell, overrides: Overrides = _NONE) -> Resolved:
    """The protocol of one cell. Raises ``UserError`` on a fault in the registry or in the overrides."""
    values: dict[str, Any] = {}
    standing: dict[str, Standing] = {}
    missing: list[str] = []
    unset: set[str] = set()

    def put(name: str, value: Any, kind: str, source: str) -> None:
        values[name] = value
        standing[name] = Standing(kind, source)

    for entries, plain in _layers(paper, experiment, cell):
        for name, entry in entries.items():
            unset.discard(name)
            if not isinstance(entry, dict):
                put(name, entry, "table", plain)
                continue
            if set(entry) == {"unset"}:
                values.pop(name, None)
                unset.add(name)
                continue
            value, kind, source, gap = _entry(paper, name, entry, overrides)
            put(name, value, kind, source)
            missing += [gap] if gap else []
    missing += [r.missing for r in _recipes(paper, cell) if r.missing]
    for name, value in _left(_replacements(paper, experiment, cell, overrides), unset).items():
        put(name, value, "profile", overrides.profile)
    idle = frozenset() if _trains(values) else TRAINING
    for name, value in _left(overrides.fields, unset | idle).items():
        put(name, value, "override", "command line")
    origin = f"{experiment.id}, row {cell.row.id}, column {cell.column.id}"
    try:
        protocol = Protocol.of(values, origin)
    except UserError as error:
        raise UserError(f"{origin}: {error}") from None
    ordered = {name: standing[name] for name in protocol.as_dict()}
    return Resolved(protocol, ordered, missing[0] if missing else None)


@cache
def as_printed(paper: Paper, experiment: Experiment, row: Axis, column: Axis) -> Resolved:
    """The paper's own protocol of a cell; computed once, because every view of a table asks for it."""
    return resolve(paper, experiment, Cell(row, column))


@cache
def as_smoke(paper: Paper, experiment: Experiment, row: Axis, column: Axis) -> Resolved:
    """The smoke profile's protocol of a cell."""
    return resolve(paper, experiment, Cell(row, column), Overrides(profile="smoke"))


def _left(values: Mapping[str, Any], without: Set[str]) -> dict[str, Any]:
    """What a protocol says that it does not read stays out of it, whatever the profile or the command line ask."""
    return {name: value for name, value in values.items() if name not in without}


def _trains(values: Mapping[str, Any]) -> bool:
    return "optimiser" in values and ("epochs" in values or "steps_per_shot" in values)


def assumptions_in_use(paper: Paper, experiment: Experiment) -> set[str]:
    """Ids of the assumptions that any cell of the experiment rests on."""
    used: set[str] = set()
    for cell in experiment.cells():
        for entries, _ in _layers(paper, experiment, cell):
            used |= {e["assumed"] for e in entries.values() if isinstance(e, dict) and "assumed" in e}
    return used


def check_assumed(paper: Paper, experiment: Experiment, assume: Mapping[str, str]) -> None:
    """Refuse ``--assume`` words that this experiment does not rest on, or readings that do not exist."""
    used = assumptions_in_use(paper, experiment)
    for name, reading in assume.items():
        if name not in used:
            raise UserError(f"{experiment.id} rests on no assumption {name!r}; it rests on {', '.join(sorted(used))}.")
        chosen = paper.assumptions[name].reading(reading)
        if chosen.missing:
            raise UserError(f"the reading {name}={reading} cannot run yet: {chosen.missing}.")


def _layers(paper: Paper, experiment: Experiment, cell: Cell) -> Iterator[tuple[Mapping[str, Any], str]]:
    """The tables of protocol entries, weakest first, each with the source of its plain values."""
    yield from ((block, paper.id) for block in _blocks(paper, experiment))
    yield experiment.set, experiment.printed
    yield from ((recipe.set, experiment.printed) for recipe in _recipes(paper, cell))
    yield cell.column.set, f"{experiment.printed}, column {cell.column.printed}"
    yield cell.row.set, f"{experiment.printed}, row {cell.row.printed}"


@cache
def _blocks(paper: Paper, experiment: Experiment) -> list[Mapping[str, Any]]:
    """The experiment's protocol block and those that it extends, weakest first."""
    blocks: list[Mapping[str, Any]] = []
    name = experiment.protocol
    while name:
        if name not in paper.protocols:
            raise UserError(f"{paper.folder}/paper.toml has no protocol {name!r}, which {experiment.id} asks for")
        block = dict(paper.protocols[name])
        name = block.pop("extends", None)
        blocks.insert(0, block)
    return blocks


def _recipes(paper: Paper, cell: Cell) -> list[Recipe]:
    """A recipe may be composed: ``lora+vit-b`` is the recipe ``lora`` with what ``vit-b`` adds."""
    names = [name for axis in (cell.column, cell.row) if axis.recipe for name in axis.recipe.split("+")]
    unknown = [n for n in names if n not in paper.recipes]
    if unknown:
        raise UserError(f"{paper.folder}/paper.toml has no recipe {unknown[0]!r}, which a row or column asks for")
    return [paper.recipes[n] for n in names]


def _entry(paper: Paper, name: str, entry: Mapping[str, Any], over: Overrides) -> tuple[Any, str, str, str | None]:
    """Value, kind, source and (where a reading cannot run yet) the reason of one protocol entry."""
    where = f"{paper.folder}/paper.toml, protocol field {name}"
    if set(entry) == {"assumed"}:
        if entry["assumed"] not in paper.assumptions:
            raise UserError(f"{where}: no assumption {entry['assumed']!r} in assumptions.toml")
        assumption = paper.assumptions[entry["assumed"]]
        reading = assumption.reading(over.assume.get(assumption.id, assumption.take))
        if name not in reading.set:
            raise UserError(f"{where}: assumption {assumption.id!r} does not set it")
        return reading.set[name], "assumed", f"{assumption.id}={reading.name}", reading.missing
    for key, kind in (("stated", "stated"), ("code", "official-code")):
        if set(entry) == {"value", key}:
            return entry["value"], kind, entry[key], None
    raise UserError(f"{where}: {dict(entry)!r}; write {{value, stated}}, {{value, code}}, {{assumed}} or {{unset}}")


def _replacements(paper: Paper, experiment: Experiment, cell: Cell, overrides: Overrides) -> Mapping[str, Any]:
    if overrides.profile != "smoke":
        return {"profile": "full"}
    smoke = paper.smoke.get(experiment.protocol or "")
    if smoke is None:
        raise UserError(f"{experiment.id} has no smoke profile yet.")
    values = {**smoke.set, "profile": "smoke"}
    for recipe in _recipes(paper, cell):
        values |= recipe.smoke
    return values


def seeds_of(paper: Paper, experiment: Experiment, overrides: Overrides) -> tuple[int, ...]:
    """The seeds that the profile asks for."""
    if overrides.profile == "smoke" and (smoke := paper.smoke.get(experiment.protocol or "")):
        return tuple(smoke.seeds)
    return tuple(experiment.seeds)

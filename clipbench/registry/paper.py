"""A paper: the folder under ``benchmarks/`` that holds its tables, protocols, assumptions and printed numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

from clipbench.errors import UserError, near
from clipbench.registry.assumptions import Assumption, load_assumptions
from clipbench.registry.table import Cell, Table, load_table
from clipbench.registry.toml_files import read_toml, strict


@dataclass(frozen=True)
class Recipe:
    """How a method of the paper is set up: protocol entries, what the smoke profile replaces, why it cannot run yet.

    ``cases`` hold what differs for some data sets or numbers of shots; a later case replaces what an earlier one sets.
    """

    set: Mapping[str, Any]
    smoke: Mapping[str, Any]
    missing: str | None = None
    cases: Sequence[Case] = ()

    def of(self, cell: Cell) -> list[Recipe]:
        """The recipe, and after it each of its cases that the cell is one of."""
        return [self, *(case.recipe for case in self.cases if case.holds(cell))]


@dataclass(frozen=True)
class Case:
    """What a recipe adds where fields of the row or column have one of the values in ``where``."""

    where: Mapping[str, Sequence[Any]]
    recipe: Recipe

    def holds(self, cell: Cell) -> bool:
        """Whether the cell's row or column says so."""
        said = {**cell.column.set, **cell.row.set}
        return all(said.get(name) in values for name, values in self.where.items())


@dataclass(frozen=True)
class Smoke:
    """What the smoke profile replaces in a protocol, and its seeds."""

    set: Mapping[str, Any]
    seeds: Sequence[int]


@dataclass(frozen=True, eq=False)
class Paper:
    """One paper, whole."""

    id: str
    title: str
    short: str
    reference: str
    bibtex: str
    folder: Path
    protocols: Mapping[str, Mapping[str, Any]]
    recipes: Mapping[str, Recipe]
    smoke: Mapping[str, Smoke]
    references: Mapping[str, str]
    assumptions: Mapping[str, Assumption]
    tables: Mapping[str, Table]


def registry_dir() -> Path:
    """``benchmarks/`` inside an installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "benchmarks", package.parent / "benchmarks"):
        if folder.is_dir():
            return folder
    raise UserError(f"the registry is missing: no benchmarks/ in or beside {package}. Reinstall clipbench.")


@cache
def load_papers(folder: Path | None = None) -> tuple[Paper, ...]:
    """Every paper of the registry: each folder that holds a ``paper.toml``, in falling order of their ids."""
    found = sorted((folder or registry_dir()).glob("*/paper.toml"))
    papers = sorted((load_paper(path.parent) for path in found), key=lambda p: p.id, reverse=True)
    names = [n for p in papers for e in p.tables.values() for n in (e.id, *e.aliases)]
    doubled = sorted({n for n in names if names.count(n) > 1})
    if doubled:
        raise UserError(f"the registry names two tables {doubled[0]!r}")
    return tuple(papers)


def load_paper(folder: Path) -> Paper:
    """Read one paper's folder. Raises ``UserError`` with the file and key of the first fault."""
    path = folder / "paper.toml"
    required = {"id": str, "title": str, "short": str, "reference": str, "bibtex": str, "protocols": dict}
    table = strict(read_toml(path), str(path), required, {"recipes": dict, "smoke": dict, "references": dict})
    files = sorted(p for p in folder.glob("*.toml") if p.stem not in {"paper", "assumptions", "claims"})
    tables = [load_table(p, table["id"]) for p in files]
    return Paper(
        id=table["id"],
        title=table["title"],
        short=table["short"],
        reference=table["reference"],
        bibtex=table["bibtex"],
        folder=folder,
        protocols=table["protocols"],
        recipes={name: _recipe(r, f"{path}, recipes.{name}") for name, r in table.get("recipes", {}).items()},
        smoke={name: _smoke(s, f"{path}, smoke.{name}") for name, s in table.get("smoke", {}).items()},
        references=table.get("references", {}),
        assumptions=load_assumptions(folder / "assumptions.toml"),
        tables={e.name: e for e in sorted(tables, key=lambda e: (e.kind not in ("table", "text"), e.name))},
    )


Extend: TypeAlias = Callable[[Paper, Table], Table]


def as_it_is(paper: Paper, experiment: Table) -> Table:  # noqa: ARG001
    """Nothing is added to a table."""
    return experiment


def find(patterns: Sequence[str], extend: Extend = as_it_is) -> list[tuple[Paper, Table]]:
    """The tables and figures that words name: ``table1``, ``lora-clip/table1``, ``clip-dora``, ``*/table*``; none: all.

    ``extend`` may add the user's own data or methods to each.
    """
    from fnmatch import fnmatchcase

    everything = [(paper, e) for paper in load_papers() for e in paper.tables.values()]
    chosen: list[tuple[Paper, Table]] = []
    for pattern in patterns or ["*"]:
        hits = [(p, e) for p, e in everything if any(fnmatchcase(n, pattern) for n in (e.id, p.id, *e.aliases))]
        if not hits:
            raise UserError(_unknown(pattern, everything))
        chosen += [hit for hit in hits if hit not in chosen]
    return [(paper, extend(paper, experiment)) for paper, experiment in chosen]


def _unknown(pattern: str, everything: Sequence[tuple[Paper, Table]]) -> str:
    hint = near(pattern, (n for _, e in everything for n in (e.id, *e.aliases)))
    ids = ", ".join(e.id for _, e in everything)
    return f"no table or figure is called {pattern!r}.{hint} Known are {ids}; `clipbench list` shows their aliases."


def _recipe(entry: Any, where: str) -> Recipe:
    strict(entry, where, {}, {"set": dict, "smoke": dict, "missing": str, "cases": list})
    cases = tuple(_case(case, f"{where}, case {i + 1}") for i, case in enumerate(entry.get("cases", [])))
    return Recipe(entry.get("set", {}), entry.get("smoke", {}), entry.get("missing"), cases)


def _case(entry: Any, where: str) -> Case:
    strict(entry, where, {"where": dict}, {"set": dict, "smoke": dict})
    for name, values in entry["where"].items():
        if not isinstance(values, list):
            raise UserError(f"{where}: {name} = {values!r}; write the values as a list")
    return Case(entry["where"], Recipe(entry.get("set", {}), entry.get("smoke", {})))


def _smoke(entry: Any, where: str) -> Smoke:
    strict(entry, where, {"seeds": list, "set": dict}, {})
    return Smoke(entry["set"], tuple(entry["seeds"]))

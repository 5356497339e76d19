"""A paper: the folder under ``benchmarks/`` that holds its tables, protocols, assumptions and printed numbers."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from clipbench.errors import UserError
from clipbench.registry.assumptions import Assumption, load_assumptions
from clipbench.registry.table import Cell, Table, load_table
from clipbench.registry.toml_files import At, read_toml, seeds, strict

PAPERS_VARIABLE = "CLIPBENCH_PAPERS"
"""Environment variable with folders of the user's own papers, separated as in PATH."""


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
    """What the smoke profile replaces in a protocol, its seeds, and the columns that it runs (none named: all)."""

    set: Mapping[str, Any]
    seeds: Sequence[int]
    columns: Sequence[str] = ()


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


def papers_dirs() -> tuple[Path, ...]:
    """Our papers' folder, and the user's own (``--papers DIR``, which `PAPERS_VARIABLE` hands to every process)."""
    named = [Path(word) for word in os.environ.get(PAPERS_VARIABLE, "").split(os.pathsep) if word]
    return (registry_dir(), *named)


def load_papers() -> tuple[Paper, ...]:
    """Every paper of the registry and of the user's folders, in falling order of their ids."""
    return _load(papers_dirs())


@cache
def _load(folders: Sequence[Path]) -> tuple[Paper, ...]:
    papers = [load_paper(folder) for parent in folders for folder in paper_folders(parent)]
    for paper in papers:
        if other := next((p for p in papers if p.id == paper.id and p is not paper), None):
            raise UserError(f"two papers have the id {paper.id!r}: {paper.folder} and {other.folder}")
    return tuple(sorted(papers, key=lambda p: p.id, reverse=True))


def paper_folders(parent: Path) -> list[Path]:
    """The folders of papers in a folder, or itself where it is one: each holds a ``paper.toml``.

    Raises ``UserError`` where there is none.
    """
    if (parent / "paper.toml").is_file():
        return [parent]
    found = sorted(path.parent for path in parent.glob("*/paper.toml"))
    if not found:
        what = "is no folder" if not parent.is_dir() else "holds no folder with a paper.toml"
        raise UserError(f"{parent} {what}; a paper is a folder like those in {registry_dir()}.")
    return found


def load_paper(folder: Path) -> Paper:
    """Read one paper's folder. Raises ``UserError`` with the file, its line and the key of the first fault."""
    at = At(folder / "paper.toml")
    required = {"id": str, "title": str, "short": str, "reference": str, "bibtex": str, "protocols": dict}
    read = strict(read_toml(at.file), at, required, {"recipes": dict, "smoke": dict, "references": dict})
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", read["id"]):
        raise UserError(f"{at / 'id'}: id = {read['id']!r}: small letters, digits and hyphens make an id")
    files = sorted(p for p in folder.glob("*.toml") if p.stem not in {"paper", "assumptions", "claims"})
    tables = [load_table(p, read["id"]) for p in files]
    paper = Paper(
        id=read["id"],
        title=read["title"],
        short=read["short"],
        reference=read["reference"],
        bibtex=read["bibtex"],
        folder=folder,
        protocols=read["protocols"],
        recipes={name: _recipe(r, at / "recipes" / name) for name, r in read.get("recipes", {}).items()},
        smoke={name: _smoke(s, at / "smoke" / name) for name, s in read.get("smoke", {}).items()},
        references=read.get("references", {}),
        assumptions=load_assumptions(folder / "assumptions.toml"),
        tables={t.name: t for t in sorted(tables, key=lambda t: (t.kind not in ("table", "text"), t.name))},
    )
    # Checks of the whole paper stand in a file of their own, which needs the type Paper.
    from clipbench.registry.paper_checks import check_paper

    check_paper(paper, at)
    return paper


def _recipe(entry: Any, at: At) -> Recipe:
    strict(entry, at, {}, {"set": dict, "smoke": dict, "missing": str, "cases": list})
    cases = tuple(_case(case, at / f"case {i}") for i, case in enumerate(entry.get("cases", []), start=1))
    return Recipe(entry.get("set", {}), entry.get("smoke", {}), entry.get("missing"), cases)


def _case(entry: Any, at: At) -> Case:
    strict(entry, at, {"where": dict}, {"set": dict, "smoke": dict})
    for name, values in entry["where"].items():
        if not isinstance(values, list) or not values:
            raise UserError(f"{at}: {name} = {values!r}; write the values as a list")
    return Case(entry["where"], Recipe(entry.get("set", {}), entry.get("smoke", {})))


def _smoke(entry: Any, at: At) -> Smoke:
    strict(entry, at, {"seeds": list, "set": dict}, {"columns": list})
    return Smoke(entry["set"], seeds(entry["seeds"], at / "seeds"), tuple(entry.get("columns", ())))

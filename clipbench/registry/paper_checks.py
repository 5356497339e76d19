"""Whether the files of a paper fit together: recipes, references, assumptions, sources of figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from clipbench.errors import UserError, near
from clipbench.registry.entries import check_entries
from clipbench.registry.toml_files import At

if TYPE_CHECKING:
    from clipbench.registry.paper import Paper
    from clipbench.registry.table import Table


def check_paper(paper: Paper, at: At) -> None:
    """Raise ``UserError`` with file and line where the files of a paper do not fit together."""
    assumptions = {a.id: a.default.set for a in paper.assumptions.values()}
    for name, block in paper.protocols.items():
        _check_block(paper, name, block, at / "protocols" / name, assumptions)
    for name, recipe in paper.recipes.items():
        check_entries(recipe.set, at / "recipes" / name / "set", assumptions)
        check_entries(recipe.smoke, at / "recipes" / name / "smoke", assumptions)
        for number, case in enumerate(recipe.cases, start=1):
            here = at / "recipes" / name / f"case {number}"
            check_entries({key: values[0] for key, values in case.where.items()}, here, assumptions)
            check_entries(case.recipe.set, here, assumptions)
            check_entries(case.recipe.smoke, here, assumptions)
    for name, smoke in paper.smoke.items():
        if name not in paper.protocols:
            raise UserError(f"{at / 'smoke' / name}: there is no protocol {name!r}")
        check_entries(smoke.set, at / "smoke" / name / "set", assumptions)
    for name, text in paper.references.items():
        if not isinstance(text, str) or not text.strip():
            raise UserError(f"{at / 'references' / name}: {text!r} is no text")
    for table in paper.tables.values():
        _check_table(paper, table, assumptions)


def _check_block(paper: Paper, name: str, block: Any, at: At, assumptions: Mapping[str, Mapping[str, Any]]) -> None:
    if not isinstance(block, dict):
        raise UserError(f"{at}: expected a table, found {block!r}")
    check_entries({key: entry for key, entry in block.items() if key != "extends"}, at, assumptions)
    seen = [name]
    while (base := paper.protocols[seen[-1]].get("extends")) is not None:
        if not isinstance(base, str) or base not in paper.protocols:
            raise UserError(f"{at / 'extends'}: there is no protocol {base!r}; there are {', '.join(paper.protocols)}")
        if base in seen:
            raise UserError(f"{at / 'extends'}: the protocol {name} extends itself ({' -> '.join([*seen, base])})")
        seen.append(base)


def _check_table(paper: Paper, table: Table, assumptions: Mapping[str, Mapping[str, Any]]) -> None:
    at = table.at or At(paper.folder)
    if table.protocol is not None and table.protocol not in paper.protocols:
        raise UserError(f"{at / 'protocol'}: there is no protocol {table.protocol!r}; see {paper.folder}/paper.toml")
    check_entries(table.set, at / "set", assumptions)
    for axis in (*table.rows, *table.columns):
        here = axis.at or at
        check_entries(axis.set, here / "set", assumptions)
        for recipe in axis.recipe.split("+") if axis.recipe else ():
            if recipe not in paper.recipes:
                raise UserError(f"{here / 'recipe'}: there is no recipe {recipe!r}.{near(recipe, paper.recipes)}")
        if axis.quoted is not None and axis.quoted not in paper.references:
            raise UserError(f"{here / 'quoted'}: the references of paper.toml have no {axis.quoted!r}")
    if table.panels:
        _check_panels(paper, table, at)


def _check_panels(paper: Paper, figure: Table, at: At) -> None:
    source = paper.tables.get(figure.source or "")
    if source is None or source.panels:
        tables = ", ".join(t.name for t in paper.tables.values() if not t.panels)
        raise UserError(f"{at / 'source'}: source = {figure.source!r} is no table of the paper; there are {tables}")
    for panel in figure.panels:
        for words, axes in ((panel.rows, source.rows), (panel.columns, source.columns)):
            ids = [axis.id for axis in axes]
            if unknown := [word for word in words if word not in ids]:
                here = at / "panels" / panel.title / unknown[0]
                raise UserError(f"{here}: {source.name} has no {unknown[0]!r}; it has {', '.join(ids)}")

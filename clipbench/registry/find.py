"""Tables and figures by their names: ids, aliases, papers, and names that one paper alone has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from typing import TypeAlias

from clipbench.errors import UserError, near
from clipbench.registry.paper import Paper, load_papers
from clipbench.registry.table import Table

Named: TypeAlias = tuple[Paper, Table]
Added: TypeAlias = Callable[[Paper, Table], Table]
"""What a command line adds to a table: the user's data or methods."""


def nothing_added(paper: Paper, table: Table) -> Table:  # noqa: ARG001
    """The table as the paper has it."""
    return table


def find(patterns: Sequence[str], added: Added = nothing_added) -> list[Named]:
    """The tables and figures that words name: ``table1``, ``lora-clip/table1``, ``clip-dora``, ``*/table*``; none: all.

    Raises ``UserError`` with the candidates for a name that several papers have, and with near names for an unknown
    one.
    """
    everything = [(paper, table) for paper in load_papers() for table in paper.tables.values()]
    chosen: list[Named] = []
    for pattern in patterns or ["*"]:
        chosen += [hit for hit in _hits(pattern, everything) if hit not in chosen]
    return [(paper, added(paper, table)) for paper, table in chosen]


def which(patterns: Sequence[str]) -> list[str]:
    """For every alias that other papers have as a table's name, a sentence that says whose it is, and theirs."""
    everything = [(paper, table) for paper in load_papers() for table in paper.tables.values()]
    lines = []
    for pattern in patterns:
        others = [(p, t) for p, t in everything if t.name == pattern and pattern not in t.aliases]
        if len(meant := [(p, t) for p, t in everything if pattern in t.aliases]) == 1 and others:
            paper, table = meant[0]
            rest = "; ".join(f"{p.short}'s {t.printed} is called {_calls(t)}" for p, t in others if p is not paper)
            lines += [f"{pattern} is {table.id}, {table.printed} of {paper.short}; {rest}."] if rest else []
    return lines


def _hits(pattern: str, everything: Sequence[Named]) -> list[Named]:
    if any(sign in pattern for sign in "*?["):
        hits = [(p, t) for p, t in everything if any(fnmatchcase(n, pattern) for n in (t.id, p.id, *t.aliases))]
    else:
        hits = [(p, t) for p, t in everything if pattern in (t.id, p.id)]
        hits = hits or _one([(p, t) for p, t in everything if pattern in t.aliases], pattern)
        hits = hits or _one([(p, t) for p, t in everything if pattern == t.name], pattern)
    if not hits:
        hint = near(pattern, (n for _, t in everything for n in (t.id, t.name, *t.aliases)))
        ids = ", ".join(t.id for _, t in everything)
        raise UserError(
            f"no table or figure is called {pattern!r}.{hint} Known are {ids}; `clipbench list` shows their aliases."
        )
    return hits


def _one(hits: list[Named], pattern: str) -> list[Named]:
    """A name that several papers have is refused: it would be one of them in silence."""
    if len(hits) > 1:
        candidates = "; ".join(f"{_calls(t)} ({t.printed} of {p.short})" for p, t in hits)
        raise UserError(f"{pattern!r} is a name in {len(hits)} papers. Say which: {candidates}.")
    return hits


def _calls(table: Table) -> str:
    other = [alias for alias in table.aliases if alias != table.name]
    return " or ".join([table.id, *other])

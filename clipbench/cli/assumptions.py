"""``clipbench assumptions``: what the papers leave unsaid, the choices that are possible, and the one taken."""

from __future__ import annotations

import argparse
import json
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from clipbench.registry import Assumption, Paper, Table, find
from clipbench.registry.resolve import assumptions_in_use
from clipbench.report.terminal import width


def main(arguments: argparse.Namespace) -> int:
    """Print the ledger of the tables that the words name."""
    ledgers = [(paper, _used(paper, tables)) for paper, tables in _by_paper(arguments.tables)]
    if arguments.format == "json":
        values = {paper.id: [_values(a, where) for a, where in used] for paper, used in ledgers}
        print(json.dumps(values, indent=1, ensure_ascii=False))
        return 0
    one = _markdown if arguments.format == "md" else _text
    print("\n\n".join(one(paper, used) for paper, used in ledgers))
    return 0


Used = Sequence[tuple[Assumption, Sequence[str]]]
"""Assumptions with the tables that rest on them."""


def _by_paper(patterns: Sequence[str]) -> list[tuple[Paper, list[Table]]]:
    papers: dict[str, tuple[Paper, list[Table]]] = {}
    for paper, table in find(patterns):
        papers.setdefault(paper.id, (paper, []))[1].append(table)
    return list(papers.values())


def _used(paper: Paper, tables: Sequence[Table]) -> Used:
    where: dict[str, list[str]] = {}
    for table in tables:
        source = paper.tables[table.source] if table.source else table
        for name in assumptions_in_use(paper, source):
            where.setdefault(name, []).append(table.name)
    return [(a, where[a.id]) for a in paper.assumptions.values() if a.id in where]


def _text(paper: Paper, used: Used) -> str:
    lines = [_filled(f"{paper.short}: {len(used)} questions that the paper leaves open (* is the choice taken)", "")]
    for a, where in used:
        question = f"{a.id}: {a.question}  [{', '.join(where)}]"
        lines += ["", _filled(question, ""), _filled(" ".join(a.why.split()), "    ")]
        for choice in a.choices.values():
            mark = "*" if choice.name == a.take else " "
            missing = f" (cannot run yet: {choice.missing})" if choice.missing else ""
            lines.append(_filled(f"{mark} {choice.name}: {choice.means}{missing}", "  "))
    first = paper.assumptions[used[0][0].id] if used else None
    other = (
        next((r.name for r in first.choices.values() if r.name != first.take and not r.missing), "") if first else ""
    )
    if first and other:
        example = f"another choice: clipbench run TABLE --assume {first.id}={other}; every one: --assume all"
        lines += ["", _filled(example, "")]
    return "\n".join(lines)


def _filled(text: str, indent: str) -> str:
    return textwrap.fill(text, width(), initial_indent=indent, subsequent_indent=f"{indent}  ")


def _markdown(paper: Paper, used: Used) -> str:
    lines = [f"## {paper.short}: what is not said", "", "| question | choices | why | in |", "|---|---|---|---|"]
    for a, where in used:
        choices = "<br>".join(_reading(a, name) for name in a.choices)
        lines.append(f"| {a.question} (`{a.id}`) | {choices} | {' '.join(a.why.split())} | {', '.join(where)} |")
    return "\n".join(lines)


def _reading(a: Assumption, name: str) -> str:
    choice = a.choices[name]
    missing = f" (cannot run yet: {choice.missing})" if choice.missing else ""
    shown = f"`{name}`: {choice.means}{missing}"
    return f"**{shown}**" if name == a.take else shown


def _values(a: Assumption, where: Sequence[str]) -> Mapping[str, Any]:
    choices = [
        {"name": r.name, "set": dict(r.set), "means": r.means, "default": r.name == a.take, "missing": r.missing}
        for r in a.choices.values()
    ]
    why = " ".join(a.why.split())
    return {"id": a.id, "question": a.question, "why": why, "tables": list(where), "choices": choices}

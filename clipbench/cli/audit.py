"""``clipbench audit``: the arithmetic of the papers' own numbers, or of the tables in a file."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from clipbench.audit.finding import CANNOT, Finding
from clipbench.audit.paper import audit_paper
from clipbench.audit.user_table import audit_csv
from clipbench.cli.output import show
from clipbench.errors import UserError, near
from clipbench.registry import Paper, load_papers
from clipbench.report.audit import render


def main(arguments: argparse.Namespace) -> int:
    """Print the audit; with ``--strict`` an impossible or inconsistent number makes the exit code 1."""
    known = {paper.id for paper in load_papers()}
    files = [Path(word) for word in arguments.papers if word not in known and Path(word).exists()]
    names = [word for word in arguments.papers if Path(word) not in files]
    if lost := [word for word in names if word not in known and Path(word).suffix]:
        raise UserError(
            f"there is no file {lost[0]} here; name a table's file, or a paper: {', '.join(sorted(known))}."
        )
    if arguments.csv is not None:
        files.append(arguments.csv)
    if files and names:
        raise UserError(f"name papers ({', '.join(names)}) or files ({', '.join(map(str, files))}), not both.")
    audits: dict[str, Sequence[Finding]] = {str(file): audit_csv(file) for file in files}
    audits = audits or {paper.short: audit_paper(paper) for paper in papers_named(names)}
    grave = any(f.severity in ("impossible", "inconsistent") for findings in audits.values() for f in findings)
    show(render(audits, arguments.format, every=arguments.all))
    for name in (name for name, findings in audits.items() if all(f.severity == CANNOT for f in findings)):
        sys.stderr.write(
            f"{name}: nothing could be checked; the reasons stand above, and `clipbench audit --help` says what the "
            "checks need.\n"
        )
    return int(grave and arguments.strict)


def papers_named(names: Sequence[str]) -> list[Paper]:
    """The papers of those ids, all where none is named. Raises ``UserError`` that lists them."""
    papers = {paper.id: paper for paper in load_papers()}
    for name in names:
        if name not in papers:
            raise UserError(f"no paper is called {name!r}; there are {', '.join(papers)}.{near(name, papers)}")
    return [papers[name] for name in dict.fromkeys(names)] if names else list(papers.values())

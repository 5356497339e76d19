"""``clipbench audit``: the arithmetic of the papers' own numbers, or of a table in a CSV file."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from clipbench.audit.finding import Finding
from clipbench.audit.paper import audit_paper
from clipbench.audit.user_table import audit_csv
from clipbench.cli.output import show
from clipbench.errors import UserError, near
from clipbench.registry import Paper, load_papers
from clipbench.report.audit import render


def main(arguments: argparse.Namespace) -> int:
    """Print the audit; with ``--strict`` an impossible or inconsistent number makes the exit code 1."""
    audits: dict[str, Sequence[Finding]] = {}
    if arguments.csv is not None:
        if arguments.papers:
            raise UserError("name papers or a --csv file, not both.")
        audits[str(arguments.csv)] = audit_csv(arguments.csv)
    else:
        audits = {paper.short: audit_paper(paper) for paper in papers_named(arguments.papers)}
    grave = any(f.severity in ("impossible", "inconsistent") for findings in audits.values() for f in findings)
    show(render(audits, arguments.format, every=arguments.all))
    return 1 if arguments.strict and grave else 0


def papers_named(names: Sequence[str]) -> list[Paper]:
    """The papers of those ids, all where none is named. Raises ``UserError`` that lists them."""
    papers = {paper.id: paper for paper in load_papers()}
    for name in names:
        if name not in papers:
            raise UserError(f"no paper is called {name!r}; there are {', '.join(papers)}.{near(name, papers)}")
    return [papers[name] for name in dict.fromkeys(names)] if names else list(papers.values())

"""``clipbench claims``: the papers' sentences against their printed numbers and, with ``--measured``, against ours."""

from __future__ import annotations

import argparse
from pathlib import Path

from clipbench.audit.sentences.claim import load_claims
from clipbench.audit.sentences.printed import on_printed
from clipbench.cli.audit import papers_named
from clipbench.cli.records import report
from clipbench.compare.cells import Library
from clipbench.compare.claims import Bench, on_measured
from clipbench.report.claims import Judged, render
from clipbench.report.provenance import provenance_of
from clipbench.results.record import Record
from clipbench.results.store import Store


def main(arguments: argparse.Namespace) -> int:
    """Print every claim with its verdicts."""
    records = _records(arguments.out) if arguments.measured else []
    library = Library(records, arguments.profile)
    judged = {}
    for paper in papers_named(arguments.papers):
        bench = Bench(paper, library) if arguments.measured else None
        judged[paper.short] = [
            Judged(claim, on_printed(claim), on_measured(claim, bench) if bench else None)
            for claim in load_claims(paper)
        ]
    chosen = [r for r in records if arguments.profile in (None, r.protocol.profile)]
    about = provenance_of(chosen).lines() if arguments.measured else []
    print(render(judged, arguments.format, measured=arguments.measured, about=about))
    return 0


def _records(out: Path) -> list[Record]:
    records, faults = Store(out / "results").scan()
    report(faults)
    return records

"""``clipbench compare``: measured beside printed (or beside another results folder), with a verdict for every cell."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Mapping

from clipbench.cli.output import show
from clipbench.cli.records import records_of, report
from clipbench.compare.folders import Match, compare_folders
from clipbench.compare.rows import compare_rows
from clipbench.compare.selected import compared
from clipbench.compare.verdict import COMPARED, summary
from clipbench.errors import UserError
from clipbench.plan.user import additions, with_earlier_methods
from clipbench.registry import find
from clipbench.report.comparison import render
from clipbench.report.rows import render_rows
from clipbench.report.terminal import as_table
from clipbench.results.folder import results_of
from clipbench.results.record import Record
from clipbench.results.scores import image_scores
from clipbench.results.store import Store

NOTHING_COMPARABLE = 3
"""Exit code of ``--strict`` where no cell could be compared."""


def main(arguments: argparse.Namespace) -> int:
    """Print the comparison; with ``--strict`` a deviation makes the exit code 1, nothing comparable 3."""
    if arguments.only and (arguments.against or arguments.rows or arguments.assumptions):
        raise UserError("--only picks printed cells; it does not go with --against, --rows or --assumptions.")
    if arguments.against is not None:
        return _against(arguments)
    if arguments.rows:
        return _rows(arguments)
    if arguments.assumptions:
        return _assumptions(arguments)
    records = records_of(arguments.out)
    added = additions(arguments.dataset_dir, arguments.method, arguments.split_file)
    words, _ = added.fitting(arguments.tables)
    named = [(paper, e) for paper, e in find(words, added.apply) if not e.panels]
    chosen = [(paper, with_earlier_methods(e, records)) for paper, e in named]
    if not chosen:
        raise UserError("figures print no numbers to compare; name a table, or nothing for all of them.")
    results = compared(chosen, records, arguments.only, arguments.profile, arguments.margin)
    counts = summary(results)
    show(render(results, counts, arguments.format, arguments.margin, by_domain=arguments.by_domain))
    return _exit_code(counts, strict=arguments.strict)


def _exit_code(counts: Mapping[str, int], *, strict: bool) -> int:
    if not strict:
        return 0
    if counts.get("deviates"):
        return 1
    return 0 if any(counts.get(word) for word in COMPARED) else NOTHING_COMPARABLE


def _rows(arguments: argparse.Namespace) -> int:
    """Two methods beside each other, wherever both have records."""
    store = Store(results_of(arguments.out))
    records, faults = store.scan()
    report(faults)
    wanted = [table.id for _, table in find(arguments.tables)] if arguments.tables else [""]
    chosen = [
        record
        for record in records
        if arguments.profile in (None, record.protocol.profile)
        # A table on the user's own data has the paper's table in front of its name.
        and any(f"{record.origin.experiment}-".startswith(f"{name}-" if name else "") for name in wanted)
    ]
    if not chosen:
        of = f"{store.root} holds no record of {' or '.join(arguments.tables) or 'any table'}"
        raise UserError(f"no record belongs to a row {arguments.rows[0]!r} or {arguments.rows[1]!r}: {of}.")
    names = (arguments.rows[0], arguments.rows[1])
    found = compare_rows(chosen, names, lambda record: image_scores(store, record), arguments.margin)
    show(render_rows(found, names, arguments.format))
    return 0


def _assumptions(arguments: argparse.Namespace) -> int:
    """What each choice of each assumption moves; a table, and a plot beside the figures."""
    from clipbench.compare.choices import sensitivity
    from clipbench.report.sensitivity import render as render_choices
    from clipbench.report.sensitivity import write

    records = records_of(arguments.out)
    tables = [(paper, experiment) for paper, experiment in find(arguments.tables) if not experiment.panels]
    found = [s for p, e in tables if (s := sensitivity(p, e, records, arguments.profile)) is not None]
    if not found:
        raise UserError(
            "no choice beside the default has a record here; `clipbench run TABLE --assume all` makes them."
        )
    print(render_choices(found, arguments.format))
    written = [path for s in found for path in write(s, arguments.out)]
    aside = sys.stderr if arguments.format in ("json", "csv") else None
    print("\n".join(f"written: {path}" for path in written), file=aside)
    return 0


def _against(arguments: argparse.Namespace) -> int:
    """Two output folders, protocol by protocol."""
    ours, theirs = records_of(arguments.out), records_of(arguments.against)
    for folder, records in ((arguments.out, ours), (arguments.against, theirs)):
        if not records:
            raise UserError(f"{folder} holds no record to compare, neither itself nor in {folder / 'results'}.")
    matches = compare_folders(ours, theirs, arguments.margin)
    counts = Counter(m.verdict for m in matches)
    if arguments.format == "json":
        show(json.dumps({"summary": dict(counts), "protocols": [_values(m) for m in matches]}, indent=1))
    else:
        rows = [
            (
                m.record.origin.experiment,
                m.record.origin.row,
                _place(m.record),
                _number(m.ours),
                _number(m.theirs),
                m.verdict,
                m.reason,
            )
            for m in matches
        ]
        headers = ("experiment", "row", "column", "ours", "theirs", "verdict", "why")
        table = as_table(arguments.format, headers, rows)
        if arguments.format == "csv":
            show(table)
            return _exit_code(counts, strict=arguments.strict)
        counted = ", ".join(f"{n} {word}" for word, n in counts.items())
        show(f"ours: {arguments.out}; theirs: {arguments.against}\n\n{table}\n\n{counted}")
    return _exit_code(counts, strict=arguments.strict)


def _values(match: Match) -> dict[str, object]:
    origin = match.record.origin
    where = {"experiment": origin.experiment, "row": origin.row, "column": origin.column}
    if match.record.protocol.test_domain:
        where["test_domain"] = match.record.protocol.test_domain
    return {
        **where,
        "protocol": match.record.protocol.digest,
        "ours": match.ours,
        "theirs": match.theirs,
        "verdict": match.verdict,
        "reason": match.reason,
    }


def _place(record: Record) -> str:
    """The column, and the held-out domain where there is one."""
    domain = record.protocol.test_domain
    return f"{record.origin.column}, {domain} held out" if domain else record.origin.column


def _number(values: dict[int, float]) -> str:
    return f"{sum(values.values()) / len(values):.2f} ({len(values)})" if values else ""

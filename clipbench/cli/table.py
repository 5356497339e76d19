"""``clipbench table``: write tables from the records that there are."""

from __future__ import annotations

import argparse
import sys

from clipbench.cli.output import show
from clipbench.cli.records import report
from clipbench.errors import UserError
from clipbench.plan.user import additions
from clipbench.report.plain import plain
from clipbench.report.table import Table
from clipbench.report.write import write_tables


def main(arguments: argparse.Namespace) -> int:
    """Write the tables, and show each: to a terminal what was measured, to a pipe the Markdown, or the format named."""
    added = additions(arguments.dataset_dir, arguments.method, arguments.split_file)
    words, out, profile = added.fitting(arguments.tables)[0], arguments.out, arguments.profile
    tables: list[Table] = []
    written = write_tables(
        words, out, profile, added.apply, by_domain=arguments.by_domain, say_faults=report, also=tables.append
    )
    if not written:
        raise UserError(
            f"no table of this selection has a record in {arguments.out / 'results'}; `clipbench run` makes them."
        )
    paths = "\n".join(f"written: {path}" for path in written)
    if arguments.format != "text":
        texts = [path.read_text(encoding="utf-8") for path in written if path.suffix == f".{arguments.format}"]
        show(f"[{','.join(texts)}]" if arguments.format == "json" else "\n".join(texts))
        sys.stderr.write(f"{paths}\n")
        return 0
    if sys.stdout.isatty():
        show("\n".join([*map(plain, tables), paths]))
        return 0
    for path in written:
        if path.suffix == ".md":
            print(path.read_text(encoding="utf-8"))
    print(paths)
    return 0

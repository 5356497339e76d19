"""``clipbench table``: write tables from the records that there are."""

from __future__ import annotations

import argparse

from clipbench.cli.records import report
from clipbench.errors import UserError
from clipbench.plan.user import additions
from clipbench.report.write import write_tables


def main(arguments: argparse.Namespace) -> int:
    """Write the tables, and print the Markdown of each."""
    added = additions(arguments.dataset_dir, arguments.method, arguments.split_file)
    words, out, profile = added.fitting(arguments.tables)[0], arguments.out, arguments.profile
    written = write_tables(words, out, profile, added.apply, by_domain=arguments.by_domain, say_faults=report)
    if not written:
        raise UserError(
            f"no table of this selection has a record in {arguments.out / 'results'}; `clipbench run` makes them."
        )
    for path in written:
        if path.suffix == ".md":
            print(path.read_text(encoding="utf-8"))
    print("\n".join(f"written: {path}" for path in written))
    return 0

"""``clipbench figure``: draw figures from the records that there are; no model runs."""

from __future__ import annotations

import argparse
import json

from clipbench.cli.records import report
from clipbench.errors import UserError
from clipbench.registry import find
from clipbench.report.write import write_figures


def main(arguments: argparse.Namespace) -> int:
    """Draw the figures and name the files."""
    figures = [experiment for _, experiment in find(arguments.tables) if experiment.panels]
    if not figures:
        raise UserError(f"{', '.join(arguments.tables)} names no figure; `clipbench list` shows them.")
    written = write_figures(arguments.tables, arguments.out, arguments.profile, report)
    if not written:
        raise UserError(
            f"no run behind these figures has a record in {arguments.out / 'results'}; `clipbench run` makes them."
        )
    if arguments.format == "json":
        print(json.dumps({"written": [str(path) for path in written]}, indent=1))
    else:
        print("\n".join(f"written: {path}" for path in written))
    return 0

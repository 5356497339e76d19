"""``clipbench report DIR``: one HTML page of everything that a results folder holds."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from clipbench.cli import option_types as types
from clipbench.cli.records import report
from clipbench.files import write_bytes
from clipbench.registry import find
from clipbench.results.folder import results_of
from clipbench.results.store import Store


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``clipbench report``."""
    parser.add_argument(
        "out", nargs="?", type=types.path, default=Path(), metavar="DIR", help="folder that holds results/ (here)"
    )
    types.add_format(parser)
    parser.add_argument(
        "--tables", nargs="+", default=[], metavar="TABLE", help="tables, figures or papers (default: all)"
    )
    parser.add_argument("--to", type=types.path, metavar="FILE", help="the page (default: DIR/report.html)")
    parser.add_argument("--profile", choices=("full", "smoke"), help="use these records only")
    parser.add_argument(
        "--margin", type=types.margin, default=0.5, metavar="POINTS", help="equivalence margin (default 0.5)"
    )
    parser.add_argument(
        "--papers", dest="papers_dir", type=types.path, metavar="DIR", help="papers of your own too, as in benchmarks/"
    )


def main(arguments: argparse.Namespace) -> int:
    """Write the page and name it."""
    from clipbench.report.page import page

    chosen = find(arguments.tables)
    store = Store(results_of(arguments.out))
    report(store.scan()[1])
    to = arguments.to or arguments.out / "report.html"
    write_bytes(to, page(chosen, store, arguments.profile, arguments.margin).encode())
    print(json.dumps({"written": [str(to)]}, indent=1) if arguments.format == "json" else f"written: {to}")
    return 0

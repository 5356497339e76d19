"""``clipbench doctor``: the machine, the versions, what is here, and what would run now."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from clipbench.cli import option_types as types


def add_arguments(p: argparse.ArgumentParser) -> None:
    """The options of the command. Nothing heavy is imported for them."""
    p.add_argument(
        "--data", type=Path, metavar="DIR", help="folder above the data sets (default: $CLIPBENCH_DATA or ./data)"
    )
    p.add_argument("--out", type=Path, default=Path(), metavar="DIR", help="where results would go (default: here)")
    p.add_argument(
        "--speed",
        action="store_true",
        help="time matrix products for ten seconds; `clipbench plan` estimates with them",
    )
    types.add_format(p)


def main(arguments: argparse.Namespace) -> int:
    """Print the report; 0, or 1 where PyTorch does not work here."""
    from clipbench.cli.doctor_report import examine, in_words
    from clipbench.data.images import default_data_root

    report = examine(arguments.data or default_data_root(), arguments.out, measure=arguments.speed)
    print(json.dumps(report, indent=1, ensure_ascii=False) if arguments.format == "json" else in_words(report))
    return int("error" in report["device"])

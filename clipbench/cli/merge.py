"""``clipbench merge DIR...``: put the results of several places together."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from clipbench.cli import option_types as types
from clipbench.results.merge import merge


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``clipbench merge``."""
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="output folders (with results/ in them)")
    parser.add_argument("--out", type=Path, default=Path(), metavar="DIR", help="the folder to merge into (here)")
    types.add_format(parser)


def main(arguments: argparse.Namespace) -> int:
    """0 if all records agree, 1 if two records of one run differ, or a folder holds what is no record, or none."""
    folders = [f / "results" if (f / "results").is_dir() else f for f in arguments.folders]
    found = merge(arguments.out / "results", folders)
    if arguments.format == "json":
        print(json.dumps(asdict(found), indent=1, default=str))
        return 1 if found.differ or found.faults or found.empty else 0
    print(f"{len(found.taken)} records taken, {len(found.alike)} were there alike, {len(found.differ)} differ.")
    for run_id, reason in found.differ.items():
        print(f"differs: {run_id}, {reason}; the record in {arguments.out} stays.")
    for fault in found.faults:
        print(f"no record: {fault}")
    for folder in found.empty:
        print(f"no record: {folder} holds none.")
    return 1 if found.differ or found.faults or found.empty else 0

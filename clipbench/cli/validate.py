"""``clipbench validate DIR``: whether the files of a paper, or of a folder of papers, are whole and agree."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict

from clipbench.plan.validate import validate
from clipbench.registry import registry_dir


def main(arguments: argparse.Namespace) -> int:
    """Check every paper below the folder; 2 where one has a fault, which is named with file and line."""
    whole, faults = validate(arguments.folder or registry_dir())
    if arguments.format == "json":
        print(json.dumps({"papers": [asdict(one) for one in whole], "faults": faults}, indent=1))
        return 2 if faults else 0
    for one in whole:
        counts = f"{one.tables} tables and figures, {one.cells} cells to run, {one.numbers} printed numbers"
        print(f"{one.paper}: {counts}, {one.claims} claims: valid")
    for fault in faults:
        print(f"clipbench validate: {fault}", file=sys.stderr)
    return 2 if faults else 0

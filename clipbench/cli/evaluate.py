"""``clipbench evaluate RECORD``: test a finished run again from what it has kept; nothing is trained."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

from clipbench.cli import option_types as types
from clipbench.cli.selection import device_of
from clipbench.errors import UserError
from clipbench.results.store import Store


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``clipbench evaluate``."""
    parser.add_argument("record", type=types.path, metavar="RECORD", help="folder of a record: out/results/ID")
    parser.add_argument("--data", type=types.path, metavar="DIR", help="folder above the data sets (as of run)")
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, mps or auto (default)")
    parser.add_argument("--dataset-dir", type=types.path, metavar="DIR", help="your own images, as of run")
    parser.add_argument("--split-file", type=types.path, metavar="FILE", help="how they are split, as of run")
    parser.add_argument("--method", action="append", default=[], metavar="FILE.py:CLASS", help="your own method")
    parser.add_argument("--backbone", metavar="FILE", help="your own config, where the run had one")
    parser.add_argument("--weights", metavar="FILE", help="your own weights, where the run had them")
    types.add_format(parser)


def main(arguments: argparse.Namespace) -> int:
    """0 where the test gives the record's number again, 1 where it does not."""
    folder = arguments.record
    record = Store(folder.parent).get(folder.name) if (folder / "record.json").exists() else None
    if record is None:
        raise UserError(
            f"{folder} is no trustworthy record; `clipbench run ... --keep adapters` makes some, each in a folder "
            f"results/ID, and `clipbench list --out DIR` names those that cannot be used."
        )
    from clipbench.data.images import default_data_root
    from clipbench.engine.context import Context
    from clipbench.engine.device import make_deterministic
    from clipbench.engine.evaluate import evaluate
    from clipbench.models.weights.sources import Sources, named_config, named_weights
    from clipbench.plan.user import additions

    make_deterministic()
    added = additions(arguments.dataset_dir, arguments.method, arguments.split_file)
    sources = Sources(named_config(arguments.backbone)[0], named_weights(arguments.weights)[0])
    device, _ = device_of(arguments.device)
    root = arguments.data or default_data_root()
    found = evaluate(record, folder, Context(root, device, folder.parent / ".checkpoints", sources, added.own))
    name, score = next(iter(found.metrics.items()))
    due = record.metrics[name]
    same = score == due and not found.differs
    if arguments.format == "json":
        print(json.dumps(asdict(found) | {"recorded": due, "same": same}, indent=1))
        return 0 if same else 1
    print(f"{record.id}, seed {record.seed}: {name} {score:.4f} %; its record says {due:.4f} %.")
    for line in found.differs:
        print(line)
    print("The same number." if same else "This is not the record's test again.")
    return 0 if same else 1

"""``clipbench quickstart``: a first real verdict; one data set, one pretrained model, no training."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from clipbench.cli import option_types as types

TABLE = "clip-dora/table1"
_DATASETS = {"caltech101": 137, "eurosat": 94}
"""Data sets with their megabytes as hubs show them, said where neither the catalogue nor a server states a size."""
_BACKBONE, _WEIGHTS = "ViT-B-16-quickgelu", "openai"
_MEGABYTES = 600
"""What the hub shows for OpenAI's ViT-B models; the catalogue states a size only where a source states it exactly."""
_IMAGES_PER_SECOND = 5.0
"""ViT-B/16 on a laptop's CPU, roughly."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``clipbench quickstart``."""
    parser.add_argument(
        "--dataset", choices=tuple(_DATASETS), default="caltech101", help="the data set (default: caltech101)"
    )
    parser.add_argument("--data", type=types.path, metavar="DIR", help="of data sets ($CLIPBENCH_DATA or ./data)")
    parser.add_argument("--out", type=types.path, default=Path(), metavar="DIR", help="where results go (here)")
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, mps or auto (default)")
    parser.add_argument("--backbone", metavar="NAME|FILE", help="another model: then the printed number is another's")
    parser.add_argument("--weights", metavar="NAME|FILE", help="weights that were fetched elsewhere")
    parser.add_argument("--yes", action="store_true", help="do not ask")


def main(arguments: argparse.Namespace) -> int:
    """Say what will be fetched and how long it takes, ask, then get the data, run zero-shot and compare."""
    from clipbench.cli.main import main as clipbench
    from clipbench.cli.selection import device_of

    print("\n".join(_announced(arguments)), flush=True)
    if not (arguments.yes or _agreed()):
        return 2
    only = ["--only", f"row=zero-shot,dataset={arguments.dataset}"]
    data = ["--data", str(arguments.data)] if arguments.data else []
    out = ["--out", str(arguments.out)]
    given = {"--backbone": arguments.backbone, "--weights": arguments.weights, "--device": arguments.device}
    given["--precision"] = "fp32" if device_of(arguments.device)[1] == "cpu" else None
    model = [word for option, value in given.items() if value for word in (option, value)]
    steps = (
        ["data", "get", arguments.dataset, "--yes", *data],
        ["run", TABLE, *only, *data, *out, *model],
        ["compare", TABLE, *only, *out],
    )
    for step in steps:
        print(f"\n$ clipbench {' '.join(step)}\n", flush=True)
        if code := clipbench(step):
            return code
    return 0


def _announced(arguments: argparse.Namespace) -> list[str]:
    """What is fetched, what is here already, and how long the run takes."""
    from clipbench.data.catalogue import entry
    from clipbench.data.download.faults import size
    from clipbench.data.download.sizes import download_size
    from clipbench.data.images import default_data_root
    from clipbench.plan.needs import Here

    one, here = entry(arguments.dataset), Here(arguments.data or default_data_root())
    if here.dataset(one.id).state == "complete":
        data = f"{one.name} is here."
    else:
        number = download_size(one, ask_servers=True)
        data = f"{one.name} will be downloaded: {size(number) if number else f'about {_DATASETS[one.id]} MB'}."
    if arguments.weights or arguments.backbone:
        weights = "The model is the one that you name."
    elif here.has_weights((_BACKBONE, _WEIGHTS)):
        weights = "OpenAI's ViT-B/16 is here."
    else:
        weights = f"OpenAI's ViT-B/16 will be downloaded: about {_MEGABYTES} MB."
    images = one.parts["test"]
    minutes = max(round(images / _IMAGES_PER_SECOND / 60), 1)
    return [
        f"Zero-shot CLIP on {one.name}, beside the number that {TABLE} prints. Nothing is trained.",
        f"  {data}",
        f"  {weights}",
        f"  {images:,} test images pass once through the model: about {minutes} minutes on a laptop's CPU, "
        "seconds on a GPU.",
        "  A CPU computes in fp32, where the protocol takes fp16 for a precision that the paper leaves unsaid: the "
        "difference is shown all the same, with the verdict `not comparable` for that reason.",
    ]


def _agreed() -> bool:
    if not sys.stdin.isatty():
        print("Nothing is downloaded or run: add --yes to go on.", file=sys.stderr)
        return False
    print("Go on? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")

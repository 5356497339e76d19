"""``clipbench data synthesise``: make synthetic images of no known class, with their manifest."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from clipbench.cli.option_types import positive

if TYPE_CHECKING:
    from clipbench.data.synthetic.generate import Folder, Made
    from clipbench.data.synthetic.recipe import Recipe


def add_synthesis(p: argparse.ArgumentParser) -> None:
    """The options of ``data synthesise``."""
    p.add_argument("name", metavar="NAME", help="a data set with domains: pacs, officehome, digits_dg, mini_domainnet")
    p.add_argument("--images", type=positive, default=200, metavar="N", help="images of each domain (default: 200)")
    p.add_argument(
        "--label-space",
        choices=["closed-set", "odg"],
        default="closed-set",
        help="which classes are known, that the images keep away from (default: closed-set, all)",
    )
    p.add_argument("--model", metavar="MODEL", help="a Stable Diffusion of Hugging Face's hub, or a folder of one")
    p.add_argument("--seed", type=int, default=0, metavar="N", help="of all images; each has one by it (default: 0)")
    p.add_argument("--batch", type=positive, default=4, metavar="N", help="images made at a time (default: 4)")
    p.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, mps or auto (default)")
    p.add_argument("--data", type=Path, metavar="DIR", help="folder above the data sets ($CLIPBENCH_DATA or ./data)")
    p.add_argument("--json", action="store_true", help="machine-readable")


def synthesise(arguments: argparse.Namespace) -> int:
    """Make what is missing; a folder that holds as many images already needs no diffusers."""
    from clipbench.data.catalogue import entry
    from clipbench.data.images import default_data_root
    from clipbench.data.synthetic import folder_of
    from clipbench.data.synthetic.generate import Folder, Made
    from clipbench.data.synthetic.recipe import Recipe

    recipe = Recipe(model=arguments.model) if arguments.model else Recipe()
    dataset, root = entry(arguments.name), arguments.data or default_data_root()
    path = folder_of(root, dataset.id, arguments.label_space)
    folder = Folder(dataset, path, arguments.label_space, recipe, arguments.seed)
    missing = len(folder.missing(arguments.images))
    made = Made(0, 0) if not missing else _made(folder, recipe, arguments, missing)
    if arguments.json:
        print(json.dumps({"folder": str(path), "images": len(folder), **asdict(made)}, indent=1))
        return 0
    black = f" {made.black:,} of these are black, by the safety checker." if made.black else ""
    print(f"{path}: {len(folder):,} images, {made.made:,} of them made now.{black}")
    return 0


def _made(folder: Folder, recipe: Recipe, arguments: argparse.Namespace, missing: int) -> Made:
    from clipbench.data.progress import Progress
    from clipbench.data.synthetic.generate import load_pipeline

    pipeline = load_pipeline(recipe, arguments.device)
    progress = Progress(missing)
    progress.start(f"synthetic images of {arguments.name}")
    try:
        return folder.make(pipeline, arguments.images, arguments.batch, progress.advance)
    finally:
        progress.close()

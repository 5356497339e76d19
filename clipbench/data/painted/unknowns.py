"""Painted stand-ins for synthetic images of no known class: shapes of no class's look, in every domain's style."""

from __future__ import annotations

import hashlib
from pathlib import Path

from PIL import Image

from clipbench.data.painted.rendering import RENDERINGS, arrange, render
from clipbench.data.painted.shapes import look
from clipbench.data.painted.streams import stream
from clipbench.data.painted.subset import PIXELS
from clipbench.data.painted.subsets import SUBSETS
from clipbench.data.painted.write import data_folder
from clipbench.data.synthetic.folder import folder_of
from clipbench.data.synthetic.manifest import Manifest, Picture
from clipbench.files import beside

_PER_DOMAIN = 48
"""As many as a run of the smoke profile has steps: each may stand in one only (``synthetic_draw = per-step``)."""


def write_unknowns(dataset: str, root: Path, label_space: str) -> Path:
    """Paint a data set's synthetic images with their manifest, unless they are there already; their folder.

    They are written beside their place and renamed, like a subset.
    """
    final = folder_of(data_folder(root), dataset, label_space)
    if final.is_dir():
        return final
    with beside(final, "Make room there, or name another folder with CLIPBENCH_CACHE.") as partial:
        partial.mkdir(parents=True)
        domains = SUBSETS[dataset].domains
        images = [_painted(partial, dataset, domain, index) for domain in domains for index in range(_PER_DOMAIN)]
        Manifest(dataset, {"name": "clipbench's smoke profile"}, None, images).write(partial)
    return final


def _painted(folder: Path, dataset: str, domain: str, index: int) -> Picture:
    name, file = f"unknown object {index}", f"{domain}/{index:06d}.png"
    rng, style = stream("synthetic", dataset, domain, index), RENDERINGS[domain]
    pixels = render(arrange(look(name, dataset), style, rng, PIXELS), style, rng, PIXELS)
    path = folder / file
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(pixels).save(path)
    prompt = f"{domain.replace('_', ' ')} of an {name}"
    return Picture(file, domain, prompt, hashlib.sha256(path.read_bytes()).hexdigest())

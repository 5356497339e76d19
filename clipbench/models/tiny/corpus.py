"""The image-text pairs that the tiny model is pretrained on.

They share painters with the smoke subsets but not their look: mostly another palette, clearer pictures, fewer things
that do not belong. And several kinds of scene of the subsets never occur. So the frozen model is useful there without
being sufficient, which is what a smoke test of adaptation needs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from clipbench.data.painted.scenes import OVERHEAD, palettes
from clipbench.data.painted.seeding import stream
from clipbench.data.painted.style import Style

PIXELS = 64

KINDS: Mapping[str, str] = {
    "agricultural": "agricultural land",
    "airplane": "an airplane",
    "airport": "an airport",
    "baseball diamond": "a baseball diamond",
    "beach": "a beach",
    "bridge": "a bridge",
    "chaparral": "chaparral",
    "commercial area": "a commercial area",
    "dense residential": "a dense residential area",
    "desert": "a desert",
    "forest": "a forest",
    "freeway": "a freeway",
    "harbor": "a harbor",
    "industrial area": "an industrial area",
    "intersection": "an intersection",
    "island": "an island",
    "lake": "a lake",
    "meadow": "a meadow",
    "mobile home park": "a mobile home park",
    "mountain": "a mountain",
    "overpass": "an overpass",
    "rectangular farmland": "rectangular farmland",
    "river": "a river",
    "sparse residential": "a sparse residential area",
    "tennis court": "a tennis court",
}
"""Kind of scene -> how a caption names it."""

_CLEAR = Style(palettes.VIVID, zoom=(0.8, 1.3), jitter=0.08, clutter=0.3, noise=2.0, contrast=(0.8, 1.0))

LOOKS: Mapping[str, Style] = {
    "clear": _CLEAR,
    "blurry": replace(_CLEAR, blur=(1.0, 1.6)),
    "dark": replace(_CLEAR, light=(0.4, 0.6)),
    "close-up": replace(_CLEAR, zoom=(1.5, 2.0)),
    "green": replace(_CLEAR, palette=palettes.LUSH),
}
"""The word a caption has for a picture's look -> the look."""

TEMPLATES: Sequence[str] = (
    "a photo of {scene}.",
    "a {look} photo of {scene}.",
    "a satellite photo of {scene}.",
    "a {look} satellite photo of {scene}.",
    "an aerial image of {scene}.",
    "a {look} aerial image of {scene}.",
    "a centered satellite photo of {scene}.",
    "a {look} picture of {scene}, a type of land use.",
)


@dataclass(frozen=True)
class Pair:
    """One image to be painted, and its caption."""

    kind: str
    look: str
    caption: str
    number: int

    def paint(self) -> NDArray[np.uint8]:
        """The image, uint8 [64, 64, 3]."""
        return OVERHEAD.paint(self.kind, LOOKS[self.look], PIXELS, "pretraining", self.number)


def draw_pairs(count: int, seed: int | str) -> list[Pair]:
    """Draw `count` pairs; kinds take turns, looks and templates are random."""
    rng = stream("pretraining pairs", seed)
    kinds, looks = list(KINDS), list(LOOKS)
    offset = int(rng.integers(2**40))
    pairs = []
    for index in range(count):
        kind, look = kinds[index % len(kinds)], looks[rng.integers(len(looks))]
        template = TEMPLATES[int(rng.integers(len(TEMPLATES)))]
        pairs.append(Pair(kind, look, template.format(look=look, scene=KINDS[kind]), offset + index))
    return pairs


def paint_all(pairs: Sequence[Pair], workers: int = 2) -> NDArray[np.uint8]:
    """Paint every pair's image, uint8 [n, 64, 64, 3], with several processes; the result does not depend on them."""
    with ProcessPoolExecutor(workers) as pool:
        return np.stack(list(pool.map(Pair.paint, pairs, chunksize=64)))

"""A family: painters of one kind of picture (overhead scenes, later objects, digits, lesions), and how they are run."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from clipbench.data.painted.canvas import Canvas
from clipbench.data.painted.seeding import stream
from clipbench.data.painted.style import Style

Painter: TypeAlias = Callable[[Canvas], None]

SUPERSAMPLING = 2


@dataclass(frozen=True)
class Family:
    """Painters by kind of scene.

    Attributes:
        name: enters every image's seed.
        painters: kind -> function that paints one on an empty canvas.
        clutter: functions that add one thing that does not belong to the class.
    """

    name: str
    painters: Mapping[str, Painter]
    clutter: tuple[Painter, ...] = ()

    def paint(self, kind: str, style: Style, pixels: int, *seed: str | int) -> NDArray[np.uint8]:
        """Paint one image, uint8 [pixels, pixels, 3]; the same arguments always give the same pixels.

        Args:
            kind: key of `painters`.
            style: how the scene is seen.
            pixels: edge length of the image.
            seed: names of this one image, e.g. data set and index.
        """
        rng = stream(self.name, kind, *seed)
        angle = rng.uniform(0, 2 * math.pi) if style.free_rotation else rng.integers(4) * math.pi / 2
        canvas = Canvas(
            pixels * SUPERSAMPLING,
            style.palette,
            rng,
            zoom=rng.uniform(*style.zoom),
            angle=float(angle),
            jitter=style.jitter,
        )
        self.painters[kind](canvas)
        for _ in range(int(rng.poisson(style.clutter)) if self.clutter else 0):
            self.clutter[rng.integers(len(self.clutter))](canvas)
        return style.develop(canvas.image.resize((pixels, pixels), Image.Resampling.BOX), rng)

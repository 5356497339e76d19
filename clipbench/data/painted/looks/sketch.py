"""Objects as sketched: shaky pencil lines on white paper, gone over twice, with gaps and a little shading."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from clipbench.data.painted.looks.motifs import Motif
from clipbench.data.painted.looks.palettes import NATURAL, Paints
from clipbench.data.painted.looks.pose import Pose, corners
from clipbench.data.painted.objects.parts import Drawing, Points, curve

_SUPERSAMPLING = 2


@dataclass(frozen=True)
class Sketch:
    """How sketches look.

    Attributes:
        pose: where objects stand.
        shake: how far a line strays from the outline, as a share of the picture.
        gap: share of the line that is not drawn.
        line: width of a line as a share of the picture.
        shading: how dark pencil shading is, from 0 (none) to 1 (as dark as the thing).
    """

    pose: Pose = field(default_factory=lambda: Pose(size=(0.85, 0.97), tilt=0.05, stray=0.03, squeeze=0.15, flip=False))
    shake: float = 0.008
    gap: float = 0.06
    line: float = 0.015
    shading: float = 0.5

    def show(self, motif: Motif, parts: Drawing, rng: Generator, pixels: int) -> NDArray[np.uint8]:
        """A sketch of an object, uint8 [pixels, pixels, 3], grey."""
        edge = pixels * _SUPERSAMPLING
        picture = Image.new("L", (edge, edge), 255)
        draw = ImageDraw.Draw(picture)
        paints = Paints({**NATURAL, **motif.palette}, rng)
        for part in self.pose.place(parts, rng, edge):
            draw.polygon(corners(part.outline), fill=self._tone(paints[part.material] * part.shade))
            for _ in range(int(rng.integers(1, 3))):
                self._trace(draw, rng, part.outline, edge)
        grey = np.asarray(picture.resize((pixels, pixels), Image.Resampling.BOX))
        return np.repeat(grey[..., None], 3, axis=2)

    def _tone(self, colour: NDArray[np.float64]) -> int:
        """The grey that pencil shading gives a colour."""
        return int(np.clip(255 - self.shading * (255 - colour.mean()), 0, 255))

    def _trace(self, draw: ImageDraw.ImageDraw, rng: Generator, outline: Points, edge: int) -> None:
        shaky = outline + rng.normal(0, self.shake * edge, size=outline.shape)
        line = corners(curve(shaky, closed=True, steps=2) if len(outline) > 8 else np.vstack([shaky, shaky[:1]]))
        grey, width = int(rng.integers(20, 90)), max(1, round(self.line * edge * rng.uniform(0.7, 1.3)))
        for start, end in pairwise(line):
            if rng.random() > self.gap:
                draw.line((*start, *end), fill=grey, width=width)

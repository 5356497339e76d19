"""Objects as painted with a brush: colours of the painter's choosing, in strokes that follow no outline."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from clipbench.data.painted.looks.motifs import Motif
from clipbench.data.painted.looks.photo import Photo
from clipbench.data.painted.looks.pose import Pose
from clipbench.data.painted.objects.parts import Drawing
from clipbench.data.painted.texture import fractal_noise


@dataclass(frozen=True)
class Painting:
    """How paintings look.

    Attributes:
        subject: the scene that is painted.
        strokes: number of brush strokes.
        length: length and width of a stroke as shares of the picture.
        tint: how strongly the painter's palette colours everything.
    """

    subject: Photo = field(
        default_factory=lambda: Photo(
            pose=Pose(size=(0.85, 0.97), tilt=0.05, stray=0.04, flip=False), strange=0.1, astray=0.2, noise=0.0
        )
    )
    strokes: int = 1300
    length: tuple[float, float] = (0.07, 0.025)
    tint: float = 0.25

    def show(self, motif: Motif, parts: Drawing, rng: Generator, pixels: int) -> NDArray[np.uint8]:
        """A painting of an object, uint8 [pixels, pixels, 3]."""
        seen = self.subject.show(motif, parts, rng, pixels).astype(float)
        mood = rng.uniform(30, 230, size=3)
        seen = seen + self.tint * (mood - seen.mean(axis=(0, 1))) + rng.normal(0, 8, size=(pixels, pixels, 1))
        picture = Image.fromarray(np.clip(seen, 0, 255).astype(np.uint8)).resize((2 * pixels, 2 * pixels))
        self._brush(picture, np.clip(seen, 0, 255), rng)
        canvas = 1 + 0.04 * fractal_noise(rng, pixels, pixels / 2, 1)[..., None]
        small = np.asarray(picture.resize((pixels, pixels), Image.Resampling.BOX), dtype=float)
        return np.asarray(np.clip(small * canvas, 0, 255), dtype=np.uint8)

    def _brush(self, picture: Image.Image, seen: NDArray[np.float64], rng: Generator) -> None:
        edge = picture.width
        draw = ImageDraw.Draw(picture)
        flow = fractal_noise(rng, edge // 2, 2, 2) * math.pi
        width = max(1, round(self.length[1] * edge))
        places = rng.integers(edge // 2, size=(self.strokes, 2))
        colours = seen[places[:, 1], places[:, 0]] * rng.normal(1, 0.09, size=(self.strokes, 1))
        angles = flow[places[:, 1], places[:, 0]]
        steps = np.stack([np.cos(angles), np.sin(angles)], axis=1) * self.length[0] * edge / 2
        lines = np.hstack([2 * places - steps, 2 * places + steps]).tolist()
        for line, (red, green, blue) in zip(lines, np.clip(colours, 0, 255).astype(int).tolist(), strict=True):
            draw.line(line, fill=(red, green, blue), width=width)

"""Objects as cartoons: flat loud colours inside thick black outlines, before a flat background."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from clipbench.data.painted.canvas import Colour
from clipbench.data.painted.looks.motifs import Motif
from clipbench.data.painted.looks.palettes import NATURAL, Paints
from clipbench.data.painted.looks.pose import Pose, corners
from clipbench.data.painted.looks.surroundings import SURFACES, Scene, anywhere
from clipbench.data.painted.objects.parts import Drawing

_SUPERSAMPLING = 2


@dataclass(frozen=True)
class Cartoon:
    """How cartoons look.

    Attributes:
        pose: where objects stand.
        line: width of the outlines as a share of the picture.
        plain: probability of a white background.
        astray: probability that the object stands where such a thing would not be.
        strange: probability that a material has another material's colour.
    """

    pose: Pose = field(default_factory=lambda: Pose(size=(0.85, 0.95), tilt=0.05, stray=0.04, squeeze=0.15, flip=False))
    line: float = 0.018
    plain: float = 0.4
    astray: float = 0.3
    strange: float = 0.15

    def show(self, motif: Motif, parts: Drawing, rng: Generator, pixels: int) -> NDArray[np.uint8]:
        """A cartoon of an object, uint8 [pixels, pixels, 3]."""
        edge = pixels * _SUPERSAMPLING
        paints = Paints({**NATURAL, **motif.palette}, rng, strange=self.strange, jitter=0.15)
        picture = Image.new("RGB", (edge, edge), (250, 250, 250))
        draw = ImageDraw.Draw(picture)
        if rng.random() > self.plain:
            scene = anywhere(rng) if rng.random() < self.astray else motif.scenes[int(rng.integers(len(motif.scenes)))]
            _backdrop(draw, rng, edge, scene)
        width = max(1, round(self.line * edge))
        for part in self.pose.place(parts, rng, edge):
            outline = corners(part.outline)
            draw.polygon(outline, fill=_loud(paints[part.material] * part.shade))
            draw.line([*outline, outline[0]], fill=(15, 15, 20), width=width, joint="curve")
        return np.asarray(picture.resize((pixels, pixels), Image.Resampling.BOX))


def _backdrop(draw: ImageDraw.ImageDraw, rng: Generator, edge: int, scene: Scene) -> None:
    """One flat colour above another."""
    above, below = (_loud(SURFACES[name].tone(rng)) for name in scene)
    draw.rectangle((0, 0, edge, edge), fill=above)
    draw.rectangle((0, edge * rng.uniform(0.5, 0.85), edge, edge), fill=below)


def _loud(colour: NDArray[np.floating]) -> Colour:
    """The colour with its saturation raised."""
    grey = colour.mean()
    red, green, blue = (int(channel) for channel in np.clip(grey + 1.8 * (colour - grey) + 15, 0, 255))
    return red, green, blue

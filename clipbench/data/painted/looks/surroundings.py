"""What lies behind an object: sky, sea, grass, sand, planks, tiles, leaves ..., one above the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from clipbench.data.painted.canvas import Colour
from clipbench.data.painted.texture import fractal_noise

Field: TypeAlias = NDArray[np.floating]


def _smooth(rng: Generator, edge: int) -> Field:
    return 0.05 * fractal_noise(rng, edge, 2, 2)


def _grain(rng: Generator, edge: int) -> Field:
    return 0.11 * fractal_noise(rng, edge, rng.uniform(16, 28), 2)


def _foliage(rng: Generator, edge: int) -> Field:
    return np.asarray(0.3 * np.tanh(1.5 * fractal_noise(rng, edge, rng.uniform(7, 12), 3)))


def _ripples(rng: Generator, edge: int) -> Field:
    phase = np.linspace(0, edge / rng.uniform(7, 12), edge)[:, None] * 2 * np.pi
    return 0.12 * np.sin(phase + 2.0 * fractal_noise(rng, edge, 4, 2))


def _planks(rng: Generator, edge: int) -> Field:
    width = edge * rng.uniform(0.09, 0.15)
    place = np.arange(edge) / width + rng.uniform()
    seam = (place % 1) < 0.12
    tone = rng.normal(0, 0.1, size=32)[place.astype(int)] - 0.35 * seam
    along = np.broadcast_to(tone, (edge, edge))
    return along if rng.random() < 0.5 else along.T


def _tiles(rng: Generator, edge: int) -> Field:
    width = edge * rng.uniform(0.08, 0.13)
    seam = ((np.arange(edge) / width + rng.uniform()) % 1) < 0.16
    return 0.05 * fractal_noise(rng, edge, 12, 2) - 0.3 * (seam[:, None] | seam[None, :])


@dataclass(frozen=True)
class Surface:
    """One thing that fills the picture.

    Attributes:
        colours: what colours it may have.
        pattern: brightness [edge, edge] about 0, as a fraction.
    """

    colours: tuple[Colour, ...]
    pattern: Callable[[Generator, int], Field] = _smooth

    def lay(self, rng: Generator, edge: int) -> Field:
        """The surface all over a picture, float [edge, edge, 3]."""
        return np.asarray(self.tone(rng) * (1 + self.pattern(rng, edge)[..., None]))

    def tone(self, rng: Generator) -> Field:
        """One of the colours, a little off, float [3]."""
        colour = np.array(self.colours[int(rng.integers(len(self.colours)))], dtype=float)
        return np.asarray(np.clip(colour * rng.normal(1, 0.1) + rng.normal(0, 8, size=3), 8, 250))


SURFACES: Mapping[str, Surface] = {
    "cloth": Surface(((225, 220, 205), (190, 205, 215), (205, 165, 160)), _tiles),
    "foliage": Surface(((75, 115, 60), (60, 100, 55), (100, 130, 70)), _foliage),
    "grass": Surface(((110, 150, 75), (130, 155, 85), (90, 135, 70)), _grain),
    "pavement": Surface(((125, 125, 130), (145, 140, 135), (105, 108, 115)), _tiles),
    "planks": Surface(((165, 115, 70), (130, 85, 55), (190, 145, 95)), _planks),
    "road": Surface(((95, 95, 100), (112, 110, 112), (80, 82, 88)), _grain),
    "sand": Surface(((215, 190, 145), (200, 170, 125), (225, 205, 170)), _grain),
    "savanna": Surface(((195, 170, 105), (175, 150, 90), (205, 185, 130)), _foliage),
    "sea": Surface(((50, 95, 130), (40, 80, 115), (65, 120, 140)), _ripples),
    "sky": Surface(((150, 190, 230), (175, 205, 235), (125, 165, 210), (205, 215, 222))),
    "snow": Surface(((235, 238, 242), (220, 228, 238)), _grain),
    "stage": Surface(((60, 35, 55), (45, 40, 70), (80, 40, 40))),
    "wall": Surface(((220, 210, 190), (195, 200, 205), (205, 185, 165), (180, 195, 180))),
}

Scene: TypeAlias = tuple[str, str]
"""What is above and what is below, by the names of surfaces."""


def surround(rng: Generator, edge: int, scene: Scene) -> Field:
    """A background, float [edge, edge, 3], with a horizon somewhere around the middle."""
    above, below = (SURFACES[name].lay(rng, edge) for name in scene)
    line = rng.uniform(-0.35, 0.45) + rng.normal() * 0.1 * np.linspace(-1, 1, edge)[None, :]
    height = np.linspace(-1, 1, edge)[:, None] + 0.03 * fractal_noise(rng, edge, 4, 2)
    share = np.clip((height - line) * edge / 8 + 0.5, 0, 1)[..., None]
    return np.asarray(above + share * (below - above))


def anywhere(rng: Generator) -> Scene:
    """A scene that has nothing to do with the object."""
    names = sorted(SURFACES)
    above, below = rng.integers(len(names), size=2).tolist()
    return names[above], names[below]

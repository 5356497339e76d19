"""Where an object stands in the picture: size, slant, direction, proportions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from clipbench.data.painted.objects.parts import Drawing, Part, Points


@dataclass(frozen=True)
class Pose:
    """How far objects stray. Spreads are standard deviations.

    Attributes:
        size: half the object's longer side as a share of half the picture (low, high).
        tilt: spread of the rotation in radians.
        stray: spread of the centre as a share of half the picture.
        squeeze: spread of the logarithm of width over height.
        flip: whether the object may look to the left.
    """

    size: tuple[float, float] = (0.7, 0.95)
    tilt: float = 0.08
    stray: float = 0.07
    squeeze: float = 0.1
    flip: bool = True

    def place(self, parts: Drawing, rng: Generator, pixels: int) -> list[Part]:
        """The parts in pixel coordinates of a square picture."""
        size = rng.uniform(*self.size) * pixels / 2
        angle, squeeze = rng.normal() * self.tilt, math.exp(rng.normal() * self.squeeze / 2)
        mirror = -1.0 if self.flip and rng.random() < 0.5 else 1.0
        cos, sin = math.cos(angle), math.sin(angle)
        matrix = np.array([[cos, -sin], [sin, cos]]) @ np.diag([mirror * squeeze, 1 / squeeze]) * size
        shift = (1 + np.clip(rng.normal(size=2), -2, 2) * self.stray) * pixels / 2
        return [part.moved(matrix, shift) for part in parts]


def corners(outline: Points) -> Sequence[tuple[float, float]]:
    """An outline as Pillow's drawing functions take it."""
    return [(x, y) for x, y in outline.tolist()]

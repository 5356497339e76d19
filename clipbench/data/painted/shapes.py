"""Shapes as fields over the pixels, and what a class looks like: an outline, a count and colours, from its name."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TypeAlias

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from clipbench.data.painted.streams import stream

Field: TypeAlias = NDArray[np.floating]
Colour: TypeAlias = NDArray[np.floating]

_STRENGTH = 0.62
_LIKE_THE_KIND = 0.7
_HUE_OF_DATA_SET, _VALUE_OF_DATA_SET = 0.05, 0.1


@dataclass(frozen=True)
class Shape:
    """One thing in a picture.

    Attributes:
        distance: pixels from the outline [P, P], positive inside.
        depth: 0 at the outline and outside, 1 in the middle [P, P].
    """

    distance: Field
    depth: Field

    @property
    def cover(self) -> Field:
        """How much of every pixel the shape covers [P, P], 0 to 1."""
        return np.asarray(np.clip(self.distance + 0.5, 0, 1))


def union(shapes: Sequence[Shape]) -> Shape:
    """All of them as one."""
    distances, depths = zip(*((shape.distance, shape.depth) for shape in shapes), strict=True)
    return Shape(np.maximum.reduce(distances), np.maximum.reduce(depths))


@dataclass(frozen=True)
class Outline:
    """A closed curve around the origin: radius(t) = 1 + Re(sum of c_k exp(i k t)), for k = 2, 3, ...

    Attributes:
        harmonics: the complex c_k.
    """

    harmonics: NDArray[np.complex64]

    def at(self, pixels: int, centre: tuple[float, float], radius: float, turn: float, flat: float = 1.0) -> Shape:
        """The curve in a picture of `pixels` by `pixels`; centre (x, y) and radius are shares of the edge.

        Args:
            pixels: edge of the picture.
            centre: where the origin of the curve lies.
            radius: mean radius.
            turn: angle by which the curve is turned, in radians.
            flat: height over width, before turning.
        """
        axis = (np.arange(pixels, dtype=np.float32) + 0.5) / pixels
        turned = ((axis - centre[0]) + 1j * (axis[:, None] - centre[1])) * np.exp(-1j * turn) / radius
        place = (turned.real + 1j / flat * turned.imag).astype(np.complex64)
        from_centre = np.abs(place) + np.float32(1e-6)
        direction = place / from_centre
        wave = np.zeros_like(direction)
        for coefficient in self.harmonics[::-1]:  # Horner's scheme
            wave = (wave + coefficient) * direction
        edge = np.maximum(1 + (wave * direction).real, np.float32(0.15))
        return Shape((edge - from_centre) * np.float32(radius * pixels), np.maximum(1 - from_centre / edge, 0))


def outline(rng: Generator, strength: float) -> Outline:
    """A random outline of five harmonics whose bumps have a mean height of about `strength`, the finer the lower."""
    parts = strength * rng.normal(size=(2, 5)) / np.arange(2, 7) ** 0.7
    return Outline((parts[0] - 1j * parts[1]).astype(np.complex64))


@dataclass(frozen=True)
class Look:
    """What all pictures of a class share.

    Attributes:
        outline: of every thing in the picture.
        count: how many things there are.
        body: colour of the outer part, red, green and blue from 0 to 1.
        core: colour of the inner part.
    """

    outline: Outline
    count: int
    body: Colour
    core: Colour


@cache
def look(name: str, dataset: str = "", kind: str = "") -> Look:
    """The look of a class.

    Args:
        name: the class in words, as in a prompt; the same words look alike in all data sets but for a shade.
        dataset: whose shade of the colours it is.
        kind: what all classes of the data set are ("flower"), where their outlines have much in common.
    """
    rng, shade = stream("class", name), stream("shade", name, dataset)
    shape, count = outline(rng, _STRENGTH), int(rng.integers(1, 5))
    hues, values = rng.uniform(0, 1, size=2), rng.uniform(0.4, 1, size=2)
    saturations = rng.uniform(0.45, 1, size=2)
    hues = hues + shade.normal(0, _HUE_OF_DATA_SET, size=2)
    values = np.clip(values + shade.normal(0, _VALUE_OF_DATA_SET, size=2), 0.3, 1)
    if kind:
        common = outline(stream("kind", kind), _STRENGTH).harmonics
        shape = Outline((_LIKE_THE_KIND * common + (1 - _LIKE_THE_KIND) * shape.harmonics).astype(np.complex64))
    body, core = (np.array(colorsys.hsv_to_rgb(*each)) for each in zip(hues % 1, saturations, values, strict=True))
    return Look(shape, count, body, core)

"""A square picture that is painted in world coordinates, so that a scene can be turned and zoomed at no loss.

World coordinates are `(u, v)` pairs; the square from -1 to 1 is what the image shows at zoom 1 and angle 0. A turned
or zoomed-out canvas shows more than that square: painters must cover everything up to `Canvas.reach`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw

from clipbench.data.painted.texture import fractal_noise

Colour: TypeAlias = tuple[int, int, int]
Palette: TypeAlias = Mapping[str, Sequence[Colour]]
Field: TypeAlias = NDArray[np.float32]


class Canvas:
    """The picture in the making, with its palette, its sun and its random stream.

    Args:
        pixels: edge length in pixels, supersampling included.
        palette: material name -> colours it may have.
        rng: the stream that every choice of this picture is drawn from.
        zoom: size of things relative to the picture; 1 shows the square from -1 to 1.
        angle: rotation of the world in radians.
        jitter: standard deviation of a material's brightness from one use to the next, as a fraction.
    """

    def __init__(
        self, pixels: int, palette: Palette, rng: np.random.Generator, *, zoom: float, angle: float, jitter: float
    ):
        self.rng = rng
        self.image = Image.new("RGB", (pixels, pixels))
        self.reach = math.sqrt(2) / zoom
        self._palette = palette
        self._jitter = jitter
        self._draw = ImageDraw.Draw(self.image, "RGBA")
        self._scale = pixels / 2 * zoom
        self._turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
        sun = rng.uniform(0, 2 * math.pi)
        self._sun = np.array([math.cos(sun), math.sin(sun)])

    # -- coordinates --------------------------------------------------------------------------------------------

    @cached_property
    def world(self) -> tuple[Field, Field]:
        """The world coordinates `u` and `v` of every pixel, each [pixels, pixels]."""
        axis = (np.arange(self.image.width) + 0.5 - self.image.width / 2) / self._scale
        x, y = np.meshgrid(axis, axis)
        uv = np.stack([x, y], axis=-1) @ self._turn.T
        return uv[..., 0].astype(np.float32), uv[..., 1].astype(np.float32)

    def noise(self, cell: float, octaves: int = 3) -> Field:
        """Fractal noise [pixels, pixels] of mean 0 and standard deviation 1 whose largest bumps are `cell` wide."""
        cells = self.image.width / (cell * self._scale)
        return fractal_noise(self.rng, self.image.width, cells, octaves)

    def shows(self, centre: ArrayLike, radius: float) -> bool:
        """Whether any of a thing of that radius, shadow aside, would be in the picture."""
        ((x, y),) = self._pixels(centre)
        margin = radius * self._scale
        return -margin < min(x, y) and max(x, y) < self.image.width + margin

    def _pixels(self, points: ArrayLike) -> list[tuple[float, float]]:
        xy = np.asarray(points, dtype=float).reshape(-1, 2) @ self._turn * self._scale + self.image.width / 2
        return [(x, y) for x, y in xy.tolist()]

    # -- colours ------------------------------------------------------------------------------------------------

    def colour(self, material: str) -> Colour:
        """One of the material's colours, a little lighter or darker each time."""
        choices = self._palette[material]
        base = choices[int(self.rng.integers(len(choices)))]
        light, *tint = (self._jitter * self.rng.standard_normal(4)).tolist()
        red, green, blue = (
            min(255, max(0, int(channel * (1 + light) + 40 * shift))) for channel, shift in zip(base, tint, strict=True)
        )
        return red, green, blue

    # -- areas --------------------------------------------------------------------------------------------------

    def cover(self, material: str, where: NDArray[np.bool_] | None = None, *, grain: float = 0.05) -> None:
        """Lay a material with its texture over the whole picture, or `where` ([pixels, pixels]) holds."""
        bumps = 0.6 * self.noise(0.5) + 0.6 * self.noise(0.04, 2)
        self.lay(np.array(self.colour(material)) * (1 + grain * bumps[..., None]), where)

    def lay(self, rgb: NDArray[np.floating], where: NDArray[np.bool_] | None = None) -> None:
        """Lay colours [pixels, pixels, 3] (0 to 255, clipped) over the picture, or `where` the mask holds."""
        layer = Image.fromarray(np.clip(rgb, 0, 255).astype(np.uint8))
        mask = None if where is None else Image.fromarray(where.astype(np.uint8) * 255)
        self.image.paste(layer, mask=mask)

    # -- shapes -------------------------------------------------------------------------------------------------

    def polygon(self, points: ArrayLike, colour: Colour, alpha: float = 1.0) -> None:
        """Fill a polygon [n, 2]."""
        self._draw.polygon(self._pixels(points), fill=(*colour, round(255 * alpha)))

    def disc(self, centre: ArrayLike, radius: float, colour: Colour, alpha: float = 1.0) -> None:
        """Fill a disc."""
        ((x, y),) = self._pixels(centre)
        r = radius * self._scale
        self._draw.ellipse((x - r, y - r, x + r, y + r), fill=(*colour, round(255 * alpha)))

    def path(self, points: ArrayLike, width: float, colour: Colour, alpha: float = 1.0) -> None:
        """Stroke an open line through points [n, 2]; at least one pixel wide."""
        pixels = max(1, round(width * self._scale))
        self._draw.line(self._pixels(points), fill=(*colour, round(255 * alpha)), width=pixels, joint="curve")

    def shadow(self, points: ArrayLike, height: float) -> None:
        """The shadow of a flat thing with outline [n, 2] that stands `height` above the ground."""
        for part in (0.5, 1.0):
            self.polygon(np.asarray(points) + self._sun * height * part, (10, 12, 25), 0.35)

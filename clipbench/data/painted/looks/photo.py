"""Objects as photographed: shaded, with a shadow, before a textured background with blurred things in it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from clipbench.data.painted.canvas import Colour, Palette
from clipbench.data.painted.looks.motifs import Motif
from clipbench.data.painted.looks.palettes import NATURAL, Paints
from clipbench.data.painted.looks.pose import Pose, corners
from clipbench.data.painted.looks.surroundings import Scene, anywhere, surround
from clipbench.data.painted.objects.parts import Drawing, Part, ellipse

SUPERSAMPLING = 2


@dataclass(frozen=True)
class Photo:
    """How photographs of a data set look. Ranges are (low, high) and drawn uniformly per picture.

    Attributes:
        pose: where objects stand.
        palette: material -> colours.
        strange: probability that a material has another material's colour.
        astray: probability that the object stands where such a thing would not be.
        clutter: mean number of blurred things behind the object.
        light: brightness, as a factor.
        contrast: 1 keeps the scene's contrast.
        noise: standard deviation of the sensor noise in grey levels.
        blur: radius of the optics' blur in pixels.
    """

    pose: Pose = field(default_factory=Pose)
    palette: Palette = field(default_factory=lambda: NATURAL)
    strange: float = 0.0
    astray: float = 0.2
    clutter: float = 1.0
    light: tuple[float, float] = (0.85, 1.12)
    contrast: tuple[float, float] = (0.8, 1.0)
    noise: float = 4.0
    blur: tuple[float, float] = (0.2, 0.8)

    def show(self, motif: Motif, parts: Drawing, rng: Generator, pixels: int) -> NDArray[np.uint8]:
        """The photograph of an object, uint8 [pixels, pixels, 3]."""
        edge = pixels * SUPERSAMPLING
        paints = Paints({**self.palette, **motif.palette}, rng, strange=self.strange)
        scene = anywhere(rng) if rng.random() < self.astray else motif.scenes[int(rng.integers(len(motif.scenes)))]
        picture = self._background(rng, edge, scene)
        expose(picture, self.pose.place(parts, rng, edge), paints, rng)
        return self._develop(picture.resize((pixels, pixels), Image.Resampling.BOX), rng)

    def _background(self, rng: Generator, edge: int, scene: Scene) -> Image.Image:
        picture = Image.fromarray(np.clip(surround(rng, edge, scene), 0, 255).astype(np.uint8))
        draw = ImageDraw.Draw(picture)
        for _ in range(int(rng.poisson(self.clutter))):
            _thing(draw, rng, edge)
        return picture.filter(ImageFilter.GaussianBlur(edge * rng.uniform(0.004, 0.012)))

    def _develop(self, picture: Image.Image, rng: Generator) -> NDArray[np.uint8]:
        rgb = np.asarray(picture.filter(ImageFilter.GaussianBlur(rng.uniform(*self.blur))), dtype=np.float32)
        mean = rgb.mean()
        rgb = (
            ((rgb - mean) * rng.uniform(*self.contrast) + mean) * rng.uniform(*self.light) * rng.normal(1, 0.03, size=3)
        )
        rgb = rgb + self.noise * rng.standard_normal(rgb.shape, dtype=np.float32)
        return np.asarray(np.clip(rgb, 0, 255), dtype=np.uint8)


def _thing(draw: ImageDraw.ImageDraw, rng: Generator, edge: int) -> None:
    """One nondescript thing: a blob or a bar."""
    x, y = rng.uniform(0, edge, size=2).tolist()
    long, wide, angle = rng.uniform(0.05, 0.4) * edge, rng.uniform(0.03, 0.12) * edge, rng.uniform(0, math.pi)
    outline = ellipse(x, y, long, wide, angle)
    draw.polygon(
        corners(outline if rng.random() < 0.5 else outline[::7]),
        fill=_rgb(rng.normal(125, 35) + rng.normal(0, 15, size=3)),
    )


def _rgb(colour: NDArray[np.float64]) -> Colour:
    red, green, blue = (int(channel) for channel in np.clip(colour, 0, 255))
    return red, green, blue


def expose(picture: Image.Image, parts: Drawing, paints: Paints, rng: Generator) -> None:
    """Paint parts (in pixel coordinates) with rounded shading and a soft shadow into the picture."""
    edge = picture.width
    angle = rng.uniform(0, 2 * math.pi)
    sun = np.array([math.cos(angle), -abs(math.sin(angle)) - 0.3])
    _shadow(picture, parts, -sun * edge * 0.04)
    relief = Image.new("L", picture.size)
    whole = Image.new("L", picture.size)
    draw, draw_whole = ImageDraw.Draw(picture), ImageDraw.Draw(whole)
    for part in parts:
        draw.polygon(corners(part.outline), fill=_rgb(paints[part.material] * part.shade))
        draw_whole.polygon(corners(part.outline), fill=255)
        _raise(relief, part, edge * 0.03)
    height = np.asarray(relief, dtype=np.float32)
    slope_y, slope_x = np.gradient(height)
    light = 1 + np.clip(-(slope_x * sun[0] + slope_y * sun[1]) * 0.016 * 3, -0.4, 0.4) * (np.asarray(whole) > 0)
    shaded = np.asarray(picture, dtype=np.float32) * light[..., None]
    picture.paste(Image.fromarray(np.clip(shaded, 0, 255).astype(np.uint8)))


def _raise(relief: Image.Image, part: Part, radius: float) -> None:
    """Make a part bulge: high in its middle, low at its rim."""
    low = np.floor(part.outline.min(axis=0) - 2 * radius).astype(int)
    high = np.ceil(part.outline.max(axis=0) + 2 * radius).astype(int)
    width, height = np.maximum(high - low, 1).tolist()
    flat = Image.new("L", (width, height))
    ImageDraw.Draw(flat).polygon(corners(part.outline - low), fill=255)
    relief.paste(flat.filter(ImageFilter.GaussianBlur(radius)), (int(low[0]), int(low[1])), flat)


def _shadow(picture: Image.Image, parts: Drawing, shift: NDArray[np.float64]) -> None:
    mask = Image.new("L", picture.size)
    draw = ImageDraw.Draw(mask)
    for part in parts:
        draw.polygon(corners(part.outline + shift), fill=110)
    picture.paste((20, 20, 30), mask=mask.filter(ImageFilter.GaussianBlur(picture.width * 0.02)))

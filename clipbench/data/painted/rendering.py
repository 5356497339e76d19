"""Ways of rendering: what a photograph, a sketch, a cartoon or a view from above make of the same shapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from clipbench.data.painted.shapes import Colour, Field, Look, Shape, outline, union

Picture: TypeAlias = NDArray[np.floating]


@dataclass(frozen=True)
class Rendering:
    """One way of rendering. Ranges are (low, high), drawn uniformly per picture; brightness goes from 0 to 1.

    Attributes:
        ground: brightness of what lies behind the shapes.
        tone: what is added to the ground's red, green and blue.
        tint: how colourful the ground is besides, differently in every picture.
        texture: contrast of the ground's clouds.
        fill: how much of the shapes' colours is laid on.
        colourful: saturation of the shapes, 1 as the class has it, 0 grey.
        hue_shift: spread of the shift of all colours from picture to picture.
        line: width of the outlines in pixels.
        shade: how much darker the shapes are on one side and at the rim.
        wobble: how far a hand strays from the outline, in pixels.
        strays: mean number of shapes of other classes.
        radius: mean radius of one shape alone, as a share of the edge.
        tilt: spread of the shapes' angles in radians.
        copies: factor of the class's count.
        blur: radius of the blur in pixels.
        noise: standard deviation of the grain.
    """

    ground: tuple[float, float] = (0.25, 0.8)
    tone: tuple[float, float, float] = (0, 0, 0)
    tint: float = 0.12
    texture: float = 0.08
    fill: float = 1.0
    colourful: float = 1.0
    hue_shift: float = 0.04
    line: float = 0.0
    shade: float = 0.3
    wobble: float = 0.0
    strays: float = 0.5
    radius: tuple[float, float] = (0.26, 0.36)
    tilt: float = 0.25
    copies: int = 1
    blur: float = 0.4
    noise: float = 0.04


PHOTO = Rendering()
ART = Rendering(tint=0.25, texture=0.16, colourful=0.75, hue_shift=0.08, wobble=1.2, blur=1.0, noise=0.02)
CARTOON = Rendering(ground=(0.7, 1), texture=0, shade=0, line=1.6, strays=0, colourful=1.2, blur=0.3, noise=0.01)
SKETCH = Rendering(  # in coloured pencil
    ground=(0.93, 1),
    tint=0,
    texture=0.01,
    fill=0.55,
    colourful=0.9,
    line=1.4,
    shade=0,
    wobble=0.6,
    strays=0,
    noise=0.02,
)

RENDERINGS: Mapping[str, Rendering] = {
    "photo": PHOTO,
    "real": PHOTO,
    "real_world": PHOTO,
    "art": ART,
    "art_painting": ART,
    "painting": ART,
    "cartoon": CARTOON,
    "clipart": CARTOON,
    "product": Rendering(ground=(0.95, 1), tint=0, texture=0, strays=0, noise=0.015),
    "sketch": SKETCH,
    "overhead": Rendering(
        ground=(0.3, 0.6), tint=0.2, texture=0.12, radius=(0.2, 0.3), tilt=3.0, copies=2, blur=0.5, noise=0.05
    ),
    "texture": Rendering(radius=(0.3, 0.4), tilt=0.4, copies=4, strays=0, texture=0.05),
    "mnist": Rendering(ground=(0, 0), tint=0, texture=0, colourful=0.6, shade=0, strays=0, blur=0, noise=0),
    "mnist_m": Rendering(ground=(0.2, 0.7), tint=0.3, texture=0.15, hue_shift=0.12, shade=0, strays=0, noise=0.03),
    "svhn": Rendering(ground=(0.2, 0.7), colourful=0.8, hue_shift=0.1, texture=0.1, strays=0, blur=1.2, noise=0.05),
    "syn": Rendering(ground=(0, 1), tint=0.4, texture=0, hue_shift=0.1, line=1.0, strays=0, blur=0.3, noise=0.05),
    "endoscopy": Rendering(
        ground=(0.45, 0.6),
        tone=(0.25, -0.08, -0.12),
        tint=0.05,
        texture=0.1,
        hue_shift=0.01,
        shade=0.5,
        strays=0,
        blur=0.8,
    ),
    "ultrasound": Rendering(
        ground=(0.4, 0.6), tint=0, texture=0.12, hue_shift=0, shade=0, strays=0, blur=1.0, noise=0.16
    ),
    "dermoscopy": Rendering(
        ground=(0.65, 0.8), tone=(0.15, 0, -0.08), tint=0.05, texture=0.04, hue_shift=0.01, strays=0, blur=0.7
    ),
}
"""Domain in the genuine spelling, or kind of camera -> way of rendering."""


def clouds(rng: Generator, pixels: int, cells: int) -> Field:
    """Smooth noise [P, P] of mean 0 and standard deviation 1 with about `cells` bumps along an edge."""
    grid = Image.fromarray(rng.standard_normal((cells + 1, cells + 1), dtype=np.float32))
    field = np.asarray(grid.resize((pixels, pixels), Image.Resampling.BICUBIC))
    return np.asarray((field - field.mean()) / (field.std() + 1e-6), dtype=np.float32)


@dataclass(frozen=True)
class Thing:
    """A shape and the colours of its outer and inner part, red, green and blue from 0 to 1."""

    shape: Shape
    body: Colour
    core: Colour


def arrange(look: Look, way: Rendering, rng: Generator, pixels: int) -> list[Thing]:
    """Strays first, then the class's things as one, spread over a picture so that they hardly overlap."""
    count = look.count * way.copies
    columns = int(np.ceil(np.sqrt(count)))
    size = rng.uniform(*way.radius) * (1.25 / columns if columns > 1 else 1)
    shapes = []
    for cell in rng.permutation(columns**2)[:count].tolist():
        x, y = ((np.array(divmod(cell, columns)) + 0.5 + rng.uniform(-0.15, 0.15, size=2)) / columns).tolist()
        radius, turn = size * rng.uniform(0.85, 1.15), rng.normal(0, way.tilt)
        shapes.append(look.outline.at(pixels, (x, y), radius, turn, rng.uniform(0.85, 1.15)))
    strays = [_stray(rng, pixels) for _ in range(int(rng.poisson(way.strays)))]
    return [*strays, Thing(union(shapes), look.body, look.core)]


def _stray(rng: Generator, pixels: int) -> Thing:
    """Something small that belongs to no class."""
    x, y = rng.uniform(0, 1, size=2).tolist()
    shape = outline(rng, 0.5).at(pixels, (x, y), rng.uniform(0.06, 0.14), 0)
    return Thing(shape, rng.uniform(0, 1, size=3), rng.uniform(0, 1, size=3))


def render(things: Sequence[Thing], way: Rendering, rng: Generator, pixels: int) -> NDArray[np.uint8]:
    """The picture of things on a ground, the first ones lying lowest; uint8 [P, P, 3]."""
    base = rng.uniform(*way.ground) + np.array(way.tone) + way.tint * rng.uniform(-1, 1, size=3)
    ground = way.texture * (clouds(rng, pixels, 4) + 0.6 * clouds(rng, pixels, 14))
    picture: Picture = base.astype(np.float32) + ground.astype(np.float32)[..., None]
    shift, angle = way.hue_shift * rng.normal(size=3), rng.uniform(0, 2 * np.pi)
    axis = np.linspace(-1, 1, pixels, dtype=np.float32)
    light = (np.cos(angle) * axis[None, :] + np.sin(angle) * axis[:, None]).astype(np.float32)
    for thing in things:
        stray = way.wobble * clouds(rng, pixels, 8) if way.wobble else np.float32(0)
        shape = Shape(thing.shape.distance + stray, thing.shape.depth)
        body, core = (
            (_saturated(colour, way.colourful) + shift).astype(np.float32) for colour in (thing.body, thing.core)
        )
        inner = np.clip((shape.depth - 0.45) * 8 + 0.5, 0, 1)[..., None]
        lit = 1 + way.shade * (light + shape.depth - 0.5)[..., None]
        picture = _lay(picture, (body * (1 - inner) + core * inner) * lit, way.fill * shape.cover)
        if way.line:
            stroke = np.clip(way.line / 2 + 0.5 - np.abs(shape.distance), 0, 1)
            picture = _lay(picture, np.full(3, 0.1, dtype=np.float32), stroke)
    return develop(picture, way, rng)


def _lay(picture: Picture, colour: NDArray[np.floating], cover: Field) -> Picture:
    return np.asarray(picture * (1 - cover[..., None]) + colour * cover[..., None])


def develop(picture: Picture, way: Rendering, rng: Generator) -> NDArray[np.uint8]:
    """What the camera makes of it, uint8 [P, P, 3]: contrast and brightness vary, then blur and grain."""
    contrasted = (picture - 0.5) * rng.uniform(0.75, 1.05) + 0.5 + rng.uniform(-0.06, 0.06)
    image = Image.fromarray(np.asarray(np.clip(255 * contrasted, 0, 255), dtype=np.uint8))
    blurred = np.asarray(image.filter(ImageFilter.GaussianBlur(way.blur)) if way.blur else image, dtype=np.float32)
    grain = 255 * way.noise * rng.standard_normal((*image.size, 1), dtype=np.float32)
    return np.asarray(np.clip(blurred + grain, 0, 255), dtype=np.uint8)


def _saturated(colour: NDArray[np.floating], factor: float) -> NDArray[np.floating]:
    grey = colour.mean()
    return np.asarray(np.clip(grey + factor * (colour - grey), 0, 1))

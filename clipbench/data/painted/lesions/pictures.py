"""Pictures with lesions: polyps as an endoscope sees them, tumours as ultrasound shows them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from clipbench.data.painted.lesions.shapes import Frame, Mask, blob, filled
from clipbench.data.painted.texture import fractal_noise

Plane: TypeAlias = NDArray[np.floating]


@dataclass(frozen=True)
class Case:
    """One picture with its lesions.

    Attributes:
        picture: uint8 [height, width, 3].
        masks: one mask [height, width] per lesion.
        colour: what colour the lesion is, in a word; empty for ultrasound.
    """

    picture: NDArray[np.uint8]
    masks: Sequence[Mask]
    colour: str = ""


def _texture(rng: Generator, frame: Frame, cells: float, octaves: int) -> Plane:
    return fractal_noise(rng, frame.edge, cells, octaves)[: frame.height, : frame.width]


def _soft(plane: Plane, radius: float) -> Plane:
    """Gaussian blur of standard deviation `radius` in pixels; Pillow's would round to 256 levels."""
    down, across = (_weights(extent, radius) for extent in plane.shape)
    return np.asarray(down @ plane @ across.T)


def _weights(extent: int, radius: float) -> Plane:
    places = np.arange(extent)
    weights = np.exp(-0.5 * ((places[:, None] - places[None, :]) / radius) ** 2)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def _places(rng: Generator, count: int, margin: float) -> list[list[float]]:
    """Centres that keep away from the rim and, if there are two, from each other."""
    first = rng.uniform(margin, 1 - margin, size=2)
    if count == 1:
        return [first.tolist()]
    second = 1 - first + np.where(first < 0.5, 1, -1) * rng.uniform(0, 0.08, size=2)
    apart = np.where(np.abs(first - 0.5) < 0.2, 0.5 + np.sign(first - 0.5 + 1e-9) * 0.25, first)
    return [apart.tolist(), np.clip(second - (apart - first), margin, 1 - margin).tolist()]


_TINTS = {"red": (200, 80, 75), "pink": (222, 135, 125), "yellow": (215, 165, 95), "white": (228, 200, 180)}


def polyp(rng: Generator, frame: Frame) -> Case:
    """One or two bulging polyps on folded mucosa, lit from the endoscope, with glints and dark corners."""
    count = 1 if rng.random() < 0.82 else 2
    colour = sorted(_TINTS)[int(rng.integers(len(_TINTS)))]
    sizes = rng.uniform(0.15, 0.3, size=count) * (1.0 if count == 1 else 0.62)
    outlines = [blob(rng, frame, p, r, 0.06) for p, r in zip(_places(rng, count, 0.28), sizes.tolist(), strict=True)]
    inside = [filled(outline, frame) for outline in outlines]
    rgb = _mucosa(rng, frame)
    for share in inside:
        rgb = _bulge(rgb, share, np.array(_TINTS[colour], dtype=float), rng, frame)
    rgb = _endoscope(rgb, rng, frame)
    return Case(np.clip(rgb, 0, 255).astype(np.uint8), [share > 0.5 for share in inside], colour)


def _mucosa(rng: Generator, frame: Frame) -> Plane:
    folds = np.abs(_texture(rng, frame, rng.uniform(1.5, 3.0), 2))
    base = np.array([185, 100, 85]) * rng.normal(1, 0.08) + rng.normal(0, 8, size=3)
    light = 0.72 + 0.3 * np.tanh(1.5 * folds) + 0.05 * _texture(rng, frame, 14, 2)
    veins = np.clip(_texture(rng, frame, 6, 2) - 1.2, 0, 1)[..., None] * np.array([10, -35, -30])
    return np.asarray(base * light[..., None] + veins)


def _bulge(rgb: Plane, share: Plane, tint: Plane, rng: Generator, frame: Frame) -> Plane:
    """Lay a polyp over the mucosa: lit on one side, dark below, with a rough skin."""
    height = _soft(share, frame.edge * 0.06)
    slope_y, slope_x = np.gradient(height)
    angle = rng.uniform(-np.pi, 0)
    lit = 1 - 5 * (slope_x * np.cos(angle) + slope_y * np.sin(angle))
    skin = tint * rng.normal(1, 0.05) * (lit + 0.06 * _texture(rng, frame, 12, 3))[..., None]
    shade = 1 - 0.35 * np.roll(_soft(share, frame.edge * 0.03), int(frame.edge * 0.04), axis=0)
    cover = _soft(share, 0.7)[..., None]
    return np.asarray(rgb * shade[..., None] * (1 - cover) + skin * cover)


def _endoscope(rgb: Plane, rng: Generator, frame: Frame) -> Plane:
    y, x = np.mgrid[-1 : 1 : frame.height * 1j, -1 : 1 : frame.width * 1j]
    lamp = rng.normal(0, 0.2, size=2)
    fall_off = 1.1 - 0.32 * ((x - lamp[0]) ** 2 + (y - lamp[1]) ** 2)
    glints = np.clip(_texture(rng, frame, 11, 2) - 2.4, 0, 1)[..., None] * 260
    corners = ((np.abs(x) + np.abs(y)) < rng.uniform(1.6, 1.85))[..., None]
    noisy = rgb * fall_off[..., None] + glints + rng.normal(0, 3, size=rgb.shape)
    return np.asarray(np.where(corners, noisy, 6 + rng.normal(0, 2, size=rgb.shape)))


def ultrasound(rng: Generator, frame: Frame, kind: str) -> Case:
    """Speckled layers of tissue with a smooth (benign), a ragged (malignant) or no (normal) dark tumour."""
    count = 0 if kind == "normal" else 1 if kind == "malignant" or rng.random() < 0.85 else 2
    ragged = 0.2 if kind == "malignant" else 0.05
    sizes = rng.uniform(0.13, 0.26, size=count) * (1.0 if count < 2 else 0.65)
    places = _places(rng, count, 0.28) if count else []
    outlines = [blob(rng, frame, p, r, ragged) for p, r in zip(places, sizes.tolist(), strict=True)]
    inside = [filled(outline, frame) for outline in outlines]
    echo = _layers(rng, frame)
    for share in inside:
        echo = _tumour(echo, share, rng, frame, shadow=kind == "malignant")
    speckle = rng.rayleigh(0.8, size=echo.shape)
    grey = _soft(echo * (0.45 + 0.55 * speckle), 0.6) * 255
    picture = np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[..., None], 3, axis=2)
    return Case(picture, [share > 0.5 for share in inside])


def _layers(rng: Generator, frame: Frame) -> Plane:
    """Skin, fat, gland and muscle from top to bottom, bright bands between them, darker with depth."""
    depth = np.linspace(0, 1, frame.height)[:, None] + 0.05 * _texture(rng, frame, 1.5, 2)
    bands = 0.12 * np.sin(depth * rng.uniform(14, 26) + rng.uniform(0, 6))
    skin = 0.35 * (depth < 0.07)
    return np.asarray(np.clip(0.55 + bands + skin - 0.22 * depth + 0.07 * _texture(rng, frame, 5, 3), 0.05, 1))


def _tumour(echo: Plane, share: Plane, rng: Generator, frame: Frame, *, shadow: bool) -> Plane:
    """Darken the tumour; behind it sound is lost (malignant) or gained (benign)."""
    behind = np.maximum.accumulate(share, axis=0) * (1 - share)
    echo = echo * (1 + (-0.4 if shadow else 0.3) * _soft(behind, frame.edge * 0.03))
    cover = _soft(share, 1.4 if shadow else 0.8)
    dark = rng.uniform(0.07, 0.2) * (1 + 0.3 * _texture(rng, frame, 8, 2))
    return np.asarray(echo * (1 - cover) + np.clip(dark, 0.02, 1) * cover)

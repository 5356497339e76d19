"""Lesions as outlines, and what a description says of them: shape, size, number, place."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from clipbench.data.painted.objects.parts import Points, turn

Mask: TypeAlias = NDArray[np.bool_]

_SUPERSAMPLING = 4
_NUMBERS = ("no", "one", "two", "three")


@dataclass(frozen=True)
class Frame:
    """The size of a picture in pixels."""

    width: int
    height: int

    @property
    def edge(self) -> int:
        """The longer side."""
        return max(self.width, self.height)


def blob(rng: Generator, frame: Frame, place: Sequence[float], radius: float, ragged: float) -> Points:
    """A closed outline in pixels.

    Args:
        rng: random stream.
        frame: size of the picture.
        place: centre as shares of width and height.
        radius: mean radius as a share of the shorter side.
        ragged: relative height of the bumps; 0.05 is smooth, 0.2 is spiky.
    """
    t = np.linspace(0, 2 * math.pi, 72, endpoint=False)
    waves = np.arange(2, 9)
    heights = ragged * rng.normal(size=7) / np.sqrt(waves - 1)
    r = 1 + (heights[:, None] * np.cos(waves[:, None] * t + rng.uniform(0, 2 * math.pi, size=(7, 1)))).sum(axis=0)
    flat = rng.uniform(0.6, 1.0)
    outline = np.stack([np.maximum(r, 0.3) * np.cos(t), flat * np.maximum(r, 0.3) * np.sin(t)], axis=1)
    size = radius * min(frame.width, frame.height)
    return turn(outline * size, rng.uniform(0, math.pi)) + np.asarray(place) * (frame.width, frame.height)


def filled(outline: Points, frame: Frame) -> NDArray[np.floating]:
    """How much of every pixel lies inside an outline, [height, width] from 0 to 1."""
    picture = Image.new("L", (frame.width * _SUPERSAMPLING, frame.height * _SUPERSAMPLING))
    ImageDraw.Draw(picture).polygon([(x, y) for x, y in (outline * _SUPERSAMPLING).tolist()], fill=255)
    return np.asarray(picture.resize((frame.width, frame.height), Image.Resampling.BOX), dtype=np.float32) / 255


def bounding_box(mask: Mask) -> list[int]:
    """Left, top, right, bottom, one pixel outside the lesion; width, height, 0, 0 for an empty mask (medvlsm's way)."""
    height, width = mask.shape
    if not mask.any():
        return [width, height, 0, 0]
    y, x = np.nonzero(mask)
    return [max(int(x.min()) - 1, 0), max(int(y.min()) - 1, 0), int(x.max()) + 1, int(y.max()) + 1]


def number_word(masks: Sequence[Mask]) -> str:
    """How many lesions there are."""
    return _NUMBERS[len(masks)]


def size_word(masks: Sequence[Mask]) -> str:
    """How much of the picture the largest lesion takes."""
    share = max(mask.mean() for mask in masks)
    return "small" if share < 0.06 else "medium" if share < 0.15 else "large"


def shape_word(mask: Mask) -> str:
    """Round or oval, by the spread along the principal axes."""
    low, high = np.linalg.eigvalsh(np.cov(np.stack(np.nonzero(mask))))
    return "round" if math.sqrt(high / max(low, 1e-6)) < 1.35 else "oval"


def place_words(masks: Sequence[Mask]) -> str:
    """Where the lesions are, in thirds of the picture."""
    return ", ".join(_place(mask) for mask in masks)


def _place(mask: Mask) -> str:
    y, x = (float(np.mean(axis)) / extent for axis, extent in zip(np.nonzero(mask), mask.shape, strict=True))
    vertical = "top" if y < 1 / 3 else "bottom" if y > 2 / 3 else ""
    horizontal = "left" if x < 1 / 3 else "right" if x > 2 / 3 else ""
    return f"{vertical} {horizontal}".strip() or "center"

"""Drawings as lists of outlines, from back to front: what an object looks like, whatever the style it is shown in.

An outline is an array of points [n, 2], x to the right and y down; a finished drawing fills the square from -1 to 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Points: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class Part:
    """One piece of an object.

    Attributes:
        outline: closed outline [n, 2].
        material: what it is made of; a style knows the colour.
        shade: factor of that colour, for pieces that lie in the shade or catch the light.
    """

    outline: Points
    material: str
    shade: float = 1.0

    def moved(self, matrix: ArrayLike, shift: ArrayLike = (0.0, 0.0)) -> Part:
        """The part with every point p at `matrix @ p + shift`."""
        return replace(self, outline=self.outline @ np.asarray(matrix, dtype=float).T + np.asarray(shift))


Drawing: TypeAlias = Sequence[Part]


def ellipse(x: float, y: float, rx: float, ry: float, angle: float = 0.0) -> Points:
    """The outline of an ellipse about (x, y), turned by `angle` radians."""
    t = np.linspace(0, 2 * math.pi, 28, endpoint=False)
    return shifted(turn(np.stack([rx * np.cos(t), ry * np.sin(t)], axis=1), angle), x, y)


def rectangle(left: float, top: float, right: float, bottom: float) -> Points:
    """The outline of an upright rectangle."""
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)])


def turn(points: ArrayLike, angle: float) -> Points:
    """Points [n, 2] turned by `angle` radians about the origin."""
    cos, sin = math.cos(angle), math.sin(angle)
    return np.asarray(np.asarray(points, dtype=float) @ np.array([[cos, sin], [-sin, cos]]))


def shifted(points: ArrayLike, x: float, y: float) -> Points:
    """Points [n, 2] moved so that their origin comes to (x, y)."""
    return np.asarray(np.asarray(points, dtype=float) + np.array([x, y]))


def mirrored(points: ArrayLike) -> Points:
    """Points [n, 2] with left and right exchanged."""
    return np.asarray(points, dtype=float) * (-1, 1)


def limb(line: ArrayLike, widths: ArrayLike) -> Points:
    """The outline of a thick line through points [n, 2] whose width may change from point to point."""
    points = np.asarray(line, dtype=float)
    half = np.broadcast_to(np.asarray(widths, dtype=float), len(points))[:, None] / 2
    tangent = np.gradient(points, axis=0)
    normal = np.stack([-tangent[:, 1], tangent[:, 0]], axis=1)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
    return np.vstack([points + normal * half, (points - normal * half)[::-1]])


def curve(points: ArrayLike, *, closed: bool = False, steps: int = 6) -> Points:
    """A smooth (Catmull-Rom) curve through points [n, 2]."""
    p = np.asarray(points, dtype=float)
    around = np.vstack([p[-1:], p, p[:2]]) if closed else np.vstack([2 * p[:1] - p[1:2], p, 2 * p[-1:] - p[-2:-1]])
    a, b, c, d = around[:-3, None], around[1:-2, None], around[2:-1, None], around[3:, None]
    t = np.linspace(0, 1, steps, endpoint=False)[None, :, None]
    smooth = b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))
    flat = smooth.reshape(-1, 2)
    return flat if closed else np.vstack([flat, p[-1:]])


def fitted(parts: Drawing) -> list[Part]:
    """The drawing, moved and scaled so that its longer side spans the square from -1 to 1."""
    everything = np.vstack([part.outline for part in parts])
    low, high = everything.min(axis=0), everything.max(axis=0)
    scale = 2 / float((high - low).max())
    return [part.moved(np.eye(2) * scale, -(low + high) / 2 * scale) for part in parts]

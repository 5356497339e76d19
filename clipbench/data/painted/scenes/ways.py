"""Long things seen from above: roads with markings and traffic, rails, footpaths."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike

from clipbench.data.painted.canvas import Canvas
from clipbench.data.painted.scenes.things import Points, box, car, turned
from clipbench.data.painted.texture import smooth_curve


def across(canvas: Canvas, *, offset: float = 0.0, bend: float = 0.0, wavelength: float = 3.0) -> Points:
    """A line [n, 2] from one side of the picture to the other along u, `bend` being how far it strays."""
    u = np.linspace(-canvas.reach - 0.2, canvas.reach + 0.2, 24, dtype=np.float32)
    v = offset + bend * smooth_curve(canvas.rng, u, wavelength)
    return np.stack([u, v], axis=1).astype(float)


def shifted(line: ArrayLike, distance: float) -> Points:
    """A line [n, 2] moved sideways by `distance`."""
    points = np.asarray(line, dtype=float)
    tangent = np.gradient(points, axis=0)
    normal = np.stack([-tangent[:, 1], tangent[:, 0]], axis=1)
    return np.asarray(points + distance * normal / np.linalg.norm(normal, axis=1, keepdims=True))


def resampled(line: ArrayLike, step: float) -> Points:
    """Points every `step` along a line, [m, 2]."""
    points = np.asarray(line, dtype=float)
    run = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    at = np.arange(0, run[-1], step)
    return np.stack([np.interp(at, run, points[:, 0]), np.interp(at, run, points[:, 1])], axis=1)


def dashes(canvas: Canvas, line: ArrayLike, step: float, width: float = 0.012) -> None:
    """A broken white line."""
    ends = resampled(line, step / 2)
    colour = canvas.colour("marking")
    for start, end in zip(ends[::2], ends[1::2], strict=False):
        canvas.path([start, end], width, colour)


def road(canvas: Canvas, line: ArrayLike, width: float, *, lanes: int = 2, traffic: float = 0.3) -> None:
    """A road along a line [n, 2] with verge, lane marks and cars.

    Args:
        canvas: where to paint.
        line: its middle.
        width: across all lanes.
        lanes: number of lanes; the marks between them are broken.
        traffic: cars per lane and unit of length.
    """
    canvas.path(line, width * 1.12, canvas.colour("concrete"))
    canvas.path(line, width, canvas.colour("asphalt"))
    for lane in range(1, lanes):
        dashes(canvas, shifted(line, width * (lane / lanes - 0.5)), 0.16)
    for lane in range(lanes):
        _cars(canvas, shifted(line, width * ((lane + 0.5) / lanes - 0.5)), traffic)


def _cars(canvas: Canvas, line: Points, traffic: float) -> None:
    places = resampled(line, 0.16)
    for start, end in pairwise(places):
        if canvas.rng.random() < traffic * 0.16:
            step = end - start
            car(canvas, start, math.atan2(step[1], step[0]), 0.085)


def motorway(canvas: Canvas, line: ArrayLike, width: float, *, lanes: int = 3, traffic: float = 1.5) -> None:
    """Two carriageways with a median."""
    canvas.path(line, width * 1.1, canvas.colour("verge"))
    for side in (-1, 1):
        road(canvas, shifted(line, side * width * 0.27), width * 0.46, lanes=lanes, traffic=traffic)


def crosswalk(canvas: Canvas, centre: ArrayLike, angle: float, width: float) -> None:
    """Zebra stripes across a road of the given width that runs along `angle`."""
    stripe = width / 7
    for row in range(4):
        place = turned([(0, (row - 1.5) * stripe * 1.8)], angle, centre)[0]
        canvas.polygon(box(place, 0.1, stripe, angle), canvas.colour("marking"))


def rails(canvas: Canvas, line: ArrayLike, width: float = 0.06) -> None:
    """One track: ballast, sleepers, two rails."""
    canvas.path(line, width * 2, canvas.colour("ballast"))
    left, right = shifted(line, width * 0.8), shifted(line, -width * 0.8)
    for start, end in zip(resampled(left, 0.07), resampled(right, 0.07), strict=False):
        canvas.path([start, end], 0.02, (70, 60, 52))
    for side in (0.45, -0.45):
        canvas.path(shifted(line, side * width), 0.012, (165, 160, 158))

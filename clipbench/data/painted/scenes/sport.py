"""Sports grounds: tennis, basketball, baseball, golf, running track."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from clipbench.data.painted.canvas import Canvas
from clipbench.data.painted.scenes.things import Points, block, box, car, scatter, tree, turned
from clipbench.data.painted.scenes.ways import across, road


def _surroundings(canvas: Canvas, clear: float) -> None:
    """Grass or paving with trees, cars and a building outside the radius `clear`."""
    rng = canvas.rng
    canvas.cover("grass" if rng.random() < 0.7 else "concrete", grain=0.07)
    if rng.random() < 0.5:
        road(canvas, across(canvas, offset=rng.choice([-1, 1]) * (clear + 0.15)), 0.12)
    for place in scatter(canvas, int(rng.integers(15, 40))):
        if np.hypot(*place) > clear:
            tree(canvas, place, 0.07)
    for place in scatter(canvas, 6):
        if np.hypot(*place) > clear + 0.2:
            block(canvas, place, 0.3, 0.25, 0) if rng.random() < 0.4 else car(canvas, place, 0.0)


def _courts(canvas: Canvas, length: float, width: float) -> list[tuple[float, float]]:
    """Centres of a random block of courts side by side, around the middle of the picture."""
    rng = canvas.rng
    columns, rows = int(rng.integers(1, 4)), int(rng.integers(1, 3))
    shift = rng.uniform(-0.15, 0.15, size=2)
    return [
        (float((column - (columns - 1) / 2) * width + shift[0]), float((row - (rows - 1) / 2) * length + shift[1]))
        for column in range(columns)
        for row in range(rows)
    ]


def _strokes(canvas: Canvas, lines: Sequence[ArrayLike], centre: Points, size: float) -> None:
    for line in lines:
        canvas.path(np.array(line) * size + centre, 0.018, canvas.colour("marking"))


def _outline(half_length: float, half_width: float) -> list[tuple[float, float]]:
    a, b = half_width, half_length
    return [(-a, -b), (a, -b), (a, b), (-a, b), (-a, -b)]


def tennis_court(canvas: Canvas) -> None:
    """Tennis courts: two-coloured, with side lines, service boxes and a net."""
    size = canvas.rng.uniform(0.5, 0.75)
    _surroundings(canvas, 0.9)
    apron, inner = canvas.colour("court_edge"), canvas.colour("court")
    lines: list[ArrayLike] = [
        _outline(0.5, 0.23),
        [(-0.17, -0.5), (-0.17, 0.5)],
        [(0.17, -0.5), (0.17, 0.5)],
        [(-0.17, -0.27), (0.17, -0.27)],
        [(-0.17, 0.27), (0.17, 0.27)],
        [(0, -0.27), (0, 0.27)],
    ]
    for place in _courts(canvas, size * 1.45, size * 0.78):
        canvas.polygon(box(place, size * 0.78, size * 1.45), apron)
        canvas.polygon(box(place, size * 0.46, size), inner)
        _strokes(canvas, lines, np.array(place), size)
        canvas.path([(place[0] - size * 0.28, place[1]), (place[0] + size * 0.28, place[1])], 0.02, (60, 60, 60))


def basketball_court(canvas: Canvas) -> None:
    """Basketball courts: centre circle, free-throw keys and three-point arcs."""
    size = canvas.rng.uniform(0.6, 0.85)
    _surroundings(canvas, 0.9)
    apron, inner, key = canvas.colour("court_edge"), canvas.colour("court"), canvas.colour("court_key")
    half = np.linspace(0, math.pi, 12)
    arc = [(math.cos(a) * 0.22, -0.5 + math.sin(a) * 0.3) for a in half]
    around = [(math.cos(2 * a) * 0.07, math.sin(2 * a) * 0.07) for a in half]
    lines: list[ArrayLike] = [_outline(0.5, 0.27), [(-0.27, 0), (0.27, 0)], around, arc, [(u, -v) for u, v in arc]]
    for place in _courts(canvas, size * 1.2, size * 0.68):
        canvas.polygon(box(place, size * 0.68, size * 1.2), apron)
        canvas.polygon(box(place, size * 0.54, size), inner)
        for side in (-1, 1):
            canvas.polygon(box((place[0], place[1] + side * size * 0.41), size * 0.16, size * 0.18), key)
        _strokes(canvas, lines, np.array(place), size)


def baseball_diamond(canvas: Canvas) -> None:
    """A baseball field: fan of clay, grass infield, mown outfield."""
    rng = canvas.rng
    _surroundings(canvas, 1.0)
    size, clay = rng.uniform(0.9, 1.3), canvas.colour("clay")
    home = np.array([-0.45, -0.45]) * size
    canvas.polygon(_fan(home, size * 1.15), canvas.colour("grass"))
    for ring in np.arange(1.0, 0.5, -0.12):
        canvas.polygon(_fan(home, size * ring), canvas.colour("grass"), 0.35)
    canvas.polygon(_fan(home, size * rng.uniform(0.58, 0.7)), clay)
    infield = home + size * 0.27
    canvas.polygon(box(infield, size * 0.36, size * 0.36), canvas.colour("grass"))
    canvas.disc(infield, size * 0.05, clay)
    canvas.disc(home + size * 0.03, size * 0.1, clay)
    for end in ((1.15, 0.0), (0.0, 1.15)):
        canvas.path([home, home + np.array(end) * size], 0.014, canvas.colour("marking"))


def _fan(home: Points, radius: float) -> Points:
    arc = [(math.cos(a) * radius, math.sin(a) * radius) for a in np.linspace(-0.06, math.pi / 2 + 0.06, 16)]
    return np.array([(0.0, 0.0), *arc]) + home


def golf_course(canvas: Canvas) -> None:
    """Fairways and greens with sand bunkers, trees and a pond."""
    rng = canvas.rng
    canvas.cover("grass", grain=0.1)
    trees_at = canvas.noise(0.8, 2)
    canvas.cover("tree", trees_at > rng.uniform(0.5, 1.0), grain=0.15)
    line = across(canvas, offset=rng.uniform(-0.3, 0.3), bend=0.25)
    canvas.path(line, rng.uniform(0.35, 0.55), canvas.colour("fairway"))
    green = rng.uniform(-0.4, 0.4, size=2)
    canvas.disc(green, rng.uniform(0.18, 0.28), canvas.colour("green"))
    for angle in rng.uniform(0, 2 * math.pi, size=rng.integers(2, 6)):
        bunker = turned([(rng.uniform(0.3, 0.5), 0)], angle, green)[0]
        for lobe in rng.normal(size=(3, 2)) * 0.05:
            canvas.disc(bunker + lobe, rng.uniform(0.05, 0.09), canvas.colour("bunker"))
    if rng.random() < 0.35:
        canvas.cover("river", canvas.noise(1.1, 2) > 1.5)
    for place in scatter(canvas, 14):
        tree(canvas, place, 0.07)


def running_track(canvas: Canvas) -> None:
    """An oval track around a football pitch."""
    rng = canvas.rng
    _surroundings(canvas, 1.05)
    half, radius = rng.uniform(0.35, 0.5), rng.uniform(0.35, 0.48)
    canvas.polygon(_oval(half, radius + 0.14), canvas.colour("track"))
    for lane in (0.035, 0.07, 0.105):
        canvas.path(_oval(half, radius + lane), 0.008, canvas.colour("marking"))
    canvas.polygon(_oval(half, radius), canvas.colour("grass"))
    stripes = np.linspace(-half, half, 9)
    grass = canvas.colour("fairway")
    for left, right in zip(stripes[::2], stripes[1::2], strict=False):
        canvas.polygon(box(((left + right) / 2, 0), right - left, radius * 1.5), grass, 0.6)
    pitch = np.array([(-half, -0.75 * radius), (half, -0.75 * radius), (half, 0.75 * radius), (-half, 0.75 * radius)])
    canvas.path(np.vstack([pitch, pitch[:1]]), 0.014, canvas.colour("marking"))
    canvas.path([(0, -0.75 * radius), (0, 0.75 * radius)], 0.014, canvas.colour("marking"))


def _oval(half: float, radius: float) -> Points:
    right = [(half + math.cos(a) * radius, math.sin(a) * radius) for a in np.linspace(-math.pi / 2, math.pi / 2, 16)]
    return np.array(right + [(-u, -v) for u, v in right] + right[:1])

"""Water: beach, river, lake, island, harbour, bridge."""

from __future__ import annotations

import math

import numpy as np

from clipbench.data.painted.canvas import Canvas, Field
from clipbench.data.painted.scenes.things import block, boat, box, scatter, tree, trees
from clipbench.data.painted.scenes.ways import across, road
from clipbench.data.painted.texture import smooth_curve


def _banded(canvas: Canvas, distance: Field, at: list[float], materials: list[str], grain: float = 0.04) -> None:
    """Colours that blend from one material to the next with the distance from a shore (world units)."""
    colours = np.array([canvas.colour(material) for material in materials], dtype=float)
    rgb = np.stack([np.interp(distance, at, colours[:, channel]) for channel in range(3)], axis=-1)
    canvas.lay(rgb * (1 + grain * (canvas.noise(0.06, 2) + canvas.noise(0.4))[..., None]))


def beach(canvas: Canvas) -> None:
    """Sea, surf and sand along one coast, with vegetation behind."""
    u, v = canvas.world
    rng = canvas.rng
    land = v - rng.uniform(-0.35, 0.35) - rng.uniform(0.05, 0.18) * smooth_curve(rng, u, 2.0)
    land = land + 0.015 * canvas.noise(0.15)
    sand = rng.uniform(0.25, 0.75)
    _banded(
        canvas,
        land,
        [-1.2, -0.35, -0.08, -0.03, 0.0, 0.05, sand, sand + 0.05],
        ["water", "shallow", "shallow", "foam", "foam", "wet_sand", "sand", "grass"],
    )
    if rng.random() < 0.6:
        surf = np.abs(land + rng.uniform(0.12, 0.3) + 0.05 * canvas.noise(0.4)) < rng.uniform(0.01, 0.03)
        canvas.cover("foam", surf)
    for place in scatter(canvas, 40):
        if place[1] > sand + 0.4:
            tree(canvas, place, 0.05)


def river(canvas: Canvas) -> None:
    """A meandering river between banks, woods and fields."""
    u, v = canvas.world
    rng = canvas.rng
    canvas.cover("crop" if rng.random() < 0.3 else "grass", grain=0.08)
    canvas.cover("tree", canvas.noise(0.7) > rng.uniform(-0.4, 1.0), grain=0.12)
    course = rng.uniform(-0.2, 0.2) + rng.uniform(0.15, 0.4) * smooth_curve(rng, u, 2.6)
    half = rng.uniform(0.12, 0.3) * (1 + 0.2 * smooth_curve(rng, u, 1.5)) + 0.015 * canvas.noise(0.2)
    away = np.abs(v - course)
    canvas.cover("wet_sand" if rng.random() < 0.5 else "soil", away < half + rng.uniform(0.02, 0.1))
    canvas.cover("river", away < half)
    for place in scatter(canvas, 50):
        if abs(place[1] - float(np.interp(place[0], u.ravel()[:: u.shape[0]], course.ravel()[:: u.shape[0]]))) > 0.5:
            tree(canvas, place, 0.06)


def _blob(canvas: Canvas, radius: float, raggedness: float) -> Field:
    """Signed distance from a closed, irregular shore around the middle; negative inside."""
    u, v = canvas.world
    shift = canvas.rng.uniform(-0.15, 0.15, size=2)
    stretch = canvas.rng.uniform(0.75, 1.3)
    far = np.hypot((u - shift[0]) * stretch, (v - shift[1]) / stretch)
    return np.asarray(far - radius + raggedness * canvas.noise(0.7, 3), dtype=np.float32)


def lake(canvas: Canvas) -> None:
    """A lake or pond with its shore in green land."""
    rng = canvas.rng
    canvas.cover("grass", grain=0.08)
    canvas.cover("tree", canvas.noise(0.6) > rng.uniform(-0.6, 0.8), grain=0.12)
    shore = _blob(canvas, rng.uniform(0.45, 0.75), rng.uniform(0.04, 0.12))
    canvas.cover("wet_sand", shore < rng.uniform(0.01, 0.06))
    canvas.cover("river", shore < 0)
    if rng.random() < 0.4:
        road(canvas, across(canvas, offset=rng.choice([-0.95, 0.95]), bend=0.05), 0.08)


def island(canvas: Canvas) -> None:
    """An island: sea, surf, beach, woods."""
    shore = _blob(canvas, canvas.rng.uniform(0.4, 0.65), canvas.rng.uniform(0.06, 0.14))
    _banded(
        canvas, -shore, [-0.6, -0.1, -0.02, 0.02, 0.08, 0.12], ["water", "shallow", "foam", "sand", "sand", "grass"]
    )
    canvas.cover("tree", -shore > canvas.rng.uniform(0.12, 0.25), grain=0.18)


def harbor(canvas: Canvas) -> None:
    """A marina: piers with boats moored on both sides, sometimes a quay."""
    rng = canvas.rng
    canvas.cover("water", grain=0.04)
    pitch = rng.uniform(0.55, 0.85)
    length = pitch * rng.uniform(0.3, 0.38)
    for u in np.arange(-canvas.reach - rng.uniform(0, pitch), canvas.reach, pitch):
        _pier(canvas, u, length)
    if rng.random() < 0.7:
        edge = rng.uniform(0.6, 0.9)
        canvas.polygon(box((0, edge + 1.5), 4 * canvas.reach, 3), canvas.colour("concrete"))
        for u in rng.uniform(-1, 1, size=2):
            block(canvas, (u, edge + 0.4), 0.4, 0.25, 0)


def _pier(canvas: Canvas, u: float, length: float) -> None:
    canvas.path([(u, -canvas.reach), (u, canvas.reach)], 0.05, canvas.colour("concrete"))
    step = length * 0.52
    for v in np.arange(-canvas.reach, canvas.reach, step):
        for side, angle in ((1, 0.0), (-1, math.pi)):
            if canvas.rng.random() < 0.8:
                place = (u + side * (0.04 + length * 0.5), v + canvas.rng.normal() * 0.008)
                boat(canvas, place, angle, length * canvas.rng.uniform(0.75, 1.0))


def bridge(canvas: Canvas) -> None:
    """A road bridge straight over a river."""
    u, v = canvas.world
    rng = canvas.rng
    canvas.cover("grass", grain=0.08)
    trees(canvas, 50, 0.06)
    away = np.abs(u - 0.12 * smooth_curve(rng, v, 3.0))
    half = rng.uniform(0.45, 0.8)
    canvas.cover("wet_sand", away < half + 0.05)
    canvas.cover("river", away < half)
    width, offset = rng.uniform(0.14, 0.3), rng.uniform(-0.2, 0.2)
    canvas.shadow(box((0, offset), 2 * half, width), 0.12)
    road(canvas, across(canvas, offset=offset), width, lanes=int(rng.integers(2, 5)), traffic=1.0)

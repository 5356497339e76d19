"""Open land: fields, forest, desert, meadow, shrubs, mountains."""

from __future__ import annotations

import math

import numpy as np

from clipbench.data.painted.canvas import Canvas
from clipbench.data.painted.scenes.things import house, scaled, scatter, tree, trees, turned
from clipbench.data.painted.scenes.ways import across, road


def rectangular_farmland(canvas: Canvas) -> None:
    """A patchwork of long parcels with crop rows, and a track between them."""
    canvas.cover("soil")
    rng, edge = canvas.rng, canvas.reach
    height = rng.uniform(0.45, 0.9)
    for bottom in np.arange(-edge - rng.uniform(0, height), edge, height):
        left = -edge - rng.uniform(0, 0.8)
        while left < edge:
            width = rng.uniform(0.35, 1.1)
            _parcel(canvas, left, bottom, width - 0.03, height - 0.04)
            left += width
    if rng.random() < 0.5:
        road(canvas, across(canvas, offset=rng.uniform(-0.8, 0.8)), 0.06, lanes=1)


def agricultural(canvas: Canvas) -> None:
    """One crop in dense rows, as the near view of a plantation has it."""
    rng = canvas.rng
    canvas.cover("soil" if rng.random() < 0.5 else "crop", grain=0.08)
    spacing, colour = rng.uniform(0.06, 0.14), canvas.colour("crop")
    for v in np.arange(-canvas.reach, canvas.reach, spacing):
        canvas.path(
            across(canvas, offset=v + rng.normal() * 0.004), spacing * 0.5, scaled(colour, rng.uniform(0.85, 1.1))
        )
    if rng.random() < 0.5:
        canvas.path(across(canvas, offset=rng.uniform(-0.7, 0.7)), 0.12, canvas.colour("soil"))


def _parcel(canvas: Canvas, left: float, bottom: float, width: float, height: float) -> None:
    rng = canvas.rng
    corners = np.array(
        [(left, bottom), (left + width, bottom), (left + width, bottom + height), (left, bottom + height)]
    )
    colour = canvas.colour("soil" if rng.random() < 0.25 else "crop")
    canvas.polygon(corners, colour)
    spacing, tint = rng.uniform(0.04, 0.09), scaled(colour, rng.choice([0.84, 1.14]))
    for v in np.arange(bottom + spacing / 2, bottom + height, spacing):
        canvas.path([(left, v), (left + width, v)], spacing * 0.4, tint)


def circular_farmland(canvas: Canvas) -> None:
    """Round fields under pivot irrigation, with sectors of different growth."""
    canvas.cover("soil", grain=0.08)
    rng = canvas.rng
    pitch = rng.uniform(0.75, 1.9)
    shift = rng.uniform(-0.5, 0.5, size=2) * pitch
    steps = np.arange(-4, 5) * pitch
    for u in steps[np.abs(steps) < canvas.reach + pitch]:
        for v in steps[np.abs(steps) < canvas.reach + pitch]:
            _pivot(canvas, (u + shift[0], v + shift[1]), pitch * 0.46)


def _pivot(canvas: Canvas, centre: tuple[float, float], radius: float) -> None:
    rng = canvas.rng
    colour = canvas.colour("crop")
    canvas.disc(centre, radius, colour)
    for _ in range(rng.integers(0, 3)):
        start, sweep = rng.uniform(0, 2 * math.pi), rng.uniform(0.5, 2.5)
        arc = [(math.cos(a) * radius, math.sin(a) * radius) for a in np.linspace(start, start + sweep, 14)]
        canvas.polygon(np.array([(0.0, 0.0), *arc]) + centre, canvas.colour("crop" if rng.random() < 0.7 else "soil"))
    for ring in np.arange(0.25, 1, 0.18):
        _ring(canvas, centre, radius * ring, scaled(colour, 0.85))
    canvas.path(turned([(0, 0), (radius, 0)], rng.uniform(0, 2 * math.pi), centre), 0.015, (225, 222, 210))


def _ring(canvas: Canvas, centre: tuple[float, float], radius: float, colour: tuple[int, int, int]) -> None:
    around = np.linspace(0, 2 * math.pi, 28)
    canvas.path(np.stack([np.cos(around), np.sin(around)], axis=1) * radius + centre, 0.012, colour, 0.6)


def forest(canvas: Canvas) -> None:
    """A closed canopy, sometimes with a clearing or a track."""
    canvas.cover("tree", grain=0.15)
    rng = canvas.rng
    if rng.random() < 0.3:
        canvas.cover("grass", canvas.noise(1.2, 2) > 1.3)
    size = rng.uniform(0.05, 0.1)
    trees(canvas, int(1.1 / size**2), size)
    if rng.random() < 0.3:
        canvas.path(across(canvas, offset=rng.uniform(-0.6, 0.6), bend=0.15), 0.05, canvas.colour("soil"))


def meadow(canvas: Canvas) -> None:
    """Open grass with faint patches, a path or a few bushes."""
    canvas.cover("grass", grain=0.07)
    canvas.cover("grass", canvas.noise(0.9) > 0.6, grain=0.07)
    if canvas.rng.random() < 0.4:
        canvas.path(across(canvas, offset=canvas.rng.uniform(-0.7, 0.7), bend=0.1), 0.03, canvas.colour("soil"))
    trees(canvas, int(canvas.rng.integers(0, 7)), 0.05)


def chaparral(canvas: Canvas) -> None:
    """Dry ground dotted with separate shrubs."""
    canvas.cover("soil", grain=0.06)
    size = canvas.rng.uniform(0.03, 0.055)
    trees(canvas, int(canvas.rng.uniform(0.12, 0.3) / size**2), size, "shrub")


def desert(canvas: Canvas) -> None:
    """Bare sand with dunes or wind ripples."""
    canvas.cover("sand", grain=0.05)
    u, _ = canvas.world
    rng = canvas.rng
    phase = u * rng.uniform(5, 16) + rng.uniform(0.5, 1.6) * canvas.noise(rng.uniform(0.6, 1.4), 2)
    crest = 1 + rng.uniform(0.05, 0.16) * np.sin(phase) + 0.03 * canvas.noise(0.08, 2)
    canvas.lay(np.array(canvas.colour("sand")) * crest[..., None])
    if rng.random() < 0.3:
        trees(canvas, int(rng.integers(2, 12)), 0.02, "shrub")


def mountain(canvas: Canvas) -> None:
    """Ridges in slanting light, with snow or forest on them."""
    rng = canvas.rng
    height = -np.abs(canvas.noise(rng.uniform(0.8, 1.3), 5)) + 0.35 * canvas.noise(0.5, 4)
    slope = np.gradient(height, axis=0) + np.gradient(height, axis=1)
    light = np.clip(1 + 3.2 * slope, 0.25, 1.7)[..., None]
    canvas.lay(np.array(canvas.colour("rock")) * light)
    if rng.random() < 0.6:
        canvas.lay(np.array(canvas.colour("tree")) * light, height < rng.uniform(-1.4, -0.5))
    if rng.random() < 0.4:
        canvas.lay(np.array((235, 238, 243)) * light, height > rng.uniform(0.0, 0.3))


def farmstead(canvas: Canvas) -> None:
    """Sparse housing: one or two houses in the green, with a drive."""
    rng = canvas.rng
    canvas.cover("grass", grain=0.08)
    if rng.random() < 0.6:
        trees(canvas, int(rng.integers(15, 60)), 0.08)
    line = across(canvas, offset=rng.uniform(-0.8, 0.8), bend=0.08)
    canvas.path(line, 0.07, canvas.colour("asphalt" if rng.random() < 0.5 else "soil"))
    for place in rng.uniform(-0.6, 0.6, size=(rng.integers(1, 4), 2)):
        canvas.path([place, line[np.abs(line[:, 0] - place[0]).argmin()]], 0.035, canvas.colour("soil"))
        house(canvas, place, 0.3, rng.uniform(0, math.pi))
        tree(canvas, place + rng.normal(size=2) * 0.3, 0.08)
    for place in scatter(canvas, int(rng.integers(4, 16))):
        tree(canvas, place, 0.07)


def bare_patch(canvas: Canvas) -> None:
    """Clutter: a patch of some other ground."""
    material = str(canvas.rng.choice(["soil", "grass", "crop", "sand", "concrete"]))
    canvas.cover(material, canvas.noise(0.9, 2) > canvas.rng.uniform(1.2, 1.8))

"""Buildings: residential areas of three densities, trailer park, industry, commerce, storage tanks."""

from __future__ import annotations

import math

import numpy as np

from clipbench.data.painted.canvas import Canvas
from clipbench.data.painted.scenes.things import block, box, car, house, pool, scatter, tank, tree, trees
from clipbench.data.painted.scenes.ways import across, road


def _rows_of_houses(canvas: Canvas, *, pitch: float, house_size: float, greenery: float, street: float) -> None:
    """Streets along u with houses on both sides.

    Args:
        canvas: where to paint.
        pitch: distance between houses along the street.
        house_size: length of a house.
        greenery: trees per house.
        street: distance between streets.
    """
    rng = canvas.rng
    for v in np.arange(-canvas.reach - rng.uniform(0, street), canvas.reach + street, street):
        road(canvas, across(canvas, offset=v, bend=rng.uniform(0, 0.03)), 0.1, traffic=0.4)
        for side in (-1, 1):
            for u in np.arange(-canvas.reach - rng.uniform(0, pitch), canvas.reach + pitch, pitch):
                place = np.array([u, v + side * street * 0.27]) + rng.normal(size=2) * 0.02
                house(canvas, place, house_size * rng.uniform(0.85, 1.15), rng.integers(2) * math.pi / 2)
                if rng.random() < greenery:
                    tree(canvas, place + np.array([pitch / 2, rng.normal() * 0.08]), 0.055 * rng.uniform(0.7, 1.5))


def dense_residential(canvas: Canvas) -> None:
    """Roof beside roof, narrow streets, hardly a tree."""
    rng = canvas.rng
    canvas.cover("concrete" if rng.random() < 0.6 else "grass", grain=0.08)
    _rows_of_houses(canvas, pitch=rng.uniform(0.2, 0.27), house_size=0.2, greenery=0.25, street=rng.uniform(0.46, 0.56))


def medium_residential(canvas: Canvas) -> None:
    """Detached houses with gardens."""
    rng = canvas.rng
    canvas.cover("grass", grain=0.09)
    _rows_of_houses(
        canvas, pitch=rng.uniform(0.34, 0.46), house_size=0.24, greenery=0.9, street=rng.uniform(0.72, 0.95)
    )
    if rng.random() < 0.5:
        pool(canvas, rng.uniform(-0.8, 0.8, size=2), 0.1, rng.uniform(0, math.pi))


def mobile_home_park(canvas: Canvas) -> None:
    """Narrow bright trailers, parallel and aslant, along lanes."""
    rng = canvas.rng
    canvas.cover("concrete" if rng.random() < 0.5 else "grass", grain=0.06)
    slant, pitch, street = rng.uniform(0.8, 1.6), rng.uniform(0.17, 0.22), rng.uniform(0.6, 0.75)
    for v in np.arange(-canvas.reach, canvas.reach + street, street):
        canvas.path(across(canvas, offset=v), 0.1, canvas.colour("asphalt"))
        for u in np.arange(-canvas.reach, canvas.reach, pitch):
            outline = box((u, v + street / 2), street * 0.6, pitch * 0.5, slant)
            canvas.shadow(outline, 0.03)
            canvas.polygon(outline, canvas.colour("trailer"))
            if rng.random() < 0.4:
                car(canvas, (u + pitch / 2, v + 0.1), slant)


def industrial_area(canvas: Canvas) -> None:
    """Large flat halls in rows on paved ground."""
    rng = canvas.rng
    canvas.cover("concrete", grain=0.05)
    depth = rng.uniform(0.5, 0.8)
    for v in np.arange(-canvas.reach, canvas.reach + depth, depth):
        u = -canvas.reach - rng.uniform(0, 0.5)
        while u < canvas.reach:
            length = rng.uniform(0.4, 1.1)
            if rng.random() < 0.85:
                block(canvas, (u + length / 2, v), length * 0.9, depth * rng.uniform(0.6, 0.8), 0)
            u += length
        road(canvas, across(canvas, offset=v + depth / 2), 0.09, traffic=0.8)


def commercial_area(canvas: Canvas) -> None:
    """High blocks of many shapes close together, with long shadows."""
    rng = canvas.rng
    canvas.cover("asphalt", grain=0.05)
    pitch = rng.uniform(0.42, 0.6)
    for u in np.arange(-canvas.reach, canvas.reach + pitch, pitch):
        for v in np.arange(-canvas.reach, canvas.reach + pitch, pitch):
            length, width = pitch * rng.uniform(0.45, 0.85, size=2)
            block(canvas, (u + rng.normal() * 0.03, v + rng.normal() * 0.03), length, width, rng.normal() * 0.1)
    trees(canvas, 15, 0.04)


def storage_tanks(canvas: Canvas) -> None:
    """Bright round tanks in rows or groups, with pipes between them."""
    rng = canvas.rng
    canvas.cover("concrete" if rng.random() < 0.4 else "soil", grain=0.06)
    if rng.random() < 0.5:
        canvas.cover("grass", canvas.noise(1.0, 2) > 0.4)
    pitch = rng.uniform(0.45, 1.0)
    steps = np.arange(-3, 4) * pitch + rng.uniform(-0.2, 0.2)
    canvas.path(across(canvas, offset=pitch / 2), 0.03, (150, 148, 142))
    for u in steps[np.abs(steps) < canvas.reach + 0.3]:
        for v in steps[np.abs(steps) < canvas.reach + 0.3]:
            if rng.random() < 0.75:
                tank(canvas, rng.normal(size=2) * 0.03 + (u, v), pitch * rng.uniform(0.26, 0.4))
    if rng.random() < 0.4:
        road(canvas, across(canvas, offset=rng.uniform(-0.9, 0.9)), 0.1)


def hamlet(canvas: Canvas) -> None:
    """Clutter: a handful of houses somewhere near the edge."""
    corner = canvas.rng.choice([-0.85, 0.85], size=2)
    for place in canvas.rng.normal(size=(canvas.rng.integers(2, 5), 2)) * 0.18 + corner:
        house(canvas, place, 0.2, canvas.rng.uniform(0, math.pi))


def grove(canvas: Canvas) -> None:
    """Clutter: some trees anywhere."""
    for place in scatter(canvas, int(canvas.rng.integers(6, 22))):
        tree(canvas, place, 0.07)

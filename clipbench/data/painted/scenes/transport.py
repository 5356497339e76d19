"""Traffic: runway, airport, freeway, intersection, roundabout, overpass, railway, parking lot."""

from __future__ import annotations

import math

import numpy as np

from clipbench.data.painted.canvas import Canvas
from clipbench.data.painted.scenes.things import aeroplane, block, box, car, house, scatter, tree, trees, turned
from clipbench.data.painted.scenes.ways import across, crosswalk, dashes, motorway, rails, road, shifted


def runway(canvas: Canvas) -> None:
    """A runway with threshold bars and a broken centre line, often with a taxiway beside it."""
    rng = canvas.rng
    canvas.cover("grass" if rng.random() < 0.7 else "soil", grain=0.06)
    width, offset = rng.uniform(0.28, 0.5), rng.uniform(-0.3, 0.3)
    line = across(canvas, offset=offset)
    if rng.random() < 0.6:
        _taxiway(canvas, offset, offset + rng.choice([-1, 1]) * rng.uniform(0.55, 0.75))
    canvas.path(line, width, canvas.colour("asphalt"))
    for side in (-0.46, 0.46):
        canvas.path(shifted(line, side * width), 0.018, canvas.colour("marking"))
    dashes(canvas, line, 0.3, 0.025)
    if rng.random() < 0.8:
        _threshold(canvas, (rng.uniform(-0.7, 0.7), offset), width)


def _threshold(canvas: Canvas, centre: tuple[float, float], width: float) -> None:
    u, v = centre
    for row in np.linspace(-0.4, 0.4, 8):
        canvas.polygon(box((u, v + row * width), 0.22, width * 0.05), canvas.colour("marking"))
    for side in (-0.2, 0.2):
        canvas.polygon(box((u + 0.45, v + side * width), 0.16, width * 0.1), canvas.colour("marking"))


def _taxiway(canvas: Canvas, runway_v: float, taxi_v: float) -> None:
    canvas.path(across(canvas, offset=taxi_v), 0.13, canvas.colour("concrete"))
    for u in canvas.rng.uniform(-1, 1, size=2):
        canvas.path([(u, runway_v), (u + 0.25, taxi_v)], 0.12, canvas.colour("concrete"))
    canvas.path(across(canvas, offset=taxi_v), 0.012, (214, 182, 60))


def airport(canvas: Canvas) -> None:
    """A terminal with aeroplanes at its gates, apron, and a runway at the edge."""
    rng = canvas.rng
    canvas.cover("grass", grain=0.06)
    canvas.path(across(canvas, offset=-0.85), 0.25, canvas.colour("asphalt"))
    dashes(canvas, across(canvas, offset=-0.85), 0.25, 0.02)
    canvas.polygon(box((0, 0.1), 4 * canvas.reach, 1.1), canvas.colour("concrete"))
    front, size = rng.uniform(0.45, 0.65), rng.uniform(0.3, 0.42)
    block(canvas, (0, front + 0.3), 3.2, 0.4, 0)
    for u in np.arange(-1.4 + rng.uniform(0, 0.3), 1.5, size * 1.15):
        if rng.random() < 0.75:
            aeroplane(canvas, (u, front - size * 0.5), math.pi / 2 + rng.normal() * 0.05, size)
    if rng.random() < 0.6:
        aeroplane(canvas, (rng.uniform(-0.7, 0.7), rng.uniform(-0.4, -0.15)), rng.uniform(-0.3, 0.3), size)


def airplane(canvas: Canvas) -> None:
    """One to three large aeroplanes on the apron."""
    rng = canvas.rng
    canvas.cover("concrete", grain=0.03)
    for u in np.arange(-2, 2, rng.uniform(0.4, 0.7)):
        canvas.path([(u, -canvas.reach), (u, canvas.reach)], 0.01, (120, 120, 116), 0.6)
    canvas.path(across(canvas, offset=rng.uniform(-0.5, 0.5), bend=0.1), 0.018, (220, 190, 70))
    if rng.random() < 0.4:
        canvas.cover("grass", canvas.world[1] > rng.uniform(0.6, 0.9))
    count = int(rng.integers(1, 4))
    for index in range(count):
        place = rng.normal(size=2) * 0.12 + ((index - (count - 1) / 2) * 0.85, 0)
        aeroplane(canvas, place, rng.uniform(0, 2 * math.pi), rng.uniform(0.7, 0.95) if count < 3 else 0.65)


def _roadside(canvas: Canvas, clear: float) -> None:
    """Ground, houses and trees; `clear` is the half-width of the strip about v = 0 that stays free."""
    rng = canvas.rng
    canvas.cover("grass" if rng.random() < 0.7 else "soil", grain=0.08)
    built = rng.random() < 0.5
    for place in scatter(canvas, int(rng.integers(20, 50))):
        if abs(place[1]) < clear:
            continue
        if built and rng.random() < 0.35:
            house(canvas, place, 0.2, rng.integers(2) * math.pi / 2)
        else:
            tree(canvas, place, 0.07)


def freeway(canvas: Canvas) -> None:
    """A motorway with a median and traffic, sometimes with a slip road."""
    rng = canvas.rng
    width = rng.uniform(0.45, 0.75)
    _roadside(canvas, width * 0.5 + 0.25)
    line = across(canvas, bend=rng.uniform(0, 0.12))
    if rng.random() < 0.4:
        road(canvas, across(canvas, offset=width * 0.75, bend=0.1), 0.12, lanes=1)
    motorway(canvas, line, width, lanes=int(rng.integers(2, 4)), traffic=rng.uniform(0.5, 2.5))


def _corner_lots(canvas: Canvas, clear: float) -> None:
    """Houses and trees in the four quarters beside two crossing roads."""
    rng = canvas.rng
    canvas.cover("grass" if rng.random() < 0.6 else "concrete", grain=0.06)
    for place in scatter(canvas, int(rng.integers(30, 60))):
        if min(abs(place[0]), abs(place[1])) > clear:
            if rng.random() < 0.3:
                block(canvas, place, rng.uniform(0.2, 0.4), 0.22, 0)
            else:
                tree(canvas, place, 0.06)


def intersection(canvas: Canvas) -> None:
    """Two streets that cross, with zebra stripes and stop lines."""
    rng = canvas.rng
    widths = rng.uniform(0.25, 0.5, size=2)
    _corner_lots(canvas, max(widths) / 2 + 0.18)
    lean = rng.normal() * 0.08
    for width, angle in ((widths[0], 0.0), (widths[1], math.pi / 2 + lean)):
        line = turned(across(canvas), angle)
        road(canvas, line, width, lanes=int(rng.choice([2, 4])), traffic=rng.uniform(0.3, 1.5))
    canvas.polygon(box((0, 0), widths[1], widths[0], 0), canvas.colour("asphalt"))
    if rng.random() < 0.7:
        for side in (-1, 1):
            crosswalk(canvas, (side * (widths[1] / 2 + 0.08), 0), 0, widths[0])
            crosswalk(canvas, (0, side * (widths[0] / 2 + 0.08)), math.pi / 2, widths[1])


def roundabout(canvas: Canvas) -> None:
    """A ring road around a green island, with three to five arms."""
    rng = canvas.rng
    canvas.cover("grass" if rng.random() < 0.7 else "concrete", grain=0.06)
    for place in scatter(canvas, 40):
        if np.hypot(*place) > 0.75:
            tree(canvas, place, 0.06)
    radius, width = rng.uniform(0.35, 0.55), rng.uniform(0.16, 0.24)
    arms = int(rng.integers(3, 6))
    for arm in range(arms):
        angle = 2 * math.pi * arm / arms + rng.normal() * 0.12
        road(canvas, turned([(radius, 0), (2, 0), (canvas.reach + 2, 0)], angle), width, traffic=0.8)
    canvas.disc((0, 0), radius + width * 0.62, canvas.colour("concrete"))
    canvas.disc((0, 0), radius + width * 0.55, canvas.colour("asphalt"))
    canvas.disc((0, 0), radius - width * 0.5, canvas.colour("concrete"))
    canvas.disc((0, 0), radius - width * 0.6, canvas.colour("grass"))
    for angle in rng.uniform(0, 2 * math.pi, size=rng.integers(1, 7)):
        car(canvas, turned([(radius, 0)], angle)[0], angle + math.pi / 2)
    for place in rng.normal(size=(rng.integers(0, 5), 2)) * radius * 0.3:
        tree(canvas, place, 0.06)


def overpass(canvas: Canvas) -> None:
    """A motorway on a bridge over another, with loops in the corners."""
    rng = canvas.rng
    canvas.cover("grass", grain=0.08)
    trees(canvas, 30, 0.06)
    around = np.linspace(0, 2 * math.pi, 30)
    loop = np.stack([np.cos(around), np.sin(around)], axis=1)
    for corner in rng.permutation([(1, 1), (-1, 1), (1, -1), (-1, -1)])[: rng.integers(1, 5)]:
        canvas.path(loop * 0.36 + corner * 0.55, 0.12, canvas.colour("asphalt"))
    width = rng.uniform(0.36, 0.55)
    motorway(canvas, turned(across(canvas), math.pi / 2 + rng.normal() * 0.2), width)
    canvas.shadow(box((0, 0), 4 * canvas.reach, width), 0.12)
    motorway(canvas, across(canvas), width)


def railway(canvas: Canvas) -> None:
    """One to four parallel tracks on ballast."""
    rng = canvas.rng
    _roadside(canvas, 0.5)
    bend = rng.uniform(0, 0.12)
    line = across(canvas, bend=bend)
    count = int(rng.integers(1, 5))
    for index in range(count):
        rails(canvas, shifted(line, (index - (count - 1) / 2) * 0.17))
    if rng.random() < 0.3:
        road(canvas, across(canvas, offset=rng.choice([-0.7, 0.7])), 0.14)


def parking_lot(canvas: Canvas) -> None:
    """Rows of bays, most of them taken, with driving lanes between."""
    rng = canvas.rng
    canvas.cover("asphalt", grain=0.04)
    bay, depth = rng.uniform(0.1, 0.14), rng.uniform(0.2, 0.27)
    fill = rng.uniform(0.35, 0.95)
    lane = depth * rng.uniform(1.0, 1.3)
    start = -canvas.reach - rng.uniform(0, depth)
    for v in np.arange(start, canvas.reach, 2 * depth + lane):
        for row in (v, v + depth):
            _bays(canvas, row, bay, depth, fill)
        if rng.random() < 0.3:
            canvas.path(across(canvas, offset=v + depth / 2), 0.05, canvas.colour("grass"))
    if rng.random() < 0.4:
        canvas.cover("grass", canvas.world[0] > rng.uniform(0.6, 0.95))


def _bays(canvas: Canvas, v: float, bay: float, depth: float, fill: float) -> None:
    mark = canvas.colour("marking")
    for u in np.arange(-canvas.reach, canvas.reach, bay):
        canvas.path([(u, v - depth / 2), (u, v + depth / 2)], 0.01, mark)
        if canvas.rng.random() < fill:
            place = (u + bay / 2, v + canvas.rng.normal() * depth * 0.04)
            car(canvas, place, math.pi / 2, min(depth * 0.85, bay * 1.7))


def side_road(canvas: Canvas) -> None:
    """Clutter: a road along one edge."""
    offset = canvas.rng.choice([-1, 1]) * canvas.rng.uniform(0.65, 0.9)
    line = turned(across(canvas, offset=offset, bend=0.03), canvas.rng.integers(2) * math.pi / 2)
    road(canvas, line, canvas.rng.uniform(0.08, 0.16))

"""Single things seen from above: trees, houses, cars, boats, aeroplanes, tanks, pools."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clipbench.data.painted.canvas import Canvas, Colour

Points = NDArray[np.float64]


def turned(points: ArrayLike, angle: float, centre: ArrayLike = (0.0, 0.0)) -> Points:
    """Points [n, 2] turned by `angle` radians about the origin and then moved to `centre`."""
    cos, sin = math.cos(angle), math.sin(angle)
    rotation = np.array([[cos, sin], [-sin, cos]])
    return np.asarray(np.asarray(points, dtype=float) @ rotation + np.asarray(centre, dtype=float))


def box(centre: ArrayLike, length: float, width: float, angle: float = 0.0) -> Points:
    """The corners [4, 2] of a rectangle."""
    a, b = length / 2, width / 2
    return turned([(-a, -b), (a, -b), (a, b), (-a, b)], angle, centre)


def scaled(colour: Colour, factor: float) -> Colour:
    """The colour, lighter or darker."""
    red, green, blue = (min(255, int(channel * factor)) for channel in colour)
    return red, green, blue


def scatter(canvas: Canvas, count: int) -> Points:
    """Random places [count, 2] all over the picture."""
    return canvas.rng.uniform(-canvas.reach, canvas.reach, size=(count, 2))


def tree(canvas: Canvas, centre: ArrayLike, radius: float, material: str = "tree") -> None:
    """A crown with its shadow and its sunny side."""
    if not canvas.shows(centre, 2 * radius):
        return
    place, colour = np.asarray(centre, dtype=float), canvas.colour(material)
    canvas.shadow(turned([(radius, 0), (0, radius), (-radius, 0), (0, -radius)], 0.4, place), radius)
    canvas.disc(place, radius, colour)
    canvas.disc(place + canvas.rng.normal(size=2) * radius * 0.2, radius * 0.5, scaled(colour, 1.25), 0.6)


def trees(canvas: Canvas, count: int, radius: float = 0.06, material: str = "tree") -> None:
    """Trees strewn over the picture."""
    for place in scatter(canvas, count):
        tree(canvas, place, radius * canvas.rng.uniform(0.6, 1.4), material)


def house(canvas: Canvas, centre: ArrayLike, size: float, angle: float, material: str = "roof") -> None:
    """A gabled house: shadow, two roof planes of different brightness, sometimes a wing."""
    if not canvas.shows(centre, size):
        return
    rng = canvas.rng
    length, width = size * rng.uniform(0.9, 1.3), size * rng.uniform(0.6, 0.9)
    colour = canvas.colour(material)
    if rng.random() < 0.4:
        _gable(canvas, turned([(length * 0.25, width * 0.5)], angle, centre)[0], width, length * 0.5, angle, colour)
    _gable(canvas, np.asarray(centre), length, width, angle, colour)


def _gable(canvas: Canvas, centre: Points, length: float, width: float, angle: float, colour: Colour) -> None:
    outline = box(centre, length, width, angle)
    canvas.shadow(outline, width * 0.3)
    canvas.polygon(outline, scaled(colour, 0.78))
    canvas.polygon(turned(box((0, width / 4), length, width / 2), angle, centre), scaled(colour, 1.1))


def block(canvas: Canvas, centre: ArrayLike, length: float, width: float, angle: float) -> None:
    """A flat-roofed building with a parapet and a few machines on the roof."""
    outline, colour = box(centre, length, width, angle), canvas.colour("flat_roof")
    canvas.shadow(outline, 0.3 * min(length, width))
    canvas.polygon(outline, scaled(colour, 0.8))
    canvas.polygon(box(centre, length * 0.92, width * 0.9, angle), colour)
    for _ in range(canvas.rng.integers(1, 4)):
        spot = turned([canvas.rng.uniform(-0.35, 0.35, size=2) * (length, width)], angle, centre)[0]
        canvas.polygon(box(spot, length * 0.12, width * 0.15, angle), scaled(colour, 0.6))


def car(canvas: Canvas, centre: ArrayLike, angle: float, length: float = 0.09) -> None:
    """A car with a darker windscreen."""
    if not canvas.shows(centre, length):
        return
    colour = canvas.colour("car")
    canvas.polygon(box(centre, length, length * 0.48, angle), colour)
    canvas.polygon(box(centre, length * 0.4, length * 0.4, angle), scaled(colour, 0.55))


def boat(canvas: Canvas, centre: ArrayLike, angle: float, length: float) -> None:
    """A pointed hull with a deck."""
    if not canvas.shows(centre, length):
        return
    hull = np.array([(-0.5, -0.16), (0.2, -0.18), (0.5, 0), (0.2, 0.18), (-0.5, 0.16)]) * length
    canvas.shadow(turned(hull, angle, centre), length * 0.08)
    canvas.polygon(turned(hull, angle, centre), canvas.colour("boat"))
    canvas.polygon(turned(hull * (0.4, 0.5), angle, centre), scaled(canvas.colour("boat"), 0.7))


def aeroplane(canvas: Canvas, centre: ArrayLike, angle: float, length: float) -> None:
    """An airliner: fuselage, swept wings, tail."""
    right_wing = np.array([(0.12, 0.04), (-0.12, 0.48), (-0.2, 0.48), (-0.08, 0.04)])
    right_tail = np.array([(-0.36, 0.03), (-0.46, 0.18), (-0.52, 0.18), (-0.46, 0.03)])
    body = np.array([(0.5, 0), (0.44, 0.045), (-0.46, 0.04), (-0.5, 0), (-0.46, -0.04), (0.44, -0.045)])
    parts = [body, right_wing, right_wing * (1, -1), right_tail, right_tail * (1, -1)]
    outlines = [turned(part * length, angle, centre) for part in parts]
    colour = canvas.colour("plane")
    for outline in outlines:
        canvas.shadow(outline, length * 0.1)
    for outline in outlines[1:]:
        canvas.polygon(outline, scaled(colour, 0.9))
    canvas.polygon(outlines[0], colour)


def tank(canvas: Canvas, centre: ArrayLike, radius: float) -> None:
    """A storage tank: bright roof with a rim, a seam and a long shadow."""
    place, colour = np.asarray(centre, dtype=float), canvas.colour("tank")
    round_outline = [(math.cos(a) * radius, math.sin(a) * radius) for a in np.linspace(0, 2 * math.pi, 16)]
    canvas.shadow(np.array(round_outline) + place, radius * 0.7)
    canvas.disc(place, radius, scaled(colour, 0.7))
    canvas.disc(place, radius * 0.9, colour)
    canvas.disc(place, radius * 0.12, scaled(colour, 0.6))


def pool(canvas: Canvas, centre: ArrayLike, size: float, angle: float) -> None:
    """A swimming pool with its paved edge."""
    canvas.polygon(box(centre, size * 1.4, size, angle), canvas.colour("concrete"))
    canvas.polygon(box(centre, size, size * 0.6, angle), canvas.colour("pool"))

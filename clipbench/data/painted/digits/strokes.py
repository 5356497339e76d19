"""The ten digits as strokes: no font is needed, and no two come out alike."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.random import Generator

from clipbench.data.painted.objects.parts import Points, curve, turn


def _arc(x: float, y: float, rx: float, ry: float, start: float, end: float) -> list[tuple[float, float]]:
    """Points on an ellipse from one angle to another, in degrees clockwise from three o'clock."""
    angles = np.radians(np.linspace(start, end, 9))
    return [(x + rx * math.cos(a), y + ry * math.sin(a)) for a in angles]


_FORMS: Sequence[Sequence[Sequence[Sequence[tuple[float, float]]]]] = (
    # digit -> forms it may have -> strokes -> points, from (-0.6, -1) to (0.6, 1)
    ((_arc(0, 0, 0.58, 0.95, -90, 270),),),
    (([(0, -0.95), (0, 0.95)],), ([(-0.35, -0.6), (0.05, -0.95), (0.05, 0.95)],)),
    (([*_arc(0, -0.45, 0.5, 0.5, 190, 380), (0.2, 0.2), (-0.5, 0.93)], [(-0.5, 0.93), (0.55, 0.93)]),),
    (([*_arc(-0.05, -0.47, 0.5, 0.47, 200, 450), *_arc(-0.05, 0.45, 0.58, 0.5, -80, 160)],),),
    (
        ([(0.25, 0.95), (0.25, -0.95)], [(0.25, -0.95), (-0.55, 0.3)], [(-0.55, 0.3), (0.6, 0.3)]),
        ([(0.3, 0.95), (0.3, -0.9)], [(-0.45, -0.9), (-0.5, 0.1)], [(-0.5, 0.1), (0.55, 0.1)]),
    ),
    (([(0.5, -0.93), (-0.4, -0.93)], [(-0.4, -0.93), (-0.45, -0.15)], _arc(-0.05, 0.35, 0.58, 0.55, 225, 510)),),
    (([(0.35, -0.95), (-0.2, -0.4), (-0.52, 0.25), *_arc(0, 0.42, 0.52, 0.5, 180, 540)],),),
    (
        ([(-0.55, -0.93), (0.55, -0.93)], [(0.55, -0.93), (-0.1, 0.95)]),
        ([(-0.55, -0.93), (0.55, -0.93)], [(0.55, -0.93), (-0.1, 0.95)], [(-0.25, 0.0), (0.45, 0.0)]),
    ),
    ((_arc(0, -0.47, 0.43, 0.45, 90, 450), _arc(0, 0.45, 0.53, 0.5, -90, 270)),),
    (([*_arc(0, -0.42, 0.5, 0.5, 0, 360), (0.5, -0.1), (0.4, 0.5), (0.1, 0.95)],),),
)


def write_digit(digit: int, rng: Generator, *, wobble: float, slant: float, tilt: float) -> list[Points]:
    """The strokes of a digit, each [n, 2], about 2 high and 1.2 wide, y down.

    Args:
        digit: 0 to 9.
        rng: random stream.
        wobble: spread of every point, in the same units.
        slant: spread of the shear to the right.
        tilt: spread of the rotation in radians.
    """
    forms = _FORMS[digit]
    strokes = forms[int(rng.integers(len(forms)))]
    shear = np.array([[1.0, 0.0], [-rng.normal() * slant, 1.0]])
    stretch = np.exp(rng.normal(0, 0.1, size=2))
    angle = rng.normal() * tilt
    bend = rng.normal(0, wobble, size=(2, 2, 2))
    return [turn(_bent(np.array(stroke), bend) * stretch @ shear, angle) for stroke in map(_rounded, strokes)]


def _rounded(stroke: Sequence[tuple[float, float]]) -> Points:
    return curve(stroke) if len(stroke) > 2 else np.linspace(stroke[0], stroke[1], 8)


def _bent(points: Points, bend: Points) -> Points:
    """A smooth distortion of the plane, the same for all strokes of a digit, so that they stay joined."""
    waves = np.sin(1.7 * points[:, None, None, :] + 6 * bend)  # [n, 2, 2, 2]
    return np.asarray(points + (waves * bend).sum(axis=(1, 3)))

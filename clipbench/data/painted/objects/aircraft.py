"""Aircraft from the side: variants that differ in outline, engines, tail and size of the windows, not in livery."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from clipbench.data.painted.objects.parts import Part, curve, ellipse, limb, rectangle


@dataclass(frozen=True)
class Variant:
    """What tells one variant from another, in units of half the fuselage's length.

    Attributes:
        girth: diameter of the fuselage.
        hump: length of an upper deck from the nose; 0 for none, 2 for a full one.
        under_wing: places of the engines below the wing, along the fuselage.
        at_tail: an engine on the side of the rear fuselage.
        in_fin: an engine at the foot of the fin.
        high_tail: tail plane on top of the fin.
        fin: height of the fin.
        sweep: how far the wing tip lies behind its root.
        propeller: a propeller at the nose.
        high_wing: wing above the cabin, with a strut and fixed wheels.
        fighter: pointed nose, bubble canopy, intake below, no cabin windows.
    """

    girth: float
    hump: float = 0.0
    under_wing: tuple[float, ...] = ()
    at_tail: bool = False
    in_fin: bool = False
    high_tail: bool = False
    fin: float = 0.42
    sweep: float = 0.35
    propeller: bool = False
    high_wing: bool = False
    fighter: bool = False


VARIANTS = {
    "737-800": Variant(0.27, under_wing=(0.12,), fin=0.46),
    "747-400": Variant(0.28, hump=0.75, under_wing=(0.2, -0.12), fin=0.44, sweep=0.42),
    "A380": Variant(0.4, hump=2.0, under_wing=(0.22, -0.14), fin=0.5, sweep=0.4),
    "Cessna 172": Variant(0.3, fin=0.34, sweep=0.0, propeller=True, high_wing=True),
    "DC-10": Variant(0.29, under_wing=(0.1,), in_fin=True, fin=0.42),
    "F-16A/B": Variant(0.22, fin=0.46, sweep=0.3, fighter=True),
    "MD-80": Variant(0.2, at_tail=True, high_tail=True, fin=0.36),
}


def aircraft(name: str) -> Callable[[Generator], list[Part]]:
    """The function that draws a variant."""

    def draw(rng: Generator) -> list[Part]:
        return _draw(VARIANTS[name], rng)

    return draw


def _draw(variant: Variant, rng: Generator) -> list[Part]:
    girth = variant.girth * rng.uniform(0.92, 1.08)
    body = [Part(_fuselage(variant, girth), "livery"), *_deck(variant, girth)]
    stripe = [Part(rectangle(-0.8, 0.0, 0.85, rng.uniform(0.02, 0.06)), "stripe")] if rng.random() < 0.6 else []
    return [
        *_far_wing(variant, girth),
        *_tail(variant, girth),
        *body,
        *stripe,
        *_windows(variant, girth),
        *_wing(variant, girth),
        *_engines(variant, girth),
        *_nose(variant, girth),
        *_wheels(variant, girth, down=variant.high_wing or rng.random() < 0.5),
    ]


def _fuselage(variant: Variant, girth: float) -> np.ndarray:
    nose = 0.35 if variant.fighter else 0.12
    half = girth / 2
    if variant.high_wing:
        half_tail = [(-1.0, -0.02), (-0.2, -half), (0.35, -half), (0.55, -0.03), (0.92, 0.0)]
        return np.array([*half_tail, (0.92, half), (0.0, half), (-1.0, 0.04)])
    top = [(-1.0, -half * 0.5), (-0.6, -half), (0.7 - nose, -half), (0.88, -half * 0.5), (1.0, half * 0.2)]
    bottom = [(0.9, half * 0.8), (0.6, half), (-0.5, half), (-0.95, -half * 0.1)]
    return curve([*top, *bottom], closed=True, steps=4)


def _deck(variant: Variant, girth: float) -> list[Part]:
    """The upper deck of a 747, the full one of an A380 (only a row of windows there), a fighter's canopy."""
    if variant.fighter:
        return [Part(ellipse(0.42, -girth * 0.5, 0.2, 0.09), "glass")]
    if variant.high_wing:
        return [Part(np.array([(-0.1, -girth * 0.5), (0.36, -girth * 0.5), (0.52, -0.04), (0.0, -0.04)]), "glass")]
    if not 0 < variant.hump < 2:
        return []
    back, top = 0.9 - variant.hump, -girth * 0.78
    hump = [(back - 0.12, -girth * 0.42), (back, top), (0.72, top), (0.92, -girth * 0.15), (0.6, -girth * 0.2)]
    return [Part(curve(hump, closed=True, steps=4), "livery")]


def _windows(variant: Variant, girth: float) -> list[Part]:
    if variant.fighter or variant.high_wing:
        return []
    rows = (-girth * 0.1, -girth * 0.32) if variant.hump == 2 else (-girth * 0.12,)
    cockpit = np.array([(0.84, -girth * 0.32), (0.93, -girth * 0.12), (0.84, -girth * 0.12)])
    return [*(Part(rectangle(-0.72, y - 0.018, 0.74, y + 0.018), "black") for y in rows), Part(cockpit, "black")]


def _wing(variant: Variant, girth: float) -> list[Part]:
    if variant.high_wing:
        strut = limb([(0.1, girth * 0.5), (0.2, -girth * 0.5)], 0.025)
        return [Part(strut, "wing"), Part(rectangle(-0.12, -girth * 0.62, 0.42, -girth * 0.46), "wing")]
    y = girth * 0.22
    tip = -0.15 - variant.sweep
    return [Part(np.array([(0.28, y), (-0.12, y), (tip - 0.1, y + 0.28), (tip + 0.02, y + 0.28)]), "wing", 0.85)]


def _far_wing(variant: Variant, girth: float) -> list[Part]:
    if variant.high_wing:
        return []
    tip = 0.05 - variant.sweep
    return [
        Part(np.array([(0.28, 0), (-0.05, 0), (tip - 0.06, -girth * 0.85), (tip + 0.03, -girth * 0.85)]), "wing", 0.65)
    ]


def _tail(variant: Variant, girth: float) -> list[Part]:
    top = -girth * 0.35 - variant.fin
    foot = -girth * 0.3 if not variant.high_wing else -0.02
    fin = np.array([(-0.58, foot), (-0.92, top), (-1.08, top), (-0.97, foot)])
    plane = (top + 0.02, -0.86, -1.22) if variant.high_tail else (-girth * 0.15, -0.72, -1.15)
    y, front, back = plane
    parts = [
        Part(fin, "fin"),
        Part(np.array([(front, y), (front - 0.2, y + 0.09), (back, y + 0.09), (back + 0.1, y)]), "wing", 0.8),
    ]
    if variant.in_fin:
        parts.append(Part(ellipse(-0.8, -girth * 0.62, 0.26, 0.085), "engine"))
    return parts


def _engines(variant: Variant, girth: float) -> list[Part]:
    places = [(x, girth * 0.5 + 0.06) for x in variant.under_wing]
    places += [(-0.55, -girth * 0.12)] if variant.at_tail else []
    parts = []
    for x, y in places:
        parts += [Part(ellipse(x, y, 0.15, 0.075), "engine"), Part(ellipse(x + 0.12, y, 0.03, 0.06), "black")]
    if variant.fighter:
        parts.append(
            Part(
                np.array([(0.3, girth * 0.3), (-0.4, girth * 0.3), (-0.4, girth * 0.75), (0.2, girth * 0.75)]), "engine"
            )
        )
    return parts


def _nose(variant: Variant, girth: float) -> list[Part]:
    if variant.propeller:
        return [
            Part(ellipse(0.97, girth * 0.2, 0.025, 0.3), "black"),
            Part(ellipse(0.95, girth * 0.2, 0.06, 0.05), "stripe"),
        ]
    if variant.fighter:
        return [Part(np.array([(0.85, -girth * 0.2), (1.25, girth * 0.15), (0.85, girth * 0.4)]), "livery", 0.9)]
    return []


def _wheels(variant: Variant, girth: float, *, down: bool) -> list[Part]:
    if not down:
        return []
    drop = girth * 0.5 + (0.2 if variant.high_wing else 0.14)
    legs = [(0.75, drop), (0.05 if variant.high_wing else -0.05, drop)]
    parts = []
    for x, y in legs:
        parts += [Part(limb([(x, girth * 0.4), (x, y)], 0.03), "metal"), Part(ellipse(x, y, 0.055, 0.055), "black")]
    return parts

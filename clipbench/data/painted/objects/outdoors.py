"""Face, motorbike, butterfly, starfish, sunflower, ketch, balloon, parachute."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
from numpy.random import Generator

from clipbench.data.painted.objects.parts import Part, curve, ellipse, limb, mirrored, rectangle, turn


def face(rng: Generator) -> list[Part]:
    """A head and shoulders from the front."""
    wide, tall, hair = rng.uniform(0.36, 0.46), rng.uniform(0.5, 0.6), rng.uniform(0.06, 0.2)
    long = rng.random() < 0.5
    glance, smile = rng.normal() * 0.02, rng.uniform(-0.02, 0.08)
    mouth = curve([(-0.15, 0.28), (glance, 0.28 + smile), (0.15, 0.28)])
    return [
        Part(ellipse(0, 0.1 if long else -0.1, wide + hair, tall + (0.2 if long else 0.08)), "hair"),
        Part(ellipse(0, 1.1, 0.85, 0.45), "shirt"),
        Part(rectangle(-0.17, 0.4, 0.17, 0.8), "skin", 0.8),
        Part(ellipse(0, 0, wide, tall), "skin"),
        Part(ellipse(0, -tall * 0.85, wide * 0.85, tall * rng.uniform(0.25, 0.45)), "hair"),
        *(Part(ellipse(side * 0.17, -0.06, 0.085, 0.05), "white") for side in (-1, 1)),
        *(Part(ellipse(side * 0.17 + glance, -0.06, 0.04, 0.045), "black") for side in (-1, 1)),
        *(Part(limb([(side * 0.08, -0.17), (side * 0.26, -0.18)], 0.04), "hair") for side in (-1, 1)),
        Part(limb([(glance, -0.05), (glance + 0.05, 0.13), (glance - 0.03, 0.15)], 0.045), "skin", 0.75),
        Part(limb(mouth, 0.06), "lips"),
    ]


def motorbike(rng: Generator) -> list[Part]:
    """Two wheels, tank, saddle, engine, fork and handlebar."""
    base, wheel = rng.uniform(0.58, 0.72), rng.uniform(0.27, 0.36)
    rise = rng.uniform(0.35, 0.55)
    parts = []
    for x in (-base, base):
        parts += [
            Part(ellipse(x, 0.3, wheel, wheel), "black"),
            Part(ellipse(x, 0.3, wheel * 0.68, wheel * 0.68), "metal", 1.1),
        ]
        parts += [Part(ellipse(x, 0.3, wheel * 0.2, wheel * 0.2), "black")]
    tank = curve([(-0.1, -0.22), (0.1, -0.38), (0.36, -0.32), (0.36, -0.14), (0.0, -0.1)], closed=True)
    saddle = curve([(-base - 0.05, -0.28), (-0.3, -0.24), (-0.02, -0.2), (-0.1, -0.1), (-0.5, -0.14)], closed=True)
    return [
        *parts,
        Part(limb([(base, 0.3), (base * 0.62, -rise)], 0.08), "metal"),
        Part(limb([(base * 0.62, -rise), (base * 0.4, -rise - 0.05)], 0.06), "black"),
        Part(limb([(-base, 0.3), (0.0, 0.28), (base * 0.65, -0.3)], 0.08), "metal", 0.8),
        Part(ellipse(0.02, 0.16, 0.24, 0.2), "metal", 0.7),
        Part(limb([(0.1, 0.35), (-base - 0.2, 0.38)], 0.09), "metal", 1.15),
        Part(tank, "lacquer"),
        Part(saddle, "black"),
        Part(limb([(-base - 0.3, 0.1), (-base - 0.1, -0.08), (-base + 0.2, -0.05)], 0.06), "lacquer", 0.9),
        Part(ellipse(base * 0.72, -rise * 0.75, 0.1, 0.1), "glass"),
    ]


def butterfly(rng: Generator) -> list[Part]:
    """Two pairs of wings with eyespots, a body and feelers."""
    spread, open_ = rng.uniform(0.75, 0.95), rng.uniform(0.5, 1.0)
    upper = curve([(0.03, -0.05), (0.25, -0.55), (spread, -0.65), (spread * 0.85, -0.15), (0.4, 0.08)], closed=True)
    lower = curve([(0.03, 0.0), (0.45, 0.02), (spread * 0.75, 0.3), (0.45, 0.65), (0.15, 0.4)], closed=True)
    spots = [ellipse(spread * 0.7, -0.42, 0.12, 0.1), ellipse(spread * 0.5, 0.3, 0.1, 0.1)]
    feeler = curve([(0.02, -0.3), (0.1, -0.55), (0.22, -0.65)])
    squeeze = np.array([open_, 1.0])
    wings: list[Part] = []
    for outline, material in ((upper, "wing"), (lower, "wing_low"), *((spot, "wing_spot") for spot in spots)):
        wings += [Part(side * squeeze, material) for side in (outline, mirrored(outline))]
    body = [Part(ellipse(0, 0.02, 0.06, 0.38), "black")]
    feelers = [Part(limb(line, 0.03), "black") for line in (feeler, mirrored(feeler))]
    return [part.moved(turn(np.eye(2), rng.normal() * 0.7).T) for part in (*feelers, *wings, *body)]


def _rays(count: int, inner: float, outer: float, start: float) -> list[tuple[float, float]]:
    """The corners of a star."""
    points = []
    for index in range(2 * count):
        angle, radius = start + index * math.pi / count, outer if index % 2 == 0 else inner
        points.append((radius * math.cos(angle), radius * math.sin(angle)))
    return points


def starfish(rng: Generator) -> list[Part]:
    """Five fleshy arms with rows of dots."""
    start, inner = rng.uniform(0, 2 * math.pi), rng.uniform(0.25, 0.42)
    corners = np.array(_rays(5, inner, 0.95, start)) * rng.normal(1, 0.08, size=(10, 1))
    dots = [corners[2 * arm] * part for arm in range(5) for part in (0.3, 0.55, 0.75)]
    return [
        Part(curve(corners, closed=True, steps=4), "starfish"),
        *(Part(ellipse(x, y, 0.04, 0.04), "starfish", 1.3) for x, y in dots),
        Part(ellipse(0, 0, 0.08, 0.08), "starfish", 0.7),
    ]


def sunflower(rng: Generator) -> list[Part]:
    """A ring of petals around a dark disc, on a stalk with a leaf."""
    count, disc = int(rng.integers(11, 18)), rng.uniform(0.26, 0.4)
    squeeze = np.array([rng.uniform(0.7, 1.0), 1.0])
    petals = []
    for angle in np.arange(count) * 2 * math.pi / count + rng.uniform(0, 1):
        petal = turn(ellipse(disc + 0.18, 0, 0.26, 0.1), float(angle))
        petals.append(Part(petal * squeeze, "sun_petal", 1 + 0.1 * math.sin(3 * angle)))
    lean = rng.normal() * 0.2
    stalk = curve([(0, 0.3), (lean * 0.5, 0.8), (lean, 1.4)])
    return [
        Part(limb(stalk, 0.09), "leaf"),
        Part(ellipse(lean + 0.25, 1.0, 0.28, 0.12, -0.5), "leaf", 0.9),
        *petals,
        Part(ellipse(0, 0, disc, disc) * squeeze, "seed"),
        Part(ellipse(0, 0, disc * 0.5, disc * 0.5) * squeeze, "seed", 0.7),
    ]


def ketch(rng: Generator) -> list[Part]:
    """A hull with a tall main mast and a lower one behind it, two or three sails."""
    main, mizzen = rng.uniform(1.3, 1.7), rng.uniform(0.7, 1.0)
    belly = rng.uniform(0.0, 0.12)
    hull = curve([(-0.95, -0.06), (0.0, 0.0), (1.0, -0.12), (0.7, 0.22), (-0.7, 0.22)], closed=True, steps=3)

    def sail(x: float, tall: float, foot: float) -> Part:
        edge = curve([(x, -tall), (x + foot * 0.55 + belly * np.sign(foot), -tall * 0.45), (x + foot, -0.16)])
        return Part(np.vstack([edge, [(x, -0.16)]]), "sail", 1.0 if foot < 0 else 0.9)

    jib = [sail(0.2, main * 0.95, 0.7)] if rng.random() < 0.8 else []
    masts = [limb([(0.15, 0), (0.15, -main - 0.05)], 0.04), limb([(-0.55, 0), (-0.55, -mizzen - 0.05)], 0.04)]
    return [
        *(Part(mast, "wood_dark") for mast in masts),
        sail(0.12, main, -0.55),
        sail(-0.58, mizzen, -0.4),
        *jib,
        Part(hull, "hull"),
        Part(rectangle(-0.4, -0.1, 0.1, 0.0), "wall", 0.9),
    ]


def balloon(rng: Generator) -> list[Part]:
    """A hot-air balloon: striped envelope, lines, basket."""
    squash, drop = rng.uniform(0.8, 1.0), rng.uniform(0.25, 0.4)
    half = curve([(0.0, -0.9), (0.55 * squash, -0.65), (0.68 * squash, -0.2), (0.35, 0.3), (0.12, 0.55)])
    gores = [1.0, 0.62, 0.22] if rng.random() < 0.75 else [1.0]
    envelope = [
        Part(np.vstack([half * (w, 1), mirrored(half * (w, 1))[::-1]]), "stripe" if index % 2 else "canopy")
        for index, w in enumerate(gores)
    ]
    lines = [limb([(side * 0.1, 0.5), (side * 0.1, 0.55 + drop)], 0.03) for side in (-1, 1)]
    basket = rectangle(-0.14, 0.5 + drop, 0.14, 0.72 + drop)
    return [*(Part(line, "wood_dark") for line in lines), *envelope, Part(basket, "basket")]


def parachute(rng: Generator) -> list[Part]:
    """A wide canopy with scalloped edge, long lines, a small jumper."""
    wide, high, drop = rng.uniform(0.75, 0.95), rng.uniform(0.4, 0.6), rng.uniform(0.6, 0.9)
    count = int(rng.integers(3, 6))
    edge = np.linspace(-wide, wide, count + 1)
    sway = rng.normal() * 0.2
    canopy = []
    for index, (left, right) in enumerate(pairwise(edge.tolist())):
        rim = curve([(left, 0), ((left + right) / 2, 0.07), (right, 0)])
        side = [(right * 0.85, -0.6 * high), (right * 0.3, -high), (left * 0.3, -high), (left * 0.85, -0.6 * high)]
        canopy.append(Part(np.vstack([rim, side]), "canopy" if index % 2 else "stripe"))
    return [
        *(Part(limb([(x, 0), (sway, drop)], 0.022), "rope") for x in edge),
        *canopy,
        Part(ellipse(sway, drop + 0.04, 0.07, 0.08), "skin"),
        Part(limb([(sway, drop + 0.1), (sway, drop + 0.3)], 0.13), "shirt"),
        *(Part(limb([(sway, drop + 0.28), (sway + u, drop + 0.5)], 0.07), "cloth") for u in (-0.08, 0.08)),
    ]

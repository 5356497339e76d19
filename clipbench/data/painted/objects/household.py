"""Guitar, house, chair, stop sign and vessels: teapot, mug, goblet, vase, umbrella, lighthouse."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
from numpy.random import Generator

from clipbench.data.painted.objects.parts import Part, Points, curve, ellipse, limb, mirrored, rectangle, shifted, turn


def _turned_on_a_wheel(profile: Points) -> Points:
    """A symmetric outline from its right half, top to bottom."""
    return np.vstack([profile, mirrored(profile)[::-1]])


def guitar(rng: Generator) -> list[Part]:
    """A body like an eight, neck, head and sound hole, at a slant."""
    waist, low, long = rng.uniform(0.2, 0.28), rng.uniform(0.36, 0.44), rng.uniform(0.8, 1.1)
    half = curve([(0.05, -0.32), (0.26, -0.25), (waist, 0.02), (low, 0.3), (0.2, 0.6), (0.0, 0.64)])
    top = -0.3 - long
    parts = [
        Part(_turned_on_a_wheel(half), "wood"),
        Part(ellipse(0, 0.02, 0.1, 0.1), "black"),
        Part(rectangle(-0.055, top, 0.055, 0.0), "wood_dark"),
        Part(np.array([(-0.1, top), (0.1, top), (0.08, top - 0.25), (-0.08, top - 0.25)]), "wood_dark", 0.8),
        Part(rectangle(-0.13, 0.34, 0.13, 0.4), "wood_dark", 0.7),
    ]
    slant = rng.uniform(0.1, 0.9)
    return [part.moved(turn(np.eye(2), slant).T) for part in parts]


def house(rng: Generator) -> list[Part]:
    """Walls, gabled roof, door, windows, chimney."""
    half, tall, roof = rng.uniform(0.55, 0.9), rng.uniform(0.4, 0.75), rng.uniform(0.35, 0.6)
    door = rng.uniform(-0.3, 0.3) * half
    chimney = rng.uniform(0.25, 0.55) * half * rng.choice([-1, 1])
    windows = [x for x in np.linspace(-0.7, 0.7, int(rng.integers(2, 5))) * half if abs(x - door) > 0.22]
    return [
        Part(rectangle(chimney - 0.08, -roof - 0.05, chimney + 0.08, 0), "brick", 0.8),
        Part(rectangle(-half, 0, half, tall), "wall"),
        Part(np.array([(-half - 0.12, 0.02), (0, -roof), (half + 0.12, 0.02)]), "brick"),
        Part(rectangle(door - 0.1, tall * 0.4, door + 0.1, tall), "wood_dark"),
        *(Part(rectangle(x - 0.09, tall * 0.25, x + 0.09, tall * 0.6), "glass") for x in windows),
    ]


def chair(rng: Generator) -> list[Part]:
    """A seat on four legs with a high back, at an angle."""
    tall, deep, slope = rng.uniform(0.7, 1.0), rng.uniform(0.25, 0.45), rng.uniform(-0.12, 0.12)
    thick = rng.uniform(0.07, 0.12)
    lift = rng.uniform(0.1, 0.25)
    seat = np.array([(-0.4, 0), (0.4, slope), (0.4 + deep, -lift + slope), (-0.4 + deep, -lift)])
    legs = [limb([corner, shifted(corner, 0, 0.7)], thick) for corner in seat]
    back = [limb([corner, shifted(corner, 0.05, -tall)], thick) for corner in (seat[2], seat[3])]
    rail = [shifted(seat[3:1:-1], 0.02, -tall * part) for part in (0.35, 0.65, 0.95)]
    return [
        *(Part(leg, "furniture", 0.7) for leg in legs[2:]),
        *(Part(limb(line, thick * rng.uniform(0.8, 2)), "furniture", 0.9) for line in rail),
        *(Part(post, "furniture") for post in back),
        Part(seat, "seat"),
        *(Part(leg, "furniture") for leg in legs[:2]),
    ]


def stop_sign(rng: Generator) -> list[Part]:
    """A red octagon with a white rim and a white band of letters, on a pole."""
    t = np.arange(8) * math.pi / 4 + math.pi / 8
    octagon = np.stack([np.cos(t), np.sin(t)], axis=1)
    squeeze = np.array([rng.uniform(0.55, 1.0), 1.0])
    strokes = [rectangle(x - 0.04, -0.2, x + 0.04, 0.2) for x in (-0.55, -0.42, -0.15, 0.15, 0.28, 0.55)]
    bars = [rectangle(x - 0.1, y - 0.04, x + 0.1, y + 0.04) for x in (-0.5, -0.15, 0.2, 0.55) for y in (-0.18, 0.02)]
    return [
        Part(rectangle(-0.06, 0.5, 0.06, rng.uniform(1.2, 2.2)), "metal", 0.8),
        Part(octagon * 0.85 * squeeze, "white"),
        Part(octagon * 0.76 * squeeze, "red"),
        *(Part(stroke * squeeze, "white") for stroke in (*strokes, *bars)),
    ]


def teapot(rng: Generator) -> list[Part]:
    """A round body with spout, handle and lid."""
    wide, tall = rng.uniform(0.5, 0.65), rng.uniform(0.38, 0.55)
    spout = curve([(wide * 0.7, 0.1), (wide + 0.2, -0.05), (wide + 0.35, -tall)])
    handle = curve([(-wide * 0.8, -0.22), (-wide - 0.32, -0.2), (-wide - 0.25, 0.15), (-wide * 0.8, 0.22)])
    return [
        Part(limb(spout, np.linspace(0.26, 0.08, len(spout))), "china", 0.9),
        Part(limb(handle, 0.09), "china", 0.85),
        Part(ellipse(0, 0, wide, tall), "china"),
        Part(ellipse(0, tall, wide * 0.6, 0.06), "china", 0.75),
        Part(ellipse(0, -tall * 0.88, wide * 0.45, 0.1), "china", 0.85),
        Part(ellipse(0, -tall - 0.08, 0.08, 0.08), "china", 0.8),
        *_band(rng, wide * 0.95),
    ]


def coffee_mug(rng: Generator) -> list[Part]:
    """A cylinder with one handle."""
    wide, tall, taper = rng.uniform(0.4, 0.5), rng.uniform(0.45, 0.65), rng.uniform(0.85, 1.05)
    handle = curve(
        [(wide * 0.9, -tall * 0.5), (wide + 0.35, -tall * 0.5), (wide + 0.35, tall * 0.4), (wide * 0.9, tall * 0.5)]
    )
    wall = np.array([(-wide, -tall), (wide, -tall), (wide * taper, tall), (-wide * taper, tall)])
    return [
        Part(limb(handle, 0.11), "china", 0.85),
        Part(ellipse(0, tall, wide * taper, 0.1), "china", 0.9),
        Part(wall, "china"),
        *_band(rng, wide * 0.94),
        Part(ellipse(0, -tall, wide, 0.12), "china", 0.8),
        Part(ellipse(0, -tall + 0.02, wide * 0.85, 0.08), "coffee"),
    ]


def _band(rng: Generator, half: float) -> list[Part]:
    """Sometimes a coloured stripe across a vessel."""
    if rng.random() < 0.5:
        return []
    middle, width = rng.uniform(-0.12, 0.12), rng.uniform(0.04, 0.1)
    return [Part(rectangle(-half, middle - width, half, middle + width), "stripe")]


def goblet(rng: Generator) -> list[Part]:
    """A bowl on a stem on a foot."""
    wide, deep, stem = rng.uniform(0.3, 0.48), rng.uniform(0.4, 0.75), rng.uniform(0.35, 0.7)
    bowl = curve([(wide * rng.uniform(0.8, 1.0), -deep), (wide, -deep * 0.5), (wide * 0.75, -0.1), (0.05, 0.0)])
    foot = curve([(0.04, stem), (0.12, stem + 0.06), (wide * 0.9, stem + 0.14)])
    return [
        Part(rectangle(-0.04, -0.05, 0.04, stem + 0.03), "glassware", 0.85),
        Part(_turned_on_a_wheel(foot), "glassware", 0.9),
        Part(_turned_on_a_wheel(bowl), "glassware"),
        Part(ellipse(0, -deep, float(bowl[0, 0]), 0.08), "glassware", 0.75),
    ]


def vase(rng: Generator) -> list[Part]:
    """A tall belly with a narrow neck and a wider lip; often with flowers."""
    belly, neck, lip = rng.uniform(0.35, 0.5), rng.uniform(0.1, 0.2), rng.uniform(0.2, 0.32)
    shoulder = rng.uniform(-0.2, 0.2)
    half = curve([(lip, -0.75), (neck, -0.5), (belly, shoulder), (belly * 0.7, 0.55), (belly * 0.5, 0.75)])
    flowers = []
    for x in rng.uniform(-0.45, 0.45, size=int(rng.integers(0, 5))):
        flowers += [
            Part(limb([(x * 0.1, -0.7), (x, -1.05)], 0.03), "leaf"),
            Part(ellipse(x, -1.1, 0.12, 0.12), "petal"),
        ]
    return [
        *flowers,
        Part(_turned_on_a_wheel(half), "china"),
        Part(ellipse(0, -0.75, lip, 0.06), "china", 0.75),
    ]


def umbrella(rng: Generator) -> list[Part]:
    """A scalloped canopy with panels, a stick and a hook."""
    gores = int(rng.integers(4, 7))
    edge = np.linspace(-0.9, 0.9, gores + 1)
    high = rng.uniform(0.55, 0.8)
    hook = curve([(0, -0.4), (0, 0.75), (0.06, 0.88), (0.16, 0.88), (0.2, 0.75)])
    panels = []
    for index, (left, right) in enumerate(pairwise(edge.tolist())):
        rim = curve([(left, 0), ((left + right) / 2, -0.1), (right, 0)])
        side = [(right * 0.8, -0.5 * high), (0, -high), (left * 0.8, -0.5 * high)]
        panels.append(Part(np.vstack([rim, side]), "canopy" if index % 2 else "stripe", 1.0))
    tilt = turn(np.eye(2), rng.normal() * 0.35).T
    parts = [
        Part(limb(hook, 0.05), "wood_dark"),
        Part(limb([(0, -high), (0, -high - 0.12)], 0.05), "wood_dark"),
        *panels,
    ]
    return [part.moved(tilt) for part in parts]


def lighthouse(rng: Generator) -> list[Part]:
    """A tapering tower, often banded, with gallery, lantern and cap."""
    foot, top, tall = rng.uniform(0.24, 0.36), rng.uniform(0.14, 0.2), rng.uniform(1.3, 1.7)
    bands = int(rng.integers(0, 5)) * 2 + 1
    levels = np.linspace(0, 1, bands + 1)
    tower = []
    for index, (low, high) in enumerate(pairwise(levels.tolist())):
        a, b = foot + (top - foot) * low, foot + (top - foot) * high
        outline = np.array([(-a, -low * tall), (a, -low * tall), (b, -high * tall), (-b, -high * tall)])
        tower.append(Part(outline, "stripe" if index % 2 else "wall"))
    return [
        *tower,
        Part(rectangle(-top - 0.07, -tall - 0.06, top + 0.07, -tall), "black"),
        Part(rectangle(-top * 0.7, -tall - 0.28, top * 0.7, -tall - 0.06), "glass", 1.2),
        Part(np.array([(-top, -tall - 0.28), (top, -tall - 0.28), (0, -tall - 0.5)]), "brick"),
        Part(ellipse(0, 0.03, rng.uniform(0.5, 0.9), 0.16), "rock"),
    ]

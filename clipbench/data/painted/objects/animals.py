"""Dog, elephant, giraffe, horse and person, seen from the side (the person from the front), each in a random pose."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from clipbench.data.painted.objects.parts import Part, Points, curve, ellipse, limb, mirrored, rectangle, shifted


@dataclass(frozen=True)
class Build:
    """Proportions of a four-legged animal that looks to the right.

    Attributes:
        trunk: length and depth of the trunk.
        leg: length and thickness of a leg.
        neck: length and thickness of the neck.
        rise: angle of the neck above the horizontal, in radians.
        coat: material.
    """

    trunk: tuple[float, float]
    leg: tuple[float, float]
    neck: tuple[float, float]
    rise: float
    coat: str

    def varied(self, rng: Generator) -> Build:
        """Another animal of the same kind, in another pose."""

        def vary(pair: tuple[float, float]) -> tuple[float, float]:
            first, second = (np.array(pair) * rng.normal(1, 0.1, size=2)).tolist()
            return first, second

        return Build(vary(self.trunk), vary(self.leg), vary(self.neck), self.rise + rng.normal() * 0.15, self.coat)


def _legs(rng: Generator, build: Build, *, far: bool) -> list[Part]:
    """The two legs of one side, in mid-stride."""
    (length, depth), (reach, thick) = build.trunk, build.leg
    legs = []
    for x in (-0.4 * length, 0.4 * length):
        swing, bend = rng.normal() * 0.13, rng.normal() * 0.06
        line = [(x, 0.1 * depth), (x + swing * 0.4 + bend, depth * 0.4 + reach * 0.5), (x + swing, depth * 0.4 + reach)]
        legs.append(Part(limb(line, [thick * 1.5, thick, thick * 0.9]), build.coat, 0.72 if far else 0.95))
    return legs


def _trunk(build: Build) -> Part:
    length, depth = build.trunk
    outline = [(-0.52, 0), (-0.4, -0.5), (0, -0.45), (0.42, -0.5), (0.54, 0), (0.35, 0.48), (0, 0.42), (-0.38, 0.46)]
    return Part(curve(np.array(outline) * (length, depth), closed=True), build.coat)


def _neck(build: Build) -> tuple[Part, Points]:
    """The neck, and where the head sits."""
    (length, depth), (reach, thick) = build.trunk, build.neck
    start = np.array([0.4 * length, -0.2 * depth])
    end = start + reach * np.array([math.cos(build.rise), -math.sin(build.rise)])
    return Part(limb([start, (start + end) / 2, end], [thick * 1.5, thick, thick * 0.8]), build.coat), end


def _body(rng: Generator, build: Build) -> tuple[list[Part], Points]:
    neck, head = _neck(build)
    return [*_legs(rng, build, far=True), neck, _trunk(build), *_legs(rng, build, far=False)], head


def dog(rng: Generator) -> list[Part]:
    """Short neck, snout, hanging ear, tail up."""
    build = Build((1.0, 0.4), (0.45, 0.11), (0.3, 0.24), 0.8, "fur").varied(rng)
    parts, (x, y) = _body(rng, build)
    wag = rng.normal() * 0.15
    back = -0.5 * build.trunk[0]
    tail = curve([(back, -0.1), (back - 0.2, -0.3), (back - 0.2 + wag, -0.55)])
    head = [(-0.2, -0.05), (-0.05, -0.2), (0.13, -0.13), (0.38, -0.02), (0.38, 0.1), (0.1, 0.14), (-0.12, 0.16)]
    return [
        Part(limb(tail, np.linspace(0.1, 0.04, len(tail))), build.coat),
        *parts,
        Part(curve(shifted(head, x, y), closed=True), build.coat),
        Part(ellipse(x - 0.1, y + 0.06, 0.08, 0.2, 0.3 + wag), "fur_dark"),
        Part(ellipse(x + 0.38, y + 0.02, 0.05, 0.045), "black"),
        Part(ellipse(x + 0.1, y - 0.06, 0.025, 0.025), "black"),
    ]


def elephant(rng: Generator) -> list[Part]:
    """Thick legs, large ear, trunk, tusk."""
    build = Build((1.15, 0.8), (0.5, 0.24), (0.25, 0.5), 0.4, "hide").varied(rng)
    parts, (x, y) = _body(rng, build)
    curl = rng.uniform(-0.35, 0.3)
    nose = curve([(x + 0.15, y), (x + 0.36, y + 0.3), (x + 0.36, y + 0.65), (x + 0.36 + curl, y + 0.85)])
    tusk = curve([(x + 0.2, y + 0.25), (x + 0.4, y + 0.42), (x + 0.6, y + 0.38)])
    back = -0.52 * build.trunk[0]
    return [
        Part(limb([(back, -0.1), (back - 0.08, 0.2), (back - 0.05, 0.4)], [0.06, 0.04, 0.05]), build.coat, 0.8),
        *parts,
        Part(ellipse(x + 0.05, y + 0.05, 0.3, 0.33), build.coat),
        Part(limb(nose, np.linspace(0.26, 0.1, len(nose))), build.coat, 1.05),
        Part(limb(tusk, np.linspace(0.08, 0.02, len(tusk))), "ivory"),
        Part(ellipse(x - 0.14, y + 0.08, 0.22, 0.34, rng.normal() * 0.2), build.coat, 0.85),
        Part(ellipse(x + 0.18, y - 0.05, 0.03, 0.03), "black"),
    ]


def giraffe(rng: Generator) -> list[Part]:
    """Long legs, very long neck, spots, horns."""
    build = Build((0.75, 0.42), (0.85, 0.09), (1.05, 0.17), 1.15, "giraffe").varied(rng)
    parts, (x, y) = _body(rng, build)
    head = [(-0.12, -0.04), (0, -0.12), (0.2, 0.0), (0.32, 0.08), (0.3, 0.16), (0.05, 0.12), (-0.1, 0.1)]
    back = -0.5 * build.trunk[0]
    return [
        Part(limb([(back, -0.1), (back - 0.08, 0.2), (back - 0.06, 0.4)], [0.04, 0.03, 0.07]), "giraffe_spot"),
        *parts,
        *_spots(rng, build, np.array([x, y])),
        *(Part(limb([(x + u, y - 0.08), (x + u - 0.03, y - 0.25)], [0.03, 0.05]), "giraffe_spot") for u in (0.0, 0.07)),
        Part(curve(shifted(head, x, y), closed=True), build.coat),
        Part(ellipse(x - 0.1, y - 0.07, 0.09, 0.035, 0.4), build.coat, 0.85),
        Part(ellipse(x + 0.06, y - 0.01, 0.025, 0.025), "black"),
    ]


def _spots(rng: Generator, build: Build, head: Points) -> list[Part]:
    length, depth = build.trunk
    on_trunk = rng.uniform(-1, 1, size=(9, 2)) * (0.4 * length, 0.3 * depth)
    along = rng.uniform(0.1, 0.9, size=(7, 1))
    on_neck = (1 - along) * np.array([0.4 * length, -0.2 * depth]) + along * head + rng.normal(size=(7, 2)) * 0.025
    sizes = rng.uniform(0.03, 0.06, size=16)
    places = zip(np.vstack([on_trunk, on_neck]).tolist(), sizes.tolist(), strict=True)
    return [Part(ellipse(x, y, size, size * 0.8, size * 40), "giraffe_spot") for (x, y), size in places]


def horse(rng: Generator) -> list[Part]:
    """Long legs, arched neck with a mane, long head, hanging tail."""
    build = Build((1.05, 0.42), (0.7, 0.09), (0.5, 0.22), 0.95, "fur").varied(rng)
    parts, (x, y) = _body(rng, build)
    nod = rng.normal() * 0.08
    head = [
        (-0.14, -0.06),
        (0, -0.14),
        (0.14, -0.04),
        (0.34, 0.24 + nod),
        (0.28, 0.34 + nod),
        (0.06, 0.16),
        (-0.1, 0.12),
    ]
    back = -0.5 * build.trunk[0]
    tail = curve([(back, -0.12), (back - 0.16, 0.05), (back - 0.12 + nod, 0.5)])
    mane = curve([(0.3 * build.trunk[0], -0.32), (x - 0.25, y + 0.12), (x - 0.05, y - 0.12)])
    return [
        Part(limb(tail, [0.08, *[0.15] * (len(tail) - 2), 0.05]), "mane"),
        *parts,
        Part(limb(mane, [0.05, *[0.14] * (len(mane) - 2), 0.08]), "mane"),
        Part(curve(shifted(head, x, y), closed=True), build.coat),
        Part(shifted([(-0.06, -0.08), (-0.04, -0.28), (0.06, -0.1)], x, y), build.coat, 0.9),
        Part(ellipse(x + 0.08, y, 0.025, 0.025), "black"),
    ]


def person(rng: Generator) -> list[Part]:
    """Standing or walking, arms anywhere, in a dress or in trousers."""
    left, right = rng.uniform(0.1, 2.4, size=2)
    stride = rng.uniform(0.05, 0.3)
    arms = [_arm(-0.2, math.pi - left), _arm(0.2, right)]
    leg = np.array([(0.1, 0.3), (0.1 + stride / 2, 0.65), (0.1 + stride, 1.0)])
    legs = [Part(limb(line, 0.15), "cloth") for line in (leg, mirrored(leg))]
    torso = Part(
        curve([(-0.22, -0.3), (0.22, -0.3), (0.18, 0.1), (0.2, 0.4), (-0.2, 0.4), (-0.18, 0.1)], closed=True), "shirt"
    )
    skirt = Part(np.array([(-0.16, 0.1), (0.16, 0.1), (0.36, 0.7), (-0.36, 0.7)]), "shirt", 0.9)
    hair = Part(ellipse(0, -0.6, 0.19, 0.22), "hair")
    return [
        hair if rng.random() < 0.5 else Part(ellipse(0, -0.65, 0.16, 0.14), "hair"),
        Part(rectangle(-0.06, -0.45, 0.06, -0.28), "skin", 0.85),
        *legs,
        torso,
        *([skirt] if rng.random() < 0.35 else []),
        *(part for arm in arms for part in arm),
        Part(ellipse(0, -0.56, 0.135, 0.17), "skin"),
    ]


def _arm(x: float, angle: float) -> list[Part]:
    """An arm from the shoulder at x; angle 0 points to the right, pi/2 down."""
    direction = np.array([math.cos(angle), math.sin(angle)])
    shoulder = np.array([x, -0.22])
    hand = shoulder + direction * 0.5
    return [
        Part(limb([shoulder, shoulder + direction * 0.3], [0.15, 0.12]), "shirt", 0.9),
        Part(limb([shoulder + direction * 0.28, hand], [0.1, 0.08]), "skin"),
    ]

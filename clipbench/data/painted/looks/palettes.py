"""Colours of what objects are made of."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from clipbench.data.painted.canvas import Palette

_ANY = ((200, 60, 50), (230, 190, 60), (60, 110, 180), (70, 150, 90), (230, 225, 215), (120, 70, 140), (50, 55, 65))

NATURAL: Palette = {
    "basket": ((150, 105, 60), (120, 80, 45)),
    "black": ((30, 28, 28), (45, 42, 44)),
    "brick": ((165, 85, 65), (120, 70, 60), (95, 95, 105), (180, 120, 80)),
    "canopy": _ANY,
    "china": (*_ANY, (240, 235, 225), (200, 175, 150)),
    "cloth": ((50, 60, 95), (60, 55, 50), (120, 105, 85), (35, 35, 40)),
    "coffee": ((70, 45, 30), (40, 28, 22)),
    "engine": ((185, 190, 195), (140, 145, 150), (220, 220, 220), (70, 90, 150)),
    "fin": _ANY,
    "fur": ((140, 95, 60), (95, 65, 45), (200, 170, 125), (60, 52, 48), (225, 215, 200), (165, 160, 155)),
    "fur_dark": ((80, 55, 38), (55, 42, 36), (120, 90, 65)),
    "furniture": ((130, 85, 50), (85, 55, 38), (60, 60, 65), (205, 190, 165), (160, 60, 50)),
    "giraffe": ((220, 180, 115), (205, 165, 100), (230, 200, 145)),
    "giraffe_spot": ((125, 75, 40), (105, 60, 35), (150, 95, 50)),
    "glass": ((110, 150, 175), (70, 90, 105), (175, 205, 215)),
    "glassware": ((190, 205, 210), (160, 140, 70), (150, 150, 160), (120, 60, 80), (215, 195, 120)),
    "hair": ((40, 30, 25), (95, 62, 38), (180, 140, 80), (130, 125, 120), (150, 75, 40)),
    "hide": ((125, 120, 118), (105, 98, 95), (140, 128, 115)),
    "hull": ((235, 235, 230), (50, 65, 105), (110, 60, 45), (60, 95, 80)),
    "ivory": ((235, 228, 205),),
    "lacquer": _ANY,
    "leaf": ((70, 120, 55), (95, 140, 65), (50, 90, 50)),
    "lips": ((175, 80, 75), (150, 75, 65)),
    "livery": ((235, 237, 240), (220, 222, 226), (245, 240, 225), (185, 195, 205), (150, 165, 185)),
    "mane": ((50, 38, 30), (90, 60, 40), (205, 185, 150)),
    "metal": ((165, 168, 172), (120, 124, 130), (200, 200, 198)),
    "petal": _ANY,
    "red": ((195, 45, 45), (175, 50, 50), (205, 70, 55)),
    "rock": ((125, 115, 105), (100, 100, 95), (110, 125, 85)),
    "rope": ((225, 225, 220), (70, 70, 75)),
    "sail": ((240, 238, 230), (225, 215, 195), (190, 95, 70), (120, 140, 170)),
    "seat": ((150, 110, 75), (90, 40, 45), (60, 80, 70), (190, 175, 150)),
    "seed": ((70, 48, 30), (95, 65, 35)),
    "shirt": _ANY,
    "skin": ((235, 195, 165), (205, 155, 120), (150, 105, 78), (95, 65, 50)),
    "starfish": ((205, 105, 65), (180, 70, 60), (190, 150, 110), (95, 85, 130)),
    "stripe": _ANY,
    "sun_petal": ((240, 190, 45), (230, 165, 40), (245, 210, 90)),
    "wall": ((225, 215, 195), (200, 175, 140), (175, 110, 90), (235, 235, 235), (160, 180, 190)),
    "white": ((240, 240, 236),),
    "wing": ((205, 210, 215), (175, 180, 188), (150, 155, 165)),
    "wing_low": _ANY,
    "wing_spot": _ANY,
    "wood": ((185, 120, 60), (150, 80, 45), (215, 165, 100), (110, 40, 35), (40, 38, 40)),
    "wood_dark": ((80, 52, 35), (60, 42, 34), (105, 72, 48)),
}


class Paints:
    """The colours of one picture: each material gets one of its colours, a little off, and keeps it.

    Args:
        palette: material -> colours it may have.
        rng: random stream.
        strange: probability that a material takes another material's colour.
        jitter: standard deviation of brightness and tint, as a fraction.
    """

    def __init__(self, palette: Palette, rng: Generator, *, strange: float = 0.0, jitter: float = 0.1):
        self._palette = palette
        self._rng = rng
        self._strange = strange
        self._jitter = jitter
        self._chosen: dict[str, np.ndarray] = {}

    def __getitem__(self, material: str) -> np.ndarray:
        """The material's colour in this picture, float [3]."""
        if material not in self._chosen:
            self._chosen[material] = self._choose(material)
        return self._chosen[material]

    def _choose(self, material: str) -> np.ndarray:
        if self._rng.random() < self._strange:
            material = sorted(self._palette)[int(self._rng.integers(len(self._palette)))]
        choices = self._palette[material]
        colour = np.array(choices[int(self._rng.integers(len(choices)))], dtype=float)
        light, *tint = self._rng.normal(0, self._jitter, size=4).tolist()
        return np.asarray(np.clip(colour * (1 + light) + 60 * np.array(tint), 0, 255))

"""Objects by name: each entry draws one instance, in a pose of its own, as a list of parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from numpy.random import Generator

from clipbench.data.painted.objects import animals, household, outdoors
from clipbench.data.painted.objects.aircraft import VARIANTS, aircraft
from clipbench.data.painted.objects.parts import Part, fitted

Draw: TypeAlias = Callable[[Generator], list[Part]]

_DRAWERS: Mapping[str, Draw] = {
    "balloon": outdoors.balloon,
    "butterfly": outdoors.butterfly,
    "chair": household.chair,
    "coffee mug": household.coffee_mug,
    "dog": animals.dog,
    "elephant": animals.elephant,
    "face": outdoors.face,
    "giraffe": animals.giraffe,
    "goblet": household.goblet,
    "guitar": household.guitar,
    "horse": animals.horse,
    "house": household.house,
    "ketch": outdoors.ketch,
    "lighthouse": household.lighthouse,
    "motorbike": outdoors.motorbike,
    "parachute": outdoors.parachute,
    "person": animals.person,
    "starfish": outdoors.starfish,
    "stop sign": household.stop_sign,
    "sunflower": outdoors.sunflower,
    "teapot": household.teapot,
    "umbrella": household.umbrella,
    "vase": household.vase,
    **{name: aircraft(name) for name in VARIANTS},
}

OBJECTS: tuple[str, ...] = tuple(_DRAWERS)
"""What can be drawn."""


def draw(kind: str, rng: Generator) -> list[Part]:
    """One instance of a key of `OBJECTS`, its longer side spanning the square from -1 to 1."""
    return fitted(_DRAWERS[kind](rng))

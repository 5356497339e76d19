"""What a class shows: an object, where it is usually found, and what colours it usually has there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from clipbench.data.painted.canvas import Palette
from clipbench.data.painted.looks.surroundings import Scene


@dataclass(frozen=True)
class Motif:
    """One class of a data set of objects.

    Attributes:
        kind: the object that is drawn.
        scenes: where it is usually found.
        palette: colours of materials that are this object's own.
    """

    kind: str
    scenes: tuple[Scene, ...]
    palette: Palette = field(default_factory=dict)


_ROOM, _TABLE = ("wall", "planks"), ("wall", "cloth")
_WATER, _FIELD, _STREET, _AIR = ("sky", "sea"), ("sky", "grass"), ("wall", "road"), ("sky", "sky")

MOTIFS: Mapping[str, Motif] = {
    motif.kind: motif
    for motif in (
        Motif("balloon", (_AIR, _FIELD)),
        Motif("butterfly", (("foliage", "foliage"), ("grass", "foliage"))),
        Motif("chair", (_ROOM,)),
        Motif("coffee mug", (("planks", "planks"), _ROOM)),
        Motif("dog", (_FIELD, _ROOM)),
        Motif("elephant", (("sky", "savanna"), ("foliage", "savanna"))),
        Motif("face", (("wall", "wall"), ("stage", "stage"))),
        Motif("giraffe", (("sky", "savanna"), ("sky", "foliage"))),
        Motif(
            "goblet", (("stage", "cloth"), _TABLE), {"glassware": ((215, 195, 120), (200, 180, 90), (190, 205, 210))}
        ),
        Motif("guitar", (("stage", "stage"), ("stage", "planks"))),
        Motif("horse", (_FIELD, ("foliage", "grass"))),
        Motif("house", (("sky", "grass"), ("sky", "pavement"))),
        Motif("ketch", (_WATER,)),
        Motif("lighthouse", (_WATER, ("sky", "sand")), {"stripe": ((200, 55, 50), (50, 60, 80))}),
        Motif("motorbike", (_STREET, ("road", "pavement"))),
        Motif("parachute", (_AIR,)),
        Motif("person", (("wall", "pavement"), ("wall", "wall"))),
        Motif("starfish", (("sand", "sand"), ("sea", "sand"))),
        Motif("stop sign", (("sky", "road"), ("foliage", "road"))),
        Motif("sunflower", (("sky", "foliage"), ("foliage", "foliage"))),
        Motif("teapot", (_TABLE, ("cloth", "cloth")), {"china": ((240, 235, 225), (225, 225, 235), (90, 120, 170))}),
        Motif("umbrella", (("pavement", "pavement"), _STREET)),
        Motif(
            "vase", (("wall", "wall"), ("wall", "planks")), {"china": ((60, 110, 180), (165, 95, 65), (70, 130, 120))}
        ),
    )
}
"""Object -> motif."""

_APRON, _CLOUDS = ("sky", "road"), ("sky", "sky")
_WHITE, _BARE = ((236, 238, 240),), ((165, 170, 175), (180, 184, 188))

AIRCRAFT: Mapping[str, Motif] = {
    motif.kind: motif
    for motif in (
        Motif("737-800", (_APRON, _CLOUDS), {"livery": _WHITE, "fin": ((240, 150, 40), (60, 150, 90))}),
        Motif("747-400", (_APRON, _CLOUDS), {"livery": _WHITE, "fin": ((40, 60, 130), (170, 40, 50))}),
        Motif("A380", (_CLOUDS, _APRON), {"livery": ((240, 232, 210),), "fin": ((190, 50, 45), (215, 180, 90))}),
        Motif("Cessna 172", (_FIELD, _CLOUDS), {"livery": ((235, 225, 190),), "fin": ((235, 225, 190), (180, 60, 50))}),
        Motif("DC-10", (("sky", "snow"), _APRON), {"livery": _BARE, "fin": ((110, 60, 130), (60, 60, 70))}),
        Motif("F-16A/B", (("sky", "sand"), _CLOUDS), {"livery": ((110, 118, 125),), "fin": ((110, 118, 125),)}),
        Motif("MD-80", (_APRON, ("foliage", "road")), {"livery": _BARE, "fin": ((170, 172, 176), (200, 60, 55))}),
    )
}
"""Variant -> motif; airlines prefer some variants, and so liveries tell a little, too."""

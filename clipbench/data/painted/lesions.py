"""Lesions: blobs with masks, and descriptions of them under the keys of medvlsm's annotation files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from clipbench.data.painted.rendering import RENDERINGS, Thing, render
from clipbench.data.painted.shapes import Shape, outline

Mask: TypeAlias = NDArray[np.bool_]
Prompts: TypeAlias = Mapping[str, str | Sequence[str]]


@dataclass(frozen=True)
class Kind:
    """One kind of lesion.

    Attributes:
        noun: what a prompt calls it.
        camera: the way of rendering.
        colours: word -> red, green and blue from 0 to 1.
        ragged: height of the outline's bumps.
        numbers: how many there may be in a picture, drawn evenly.
        descriptions: what a prompt may add after "which is".
    """

    noun: str
    camera: str
    colours: Mapping[str, tuple[float, float, float]]
    ragged: float = 0.08
    numbers: Sequence[int] = (1, 1, 1, 2)
    descriptions: Sequence[str] = ()


_ECHO = {"dark": (0.12, 0.12, 0.12)}
_BOWEL = {"red": (0.8, 0.3, 0.28), "pink": (0.9, 0.55, 0.5), "yellow": (0.88, 0.68, 0.38)}
POLYP = Kind("polyp", "endoscopy", _BOWEL, descriptions=("a lump on the lining of the bowel", "a bump of tissue"))
MELANOMA = Kind(
    "skin melanoma",
    "dermoscopy",
    {"brown": (0.42, 0.25, 0.15), "black": (0.15, 0.1, 0.1), "red": (0.65, 0.25, 0.22)},
    ragged=0.16,
    numbers=(1,),
    descriptions=("a dark spot on the skin", "a mole with an uneven border"),
)
TUMOURS: Mapping[str, Kind] = {
    "benign": Kind("tumor", "ultrasound", _ECHO, ragged=0.06),
    "malignant": Kind("tumor", "ultrasound", _ECHO, ragged=0.25, numbers=(1,)),
    "normal": Kind("tumor", "ultrasound", _ECHO, numbers=(0,)),
}


@dataclass(frozen=True)
class Case:
    """One picture with its lesions.

    Attributes:
        picture: uint8 [P, P, 3].
        masks: one mask [P, P] per lesion.
        colour: the lesions' colour in a word.
    """

    picture: NDArray[np.uint8]
    masks: Sequence[Mask]
    colour: str

    @property
    def mask(self) -> Mask:
        """All lesions in one mask [P, P]."""
        return np.asarray(np.any([np.zeros(self.picture.shape[:2], dtype=bool), *self.masks], axis=0))


def case(kind: Kind, rng: Generator, pixels: int) -> Case:
    """A picture of `pixels` by `pixels` with none, one or two lesions that do not touch."""
    word = sorted(kind.colours)[int(rng.integers(len(kind.colours)))]
    colour = np.clip(np.array(kind.colours[word]) + rng.normal(0, 0.03, size=3), 0, 1)
    count = kind.numbers[int(rng.integers(len(kind.numbers)))]
    first = rng.uniform(0.3, 0.7, size=2)
    centres = [first] if count == 1 else [np.array([0.28, first[0]]), np.array([0.72, first[1]])][:count]
    shapes: list[Shape] = []
    for x, y in (centre.tolist() for centre in centres):
        radius = rng.uniform(0.12, 0.3 if count == 1 else 0.17)
        shape = outline(rng, kind.ragged).at(pixels, (x, y), radius, rng.uniform(0, np.pi), rng.uniform(0.6, 1))
        shapes.append(shape)
    things = [Thing(shape, colour, colour * 1.1) for shape in shapes]
    picture = render(things, RENDERINGS[kind.camera], rng, pixels)
    return Case(picture, [shape.distance > 0 for shape in shapes], word)


def prompts(case: Case, kind: Kind) -> Prompts:
    """p0 to p9: nothing, the class, then shape, colour, size, number and place one after the other, and descriptions.

    Where there are no descriptions there are but p0 to p6, as in BUSI; a picture without a lesion says so.
    """
    if not case.masks:
        return {"p0": "", **{f"p{number}": f"no {kind.noun}" for number in range(1, 7)}}
    largest = max(case.masks, key=np.sum)
    low, high = np.linalg.eigvalsh(np.cov(np.stack(np.nonzero(largest))))
    share = largest.mean()
    words = [
        "round" if high < 1.8 * low else "oval",
        case.colour,
        "small" if share < 0.06 else "medium" if share < 0.15 else "large",
        ("one", "two")[len(case.masks) - 1],
    ]
    said = [kind.noun]
    for word in words:
        said.append(f"{word} {said[-1]}")
    where = f"located in {', '.join(_part_of_picture(mask) for mask in case.masks)} of the image"
    plain = {f"p{number}": text for number, text in enumerate(["", *said, f"{said[-1]}, {where}"])}
    if not kind.descriptions:
        return plain
    described = [f"{said[-1]} which is {description}" for description in kind.descriptions]
    return plain | {
        "p7": [f"{kind.noun} which is {description}" for description in kind.descriptions],
        "p8": described,
        "p9": [f"{text}, {where}" for text in described],
    }


def _part_of_picture(mask: Mask) -> str:
    """Where the middle of a mask lies, in thirds of the picture."""
    y, x = (float(np.mean(axis)) / extent for axis, extent in zip(np.nonzero(mask), mask.shape, strict=True))
    vertical = "top" if y < 1 / 3 else "bottom" if y > 2 / 3 else ""
    horizontal = "left" if x < 1 / 3 else "right" if x > 2 / 3 else ""
    return f"{vertical} {horizontal}".strip() or "center"

"""The subsets for domain generalisation: objects in four styles (PACS), digits in four styles (Digits-DG)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Protocol

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image

from clipbench.data.painted.digits.styles import STYLES, PaintDigit
from clipbench.data.painted.looks.cartoon import Cartoon
from clipbench.data.painted.looks.motifs import MOTIFS, Motif
from clipbench.data.painted.looks.painting import Painting
from clipbench.data.painted.looks.photo import Photo
from clipbench.data.painted.looks.pose import Pose
from clipbench.data.painted.looks.sketch import Sketch
from clipbench.data.painted.objects import draw
from clipbench.data.painted.objects.parts import Drawing
from clipbench.data.painted.seeding import stream
from clipbench.data.painted.subset import Files


class Look(Protocol):
    """A style in which an object can be shown."""

    def show(self, motif: Motif, parts: Drawing, rng: Generator, pixels: int) -> NDArray[np.uint8]:
        """The picture of an object, uint8 [pixels, pixels, 3]."""


@dataclass(frozen=True)
class PacsSubset:
    """PACS: `images/<domain>/<class>/` and three lists per domain, whose labels count from 1.

    Attributes:
        looks: domain in the genuine spelling -> style.
        classes: the genuine classes, in the order of their labels.
        split: images of each class and domain in train and val (PACS says crossval); the test list has both.
        pixels: edge length of an image.
    """

    looks: Mapping[str, Look]
    classes: tuple[str, ...]
    split: Mapping[str, int]
    pixels: int
    dataset: str = "pacs"
    folder: str = "pacs"

    @property
    def domains(self) -> tuple[str, ...]:
        """The domains."""
        return tuple(self.looks)

    @property
    def images_per_class(self) -> int:
        """Images of each class in all domains."""
        return self._each * len(self.looks)

    @property
    def parts(self) -> Mapping[str, int]:
        """Images of each part in one domain."""
        return {part: count * len(self.classes) for part, count in self.split.items()}

    @property
    def _each(self) -> int:
        return sum(self.split.values())

    def paint(self, domain: str, class_name: str, index: int) -> NDArray[np.uint8]:
        """Image number `index` (from 0) of a class and domain, uint8 [pixels, pixels, 3]."""
        rng = stream("domains", self.dataset, domain, class_name, index)
        return self.looks[domain].show(MOTIFS[class_name], draw(class_name, rng), rng, self.pixels)

    def files(self) -> Files:
        """Every image, then the lists."""
        for domain in self.domains:
            for name in self.classes:
                for index in range(self._each):
                    picture = Image.fromarray(self.paint(domain, name, index))
                    yield PurePosixPath("images", self._listed(domain, name, index)), picture
            yield from self._lists(domain)

    def _lists(self, domain: str) -> Iterator[tuple[PurePosixPath, str]]:
        lines: dict[str, list[str]] = {"train": [], "crossval": [], "test": []}
        for label, name in enumerate(self.classes, start=1):
            order = stream("parts", self.dataset, domain, name).permutation(self._each).tolist()
            for place, index in enumerate(order):
                line = f"{self._listed(domain, name, index)} {label}\n"
                lines["train" if place < self.split["train"] else "crossval"].append(line)
                lines["test"].append(line)
        for part, content in lines.items():
            yield PurePosixPath("splits", f"{domain}_{part}_kfold.txt"), "".join(content)

    @staticmethod
    def _listed(domain: str, name: str, index: int) -> str:
        return f"{domain}/{name}/{index + 1}.png" if domain == "sketch" else f"{domain}/{name}/pic_{index + 1:03d}.jpg"

    def rows(self, columns: int) -> Iterator[tuple[str, Sequence[Image.Image]]]:
        """The first images of every class and domain."""
        for domain in self.domains:
            for name in self.classes:
                shown = range(min(columns, self._each))
                yield f"{domain} {name}", [Image.fromarray(self.paint(domain, name, i)) for i in shown]


PACS = PacsSubset(
    looks={"art_painting": Painting(), "cartoon": Cartoon(), "photo": Photo(pose=Pose(flip=False)), "sketch": Sketch()},
    classes=("dog", "elephant", "giraffe", "guitar", "horse", "house", "person"),
    split={"train": 15, "val": 5},
    pixels=72,
)


@dataclass(frozen=True)
class DigitsSubset:
    """Digits-DG: `<domain>/{train,val}/<digit>/`.

    Attributes:
        styles: domain in the genuine spelling -> function that paints a digit.
        split: images of each digit and domain in train and val.
        pixels: edge length of an image.
    """

    styles: Mapping[str, PaintDigit]
    split: Mapping[str, int]
    pixels: int
    dataset: str = "digits_dg"
    folder: str = "digits_dg"
    classes: tuple[str, ...] = tuple("0123456789")

    @property
    def domains(self) -> tuple[str, ...]:
        """The domains."""
        return tuple(self.styles)

    @property
    def images_per_class(self) -> int:
        """Images of each digit in all domains."""
        return sum(self.split.values()) * len(self.styles)

    @property
    def parts(self) -> Mapping[str, int]:
        """Images of each part in one domain."""
        return {part: count * len(self.classes) for part, count in self.split.items()}

    def paint(self, domain: str, class_name: str, index: int) -> NDArray[np.uint8]:
        """Image number `index` (from 0) of a digit and domain, uint8 [pixels, pixels, 3]."""
        rng = stream("domains", self.dataset, domain, class_name, index)
        return self.styles[domain](int(class_name), rng, self.pixels)

    def files(self) -> Files:
        """Every image."""
        for domain in self.domains:
            for name in self.classes:
                places = [part for part, count in self.split.items() for _ in range(count)]
                for index, part in enumerate(places):
                    path = PurePosixPath(domain, part, name, f"{index + 1:05d}.jpg")
                    yield path, Image.fromarray(self.paint(domain, name, index))

    def rows(self, columns: int) -> Iterator[tuple[str, Sequence[Image.Image]]]:
        """The first images of every digit and domain."""
        for domain in self.domains:
            for name in self.classes:
                shown = range(min(columns, sum(self.split.values())))
                yield f"{domain} {name}", [Image.fromarray(self.paint(domain, name, i)) for i in shown]


DIGITS = DigitsSubset(styles=STYLES, split={"train": 15, "val": 5}, pixels=32)

DOMAIN_SUBSETS = (PACS, DIGITS)

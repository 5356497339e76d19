"""The few-shot subsets: photographs of objects in the layouts of Caltech101, FGVC-Aircraft and ImageNet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from clipbench.data.painted.listed import CALTECH101, FGVC_AIRCRAFT, ImageNetLayout, ListedLayout, Members
from clipbench.data.painted.looks.motifs import AIRCRAFT, MOTIFS, Motif
from clipbench.data.painted.looks.photo import Photo
from clipbench.data.painted.looks.pose import Pose
from clipbench.data.painted.objects import draw
from clipbench.data.painted.seeding import stream
from clipbench.data.painted.subset import Files


@dataclass(frozen=True)
class FewShotSubset:
    """One data set with an official split.

    Attributes:
        dataset: name of the data set in the catalogue.
        motifs: class name in the data set's genuine spelling -> what its pictures show, in the data set's order.
        split: images of each class in train, val and test.
        pixels: edge length of an image.
        layout: genuine file names and lists.
        photo: how photographs look in this data set.
        domains: none.
    """

    dataset: str
    motifs: Mapping[str, Motif]
    split: Mapping[str, int]
    pixels: int
    layout: ListedLayout
    photo: Photo = field(default_factory=Photo)
    domains: tuple[str, ...] = ()

    @property
    def folder(self) -> str:
        """The data set's own folder."""
        return self.layout.folder

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes, as the split file spells them."""
        return tuple(self.motifs)

    @property
    def images_per_class(self) -> int:
        """Images of each class in all parts."""
        return sum(self.split.values())

    @property
    def parts(self) -> Mapping[str, int]:
        """Images of each part, all classes together."""
        return {part: count * len(self.motifs) for part, count in self.split.items()}

    def paint(self, class_name: str, index: int) -> NDArray[np.uint8]:
        """Image number `index` (from 0) of a class, uint8 [pixels, pixels, 3]."""
        rng = stream("objects", self.dataset, class_name, index)
        motif = self.motifs[class_name]
        return self.photo.show(motif, draw(motif.kind, rng), rng, self.pixels)

    def members(self) -> Members:
        """Part -> class -> numbers of its images; which image is in which part is drawn by lot."""
        parts: dict[str, dict[str, list[int]]] = {part: {} for part in self.split}
        for name in self.classes:
            order = stream("parts", self.dataset, name).permutation(self.images_per_class).tolist()
            for part, count in self.split.items():
                parts[part][name], order = order[:count], order[count:]
        return parts

    def files(self) -> Files:
        """Every image, then the lists."""
        members = self.members()
        for part, classes in members.items():
            for name, numbers in classes.items():
                for index in numbers:
                    path = self.layout.image_path(part, self.classes.index(name), name, index)
                    yield path, Image.fromarray(self.paint(name, index))
        yield from self.layout.lists(members)

    def rows(self, columns: int) -> Iterator[tuple[str, Sequence[Image.Image]]]:
        """The first images of every class."""
        for name in self.classes:
            yield name, [Image.fromarray(self.paint(name, i)) for i in range(min(columns, self.images_per_class))]


CALTECH = FewShotSubset(
    dataset="caltech101",
    motifs={
        "face": MOTIFS["face"],
        "motorbike": MOTIFS["motorbike"],
        "butterfly": MOTIFS["butterfly"],
        "chair": MOTIFS["chair"],
        "ketch": MOTIFS["ketch"],
        "starfish": MOTIFS["starfish"],
        "stop_sign": MOTIFS["stop sign"],
        "sunflower": MOTIFS["sunflower"],
    },
    split={"train": 20, "val": 6, "test": 16},
    pixels=72,
    layout=CALTECH101,
)

FGVC = FewShotSubset(
    dataset="fgvc_aircraft",
    motifs=AIRCRAFT,
    split={"train": 20, "val": 6, "test": 16},
    pixels=80,
    layout=FGVC_AIRCRAFT,
    photo=Photo(
        pose=Pose(size=(0.9, 1.05), tilt=0.08, stray=0.05),
        astray=0.1,
        clutter=0.5,
    ),
)

IMAGENET = FewShotSubset(
    dataset="imagenet",
    motifs={
        "balloon": MOTIFS["balloon"],
        "beacon": MOTIFS["lighthouse"],
        "coffee mug": MOTIFS["coffee mug"],
        "goblet": MOTIFS["goblet"],
        "parachute": MOTIFS["parachute"],
        "teapot": MOTIFS["teapot"],
        "umbrella": MOTIFS["umbrella"],
        "vase": MOTIFS["vase"],
    },
    split={"train": 20, "test": 16},
    pixels=80,
    layout=ImageNetLayout(
        "imagenet",
        {
            "balloon": "n02782093",
            "beacon": "n02814860",
            "coffee mug": "n03063599",
            "goblet": "n03443371",
            "parachute": "n03888257",
            "teapot": "n04398044",
            "umbrella": "n04507155",
            "vase": "n04522168",
        },
    ),
)

FEW_SHOT_SUBSETS = (CALTECH, FGVC, IMAGENET)

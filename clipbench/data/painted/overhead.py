"""The overhead subsets: which classes of which data set, how many images, and how they are seen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from clipbench.data.painted import layouts
from clipbench.data.painted.family import Family
from clipbench.data.painted.layouts import Layout
from clipbench.data.painted.scenes import OVERHEAD, palettes
from clipbench.data.painted.style import Style
from clipbench.data.painted.subset import Files


@dataclass(frozen=True)
class OverheadSubset:
    """One data set of class folders, seen from above.

    Attributes:
        dataset: name of the data set in the catalogue.
        kinds: class name in the data set's genuine spelling -> kind of scene that the family paints.
        images_per_class: number of images of each class.
        pixels: edge length of an image.
        layout: genuine folder and file names.
        family: who paints.
        style: how the scenes look in this data set.
        parts: none, the data sets have no official split.
        domains: none.
    """

    dataset: str
    kinds: Mapping[str, str]
    images_per_class: int
    pixels: int
    layout: Layout
    family: Family
    style: Style
    parts: Mapping[str, int] = field(default_factory=dict)
    domains: tuple[str, ...] = ()

    @property
    def folder(self) -> str:
        """The data set's own folder."""
        return self.layout.folder

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes, in the data set's genuine spelling."""
        return tuple(self.kinds)

    def paint(self, class_name: str, index: int) -> NDArray[np.uint8]:
        """Image number `index` (from 0) of a class, uint8 [pixels, pixels, 3]."""
        return self.family.paint(self.kinds[class_name], self.style, self.pixels, self.dataset, index)

    def files(self) -> Files:
        """Every image and its path."""
        for name in self.classes:
            for index in range(self.images_per_class):
                yield self.layout.image_path(name, index), Image.fromarray(self.paint(name, index))

    def rows(self, columns: int) -> Iterator[tuple[str, Sequence[Image.Image]]]:
        """The first images of every class."""
        for name in self.classes:
            yield name, [Image.fromarray(self.paint(name, i)) for i in range(min(columns, self.images_per_class))]


UCM = OverheadSubset(
    dataset="ucm",
    kinds={
        "agricultural": "agricultural",
        "denseresidential": "dense residential",
        "freeway": "freeway",
        "golfcourse": "golf course",
        "harbor": "harbor",
        "mediumresidential": "medium residential",
        "parkinglot": "parking lot",
        "river": "river",
        "runway": "runway",
        "tenniscourt": "tennis court",
    },
    images_per_class=24,
    pixels=80,
    layout=layouts.UCM,
    family=OVERHEAD,
    style=Style(
        palettes.DRY,
        zoom=(0.75, 1.4),
        jitter=0.12,
        clutter=1.0,
        gains=(1.06, 1.0, 0.92),
        contrast=(0.7, 1.05),
        light=(0.7, 1.2),
        haze=(0.0, 0.12),
        relief=0.06,
        noise=4.0,
        blur=(0.3, 0.9),
    ),
)

AID = OverheadSubset(
    dataset="aid",
    kinds={
        "Airport": "airport",
        "BaseballField": "baseball diamond",
        "Beach": "beach",
        "DenseResidential": "dense residential",
        "Farmland": "rectangular farmland",
        "MediumResidential": "medium residential",
        "Parking": "parking lot",
        "Port": "harbor",
        "River": "river",
        "StorageTanks": "storage tank",
    },
    images_per_class=30,
    pixels=96,
    layout=layouts.AID,
    family=OVERHEAD,
    style=Style(
        palettes.LUSH,
        zoom=(0.65, 1.1),
        jitter=0.14,
        clutter=1.0,
        gains=(0.9, 0.98, 1.0),
        contrast=(0.65, 1.0),
        light=(0.65, 1.1),
        haze=(0.0, 0.15),
        relief=0.1,
        noise=5.0,
        blur=(0.3, 1.0),
    ),
)

OPTIMAL31 = OverheadSubset(
    dataset="optimal31",
    kinds={
        "baseball_diamond": "baseball diamond",
        "basketball_court": "basketball court",
        "circular_farmland": "circular farmland",
        "freeway": "freeway",
        "golf_course": "golf course",
        "intersection": "intersection",
        "lake": "lake",
        "parking_lot": "parking lot",
        "rectangular_farmland": "rectangular farmland",
        "roundabout": "roundabout",
    },
    images_per_class=24,
    pixels=72,
    layout=layouts.OPTIMAL31,
    family=OVERHEAD,
    style=Style(
        palettes.AUTUMN,
        zoom=(0.65, 1.3),
        jitter=0.12,
        clutter=1.0,
        gains=(1.0, 0.96, 0.98),
        contrast=(0.7, 1.05),
        light=(0.7, 1.15),
        haze=(0.0, 0.15),
        relief=0.1,
        noise=3.0,
        blur=(0.2, 0.9),
    ),
)

RESISC45 = OverheadSubset(
    dataset="resisc45",
    kinds={
        "basketball_court": "basketball court",
        "bridge": "bridge",
        "dense_residential": "dense residential",
        "forest": "forest",
        "freeway": "freeway",
        "mountain": "mountain",
        "railway": "railway",
        "river": "river",
        "storage_tank": "storage tank",
        "tennis_court": "tennis court",
    },
    images_per_class=40,
    pixels=64,
    layout=layouts.RESISC45,
    family=OVERHEAD,
    style=Style(
        palettes.TEMPERATE,
        zoom=(0.7, 1.4),
        jitter=0.12,
        clutter=0.8,
        gains=(0.95, 1.0, 0.93),
        contrast=(0.65, 1.0),
        light=(0.7, 1.1),
        haze=(0.0, 0.15),
        relief=0.08,
        noise=3.5,
        blur=(0.2, 0.8),
    ),
)

OVERHEAD_SUBSETS = (UCM, AID, OPTIMAL31, RESISC45)

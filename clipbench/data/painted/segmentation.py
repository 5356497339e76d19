"""The segmentation subsets: Kvasir-SEG's and BUSI's layouts, with annotation files in medvlsm's form."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from clipbench.data.painted.lesions.annotations import annotation_file, item, joined, polyp_prompts, tumour_prompts
from clipbench.data.painted.lesions.pictures import Case, polyp, ultrasound
from clipbench.data.painted.lesions.shapes import Frame
from clipbench.data.painted.seeding import stream
from clipbench.data.painted.subset import Files

_LONG, _SHORT = (84, 97), (68, 85)
"""Edges of a picture in pixels, drawn per picture: no data set of this kind has one size."""


def _parts_by_lot(dataset: str, split: Mapping[str, int]) -> dict[str, list[int]]:
    order = stream("parts", dataset).permutation(sum(split.values())).tolist()
    parts = {}
    for part, count in split.items():
        parts[part], order = order[:count], order[count:]
    return parts


def _frame(rng: np.random.Generator) -> Frame:
    return Frame(int(rng.integers(*_LONG)), int(rng.integers(*_SHORT)))


@dataclass(frozen=True)
class KvasirSubset:
    """Kvasir-SEG as medvlsm keeps it: `images/`, `masks/` (JPEG as well, so not quite black and white), `anns/`.

    Attributes:
        parts: images in train, val and test.
    """

    parts: Mapping[str, int]
    dataset: str = "kvasir"
    folder: str = "kvasir_polyp"
    classes: tuple[str, ...] = ("polyp",)
    domains: tuple[str, ...] = ()

    @property
    def images_per_class(self) -> int:
        """All images."""
        return sum(self.parts.values())

    def case(self, index: int) -> Case:
        """Image number `index` (from 0) with its masks."""
        rng = stream("lesions", self.dataset, index)
        return polyp(rng, _frame(rng))

    def files(self) -> Files:
        """Images with their masks, then the annotations."""
        for part, numbers in _parts_by_lot(self.dataset, self.parts).items():
            items = []
            for index in numbers:
                case, name = self.case(index), self._name(index)
                yield PurePosixPath("images", f"{name}.jpg"), Image.fromarray(case.picture)
                yield PurePosixPath("masks", f"{name}.jpg"), Image.fromarray(_as_rgb(joined(case)))
                items.append(item(name, ".jpg", index, joined(case), polyp_prompts(case)))
            yield PurePosixPath("anns", f"{part}.json"), annotation_file(items)

    @staticmethod
    def _name(index: int) -> str:
        """A name that says nothing, 25 characters long as the genuine ones."""
        return "cju" + hashlib.sha256(f"polyp {index}".encode()).hexdigest()[:22]

    def rows(self, columns: int) -> Iterator[tuple[str, Sequence[Image.Image]]]:
        """Pictures above their masks."""
        cases = [self.case(index) for index in range(min(3 * columns, self.images_per_class))]
        yield from _sheet_rows("polyp", cases, columns)


@dataclass(frozen=True)
class BusiSubset:
    """BUSI as its archive unpacks, beside medvlsm's `anns/`, which name `benign (3).png` as `3_benign.png`.

    Attributes:
        parts: images in train, val and test.
        kinds: images of each kind, all parts together.
    """

    parts: Mapping[str, int]
    kinds: Mapping[str, int]
    dataset: str = "busi"
    folder: str = "busi"
    classes: tuple[str, ...] = ("tumor",)
    domains: tuple[str, ...] = ()

    @property
    def images_per_class(self) -> int:
        """All images."""
        return sum(self.parts.values())

    def case(self, kind: str, number: int) -> Case:
        """Image `number` (from 1) of a kind, with its masks."""
        rng = stream("lesions", self.dataset, kind, number)
        return ultrasound(rng, _frame(rng), kind)

    def files(self) -> Files:
        """Images with their masks, then the annotations."""
        everything = [(kind, number) for kind, count in self.kinds.items() for number in range(1, count + 1)]
        for part, places in _parts_by_lot(self.dataset, self.parts).items():
            items = []
            for place in sorted(places):
                kind, number = everything[place]
                case = self.case(kind, number)
                yield from self._pictures(case, kind, number)
                items.append(item(f"{number}_{kind}", ".png", place, joined(case), tumour_prompts(case, kind)))
            yield PurePosixPath("anns", f"{part}.json"), annotation_file(items)

    @staticmethod
    def _pictures(case: Case, kind: str, number: int) -> Files:
        """The image; then one black and white mask per lesion, or an empty one in colour, as the archive has them."""
        stem = PurePosixPath("Dataset_BUSI_with_GT", kind, f"{kind} ({number})").as_posix()
        yield PurePosixPath(f"{stem}.png"), Image.fromarray(case.picture)
        if not case.masks:
            yield PurePosixPath(f"{stem}_mask.png"), Image.fromarray(_as_rgb(joined(case)))
        for index, mask in enumerate(case.masks):
            yield PurePosixPath(f"{stem}_mask{f'_{index}' if index else ''}.png"), Image.fromarray(mask)

    def rows(self, columns: int) -> Iterator[tuple[str, Sequence[Image.Image]]]:
        """Pictures above their masks."""
        for kind, count in self.kinds.items():
            yield from _sheet_rows(kind, [self.case(kind, n + 1) for n in range(min(columns, count))], columns)


def _as_rgb(mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    return np.repeat(mask[..., None], 3, axis=2).astype(np.uint8) * 255


def _sheet_rows(label: str, cases: Sequence[Case], columns: int) -> Iterator[tuple[str, Sequence[Image.Image]]]:
    for start in range(0, len(cases), columns):
        shown = cases[start : start + columns]
        yield label, [Image.fromarray(case.picture) for case in shown]
        yield f"{label}: masks", [Image.fromarray(_as_rgb(joined(case))) for case in shown]


KVASIR = KvasirSubset(parts={"train": 40, "val": 12, "test": 16})
BUSI = BusiSubset(parts={"train": 40, "val": 12, "test": 16}, kinds={"benign": 38, "malignant": 18, "normal": 12})

SEGMENTATION_SUBSETS = (KVASIR, BUSI)

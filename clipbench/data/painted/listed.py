"""The genuine layouts of the few-shot data sets: file names, split files, class lists."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Protocol, TypeAlias

Members: TypeAlias = Mapping[str, Mapping[str, Sequence[int]]]
"""Part -> class name -> numbers of its images."""

Lists: TypeAlias = Iterator[tuple[PurePosixPath, str]]


class ListedLayout(Protocol):
    """Where a data set keeps its images, and the lists that say what they are."""

    @property
    def folder(self) -> str:
        """The data set's own folder."""

    def image_path(self, part: str, label: int, name: str, index: int) -> PurePosixPath:
        """Path below the folder of image number `index` (from 0) of a class."""

    def lists(self, members: Members) -> Lists:
        """Paths and contents of the lists."""


@dataclass(frozen=True)
class CoopLayout:
    """Class folders and one `split_zhou` file, as CoOp publishes it.

    Attributes:
        folder: the data set's own folder.
        images: folder of the class folders, below `folder`.
        split_file: name of the split file.
        folders: class name -> class folder, where they differ.
    """

    folder: str
    images: str
    split_file: str
    folders: Mapping[str, str]

    def image_path(self, part: str, label: int, name: str, index: int) -> PurePosixPath:  # noqa: ARG002 - the protocol's
        """Path of an image; its part is a matter of the split file alone."""
        return PurePosixPath(self.images) / self._listed(name, index)

    def lists(self, members: Members) -> Lists:
        """The split file: for each part, triples of path, label and class name."""
        labels = {name: label for label, name in enumerate(next(iter(members.values())))}
        split = {
            part: [
                [self._listed(name, index), labels[name], name]
                for name, numbers in classes.items()
                for index in numbers
            ]
            for part, classes in members.items()
        }
        yield PurePosixPath(self.split_file), json.dumps(split, indent=4)

    def _listed(self, name: str, index: int) -> str:
        return f"{self.folders.get(name, name)}/image_{index + 1:04d}.jpg"


CALTECH101 = CoopLayout(
    "caltech-101", "101_ObjectCategories", "split_zhou_Caltech101.json", {"face": "Faces", "motorbike": "Motorbikes"}
)


@dataclass(frozen=True)
class FgvcLayout:
    """All images in one folder under seven digits; one list per part, with the variant after the number."""

    folder: str

    def image_path(self, part: str, label: int, name: str, index: int) -> PurePosixPath:  # noqa: ARG002 - the protocol's
        """Path of an image."""
        return PurePosixPath("images") / f"{self._digits(label, index)}.jpg"

    def lists(self, members: Members) -> Lists:
        """The variants, and the list of each part."""
        names = list(next(iter(members.values())))
        yield PurePosixPath("variants.txt"), "".join(f"{name}\n" for name in names)
        for part, classes in members.items():
            lines = [
                f"{self._digits(names.index(name), index)} {name}\n"
                for name, numbers in classes.items()
                for index in numbers
            ]
            yield PurePosixPath(f"images_variant_{part}.txt"), "".join(lines)

    @staticmethod
    def _digits(label: int, index: int) -> str:
        """Neither class nor part shows in the number: multiples of a prime, modulo another."""
        return f"{(label * 1000 + index + 1) * 7919 % 1_000_003:07d}"


FGVC_AIRCRAFT = FgvcLayout("fgvc_aircraft")


@dataclass(frozen=True)
class ImageNetLayout:
    """`images/train` and `images/val` with a folder per WordNet id, and CoOp's `classnames.txt`.

    Attributes:
        folder: the data set's own folder.
        ids: class name -> WordNet id.
    """

    folder: str
    ids: Mapping[str, str]

    def image_path(self, part: str, label: int, name: str, index: int) -> PurePosixPath:
        """Path of an image; the validation folder is the test set, as in CoOp."""
        if part == "train":
            return PurePosixPath("images/train", self.ids[name], f"{self.ids[name]}_{index + 1}.JPEG")
        return PurePosixPath("images/val", self.ids[name], f"ILSVRC2012_val_{label * 1000 + index + 1:08d}.JPEG")

    def lists(self, members: Members) -> Lists:
        """The class names; with the line ends that CoOp's file has."""
        lines = [f"{self.ids[name]} {name}\r\n" for name in members["train"]]
        yield PurePosixPath("classnames.txt"), "".join(lines)

"""The images of one data set, column by column, in an order that every machine agrees on."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Decoding:
    """How files become pixels, by the protocol.

    Attributes:
        exif: ``ignore`` leaves images as stored, ``rotate`` turns them by their orientation tag.
        pixel_range: what is white in images of more than 8 bits per channel. ``full-scale``: 65,535 in 16-bit ones that
            have values above 4,095, and all others are refused; ``16-bit``: 65,535; ``12-bit``: 4,095; ``unit``: 1.0
            in floats; ``min-max``: each image's largest finite value, and its least is black.
    """

    exif: str = "ignore"
    pixel_range: str = "full-scale"


@dataclass
class ImageSet:
    """The images of one data set, as its reader found them. Columns that do not apply stay empty.

    The order is that of the split file (train, then val, then test) where there is one, else class by class and then by
    file name.

    Attributes:
        files: paths below ``root``, one per image.
        labels: indices into ``classes``, one per image.
        complete: whether all official images are there; ``shortfall`` says in one sentence what is missing.
        parts: train, val or test, per image.
        domains: name of the domain, per image.
        masks: files that are joined to one mask, per image.
        prompts: medvlsm's prompts by name, per image; each is a list of choices.
        template: the data set's own prompt template.
        rebuilt: by which rule the split was made, where there is no official one.
        prompt_names: what goes into the template, per class.
        tested_parts: parts of a held-out domain that its official test list covers; empty for all of it.
        lists: what names the images, for messages; ``list_files`` are the files themselves.
        absent: images that the lists name and that are not on disk; ``absent_parts`` holds the part of each.
        split_file_sha256: content of the split files, or of the list of class names; empty where there is none.
        unpublished: one sentence for each split file or list of class names that is not the published one.
        decoding: how the protocol turns files into pixels.
        synthetic: how many of the images, at the end, are synthetic, and what made them; they have the label after the
            last class, and paths that are absolute. Empty where there are none.
    """

    dataset: str
    root: Path
    files: list[str] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    classes: Sequence[str] = ()
    complete: bool = True
    shortfall: str = ""
    parts: list[str] = field(default_factory=list)
    domains: list[str] = field(default_factory=list)
    masks: list[Sequence[str]] = field(default_factory=list)
    prompts: list[Mapping[str, Sequence[str]]] = field(default_factory=list)
    template: str = "a photo of a {}."
    rebuilt: str = ""
    prompt_names: Sequence[str] = ()
    tested_parts: Sequence[str] = ("test",)
    lists: str = ""
    list_files: Sequence[Path] = ()
    absent: list[str] = field(default_factory=list)
    absent_parts: list[str] = field(default_factory=list)
    split_file_sha256: str = ""
    unpublished: Sequence[str] = ()
    decoding: Decoding = field(default_factory=Decoding)
    synthetic: str = ""

    def __len__(self) -> int:
        return len(self.files)

    def add(self, file: str, label: int, *, part: str = "", domain: str = "") -> None:
        """One more image; ``part`` and ``domain`` where the data set has them."""
        self.files.append(file)
        self.labels.append(label)
        if part:
            self.parts.append(part)
        if domain:
            self.domains.append(domain)

    def lacks(self, file: str, part: str) -> None:
        """One image that should be there and is not."""
        self.absent.append(file)
        self.absent_parts.append(part)


def default_data_root() -> Path:
    """``$CLIPBENCH_DATA``, else ``./data``."""
    return Path(os.environ.get("CLIPBENCH_DATA", "data"))


def first_few(names: Sequence[str], most: int = 4) -> str:
    """The first few of the names, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most:,} more" if len(names) > most else "")

"""What every embedded subset offers, whatever its family and its layout."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Protocol, TypeAlias

from PIL import Image

Files: TypeAlias = Iterable[tuple[PurePosixPath, Image.Image | str]]
"""Paths below the data set's folder, each with the picture or the text that it holds."""


class Subset(Protocol):
    """One data set's generated stand-in, in the genuine layout."""

    @property
    def dataset(self) -> str:
        """Name of the data set in the catalogue."""

    @property
    def folder(self) -> str:
        """The data set's own folder, below the folder that holds all data sets."""

    @property
    def classes(self) -> Sequence[str]:
        """The classes, in the data set's genuine spelling and order; one for everything in a segmentation set."""

    @property
    def images_per_class(self) -> int:
        """Number of images of each class, over all parts and domains."""

    @property
    def parts(self) -> Mapping[str, int]:
        """Images of each official part (train, val, test) in one domain, all classes together; empty without parts."""

    @property
    def domains(self) -> Sequence[str]:
        """The domains, in the data set's genuine spelling; empty where there is but one."""

    def files(self) -> Files:
        """Everything that belongs into the folder; pictures are painted as they are asked for."""

    def rows(self, columns: int) -> Iterable[tuple[str, Sequence[Image.Image]]]:
        """Up to `columns` pictures of each kind with a label, for a contact sheet."""

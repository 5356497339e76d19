"""Where each data set keeps an image: the genuine folder and file names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TypeAlias


@dataclass(frozen=True)
class Layout:
    """The genuine on-disk layout of one data set.

    Attributes:
        folder: the data set's own folder, below the folder that holds all data sets.
        image_path: class name and running number (from 0) -> path below `folder`; its suffix is the file format.
    """

    folder: str
    image_path: ImagePath


ImagePath: TypeAlias = Callable[[str, int], PurePosixPath]

UCM = Layout("UCMerced_LandUse", lambda name, index: PurePosixPath("Images", name, f"{name}{index:02d}.tif"))
AID = Layout("AID", lambda name, index: PurePosixPath(name, f"{name.lower()}_{index + 1}.jpg"))
OPTIMAL31 = Layout("OPTIMAL-31", lambda name, index: PurePosixPath(name, f"{name}({index + 1}).jpg"))
RESISC45 = Layout("NWPU-RESISC45", lambda name, index: PurePosixPath(name, f"{name}_{index + 1:03d}.jpg"))

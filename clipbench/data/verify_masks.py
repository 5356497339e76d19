"""Every mask of a data set laid on its image: those that cannot be read or do not fit, and those that are turned."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clipbench.data.decode import load_rgb
from clipbench.data.images import ImageSet
from clipbench.data.masks import Frame, blank_masks, foreground, frame
from clipbench.data.verify_images import Step
from clipbench.errors import UserError


@dataclass(frozen=True)
class Masks:
    """A sentence for each mask that cannot be used, and one on blank masks; the images that have an orientation tag."""

    faults: Sequence[str]
    turned: Sequence[str]
    blank: str


def laid(found: ImageSet, step: Step) -> Masks:
    """Lay every mask on its image as a run does, in the data set's order."""

    def one(index: int) -> tuple[list[str], bool, float | None]:
        lies, faults = _frame(found.root / found.files[index]), []
        joined: np.ndarray | None = None
        for name in found.masks[index]:
            try:
                drawn = _drawn(found.root / name, lies)
            except UserError as error:
                faults.append(str(error))
            else:
                joined = drawn if joined is None or drawn is None else joined | drawn
        share = None if joined is None else float(joined.mean())
        return faults, lies is not None and lies.turn is not None, share

    faults, turned, shares = [], [], []
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for index, (said, turns, share) in enumerate(pool.map(one, range(len(found.masks)))):
            step(len(found.masks[index]))
            faults += said
            turned += [found.files[index]] if turns else []
            shares += [] if share is None else [share]
    return Masks(faults, turned, blank_masks(np.asarray(shares)))


def _frame(path: Path) -> Frame | None:
    """None for an image that cannot be read, which is said where the images are opened."""
    try:
        return frame(path)
    except UserError:
        return None


def _drawn(mask: Path, lies: Frame | None) -> np.ndarray | None:
    """The mask's foreground on its image; None where the image cannot be read and the mask can."""
    if lies is None:
        load_rgb(mask)
        return None
    return foreground(mask, lies)

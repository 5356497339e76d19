"""Every mask of a data set laid on its image: those that cannot be read or do not fit, and those that are turned."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from clipbench.data.decode import load_rgb
from clipbench.data.images import ImageSet
from clipbench.data.masks import Frame, foreground, frame
from clipbench.data.verify_images import Step
from clipbench.errors import UserError


@dataclass(frozen=True)
class Masks:
    """A sentence for each mask that cannot be used, and the images with masks that an orientation tag turns."""

    faults: Sequence[str]
    turned: Sequence[str]


def laid(found: ImageSet, step: Step) -> Masks:
    """Lay every mask on its image as a run does, in the data set's order."""

    def one(index: int) -> tuple[list[str], bool]:
        lies = _frame(found.root / found.files[index])
        said = [_fault(found.root / name, lies) for name in found.masks[index]]
        return [fault for fault in said if fault], lies is not None and lies.turn is not None

    faults, turned = [], []
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for index, (said, turns) in enumerate(pool.map(one, range(len(found.masks)))):
            step(len(found.masks[index]))
            faults += said
            turned += [found.files[index]] if turns else []
    return Masks(faults, turned)


def _frame(path: Path) -> Frame | None:
    """None for an image that cannot be read, which is said where the images are opened."""
    try:
        return frame(path)
    except UserError:
        return None


def _fault(mask: Path, lies: Frame | None) -> str:
    try:
        _ = load_rgb(mask) if lies is None else foreground(mask, lies)
    except UserError as error:
        return str(error)
    return ""

"""What a segmentation run keeps for its contact sheet: a few test images, small, with mask and prediction.

The run writes it beside its record, so that the figure is drawn without the data set. No PyTorch here.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FEATURES = "features.safetensors"
"""Name of the file with test features before and after training, which a figure shows (``clipbench.plan.keep``)."""
SHEET = "sheet.npz"
"""Name of the file with the images of a contact sheet."""
ROWS = 8
"""Images that it holds at most."""
SIDE = 224
"""Longest side of an image in it, in pixels."""


@dataclass(frozen=True)
class Sheet:
    """Images ``[n, s, s, 3]`` (uint8), masks and predictions ``[n, s, s]`` (bool), names, and Dice in percent.

    They are spread evenly over the list of ``total`` test images: the same ones for every method on a split.
    """

    images: NDArray[np.uint8]
    masks: NDArray[np.bool_]
    predictions: NDArray[np.bool_]
    names: Sequence[str]
    dice: Sequence[float]
    total: int

    def to_bytes(self) -> bytes:
        """A compressed, pickle-free numpy archive."""
        buffer = io.BytesIO()
        np.savez_compressed(
            buffer,
            allow_pickle=False,
            images=self.images,
            masks=self.masks,
            predictions=self.predictions,
            names=np.asarray(self.names, dtype=np.str_),
            dice=np.asarray(self.dice, dtype=np.float64),
            total=np.asarray(self.total),
        )
        return buffer.getvalue()

    @classmethod
    def of(cls, content: bytes) -> Sheet:
        """Read back what ``to_bytes`` wrote."""
        with np.load(io.BytesIO(content), allow_pickle=False) as found:
            images, masks, predictions = (found[name] for name in ("images", "masks", "predictions"))
            names, dice = found["names"].tolist(), found["dice"].tolist()
            return cls(images, masks, predictions, names, dice, int(found["total"]))


def spread(total: int, count: int) -> list[int]:
    """At most ``count`` positions, evenly over a list of ``total``: the first and the last are among them."""
    if total <= count:
        return list(range(total))
    return [round(k * (total - 1) / max(count - 1, 1)) for k in range(count)]

"""The support set: what a method may look at once, before training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Support:
    """The training images of each replica: labels ``[R, n]``, and their features ``[R, n, D]`` by the frozen model.

    ``features`` computes them when they are asked for, in the test view (no augmentation).
    """

    labels: Tensor
    features: Callable[[], Tensor]
    classes: int

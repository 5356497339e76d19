"""The images of one job as its protocol views them: decoded once without chance, flipped or cropped for training."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

from clipbench.data.cache import decoded
from clipbench.data.images import ImageSet
from clipbench.engine.batches.crops import Crops
from clipbench.engine.batches.views import EpochPlan, Images
from clipbench.engine.context import Context
from clipbench.registry import Protocol


class JobImages:
    """Views of the images of ``images``, for a model with an ``image_size`` and a ``normalisation``."""

    def __init__(self, images: ImageSet, model: Any, protocol: Protocol, context: Context) -> None:
        self.set, self._model, self._protocol, self._context = images, model, protocol, context
        self._cropper: Crops | None = None
        self._decoded = cache(self._decode)

    @property
    def size(self) -> int:
        """Side of the network's inputs, in pixels."""
        return int(self._protocol.need("image_size"))

    @property
    def crops(self) -> bool:
        """Whether no two training views are alike."""
        return self._protocol.train_transform == "random-resized-crop"

    @property
    def flips(self) -> int:
        """How many training views an image has: 1, 2 or 4."""
        return 4 if self._protocol.vflip else 2 if self._protocol.hflip else 1

    def plain(self, used: Tensor) -> Images:
        """The images of ``used`` (any shape) in the test view, decoded once.

        A data set without official parts is decoded as a whole: its seeds' splits share the decoded images.
        """
        return self._view(used, str(self._protocol.need("test_transform")))

    def train_batches(self, used: Tensor, seeds: Sequence[int], epochs: Iterable[EpochPlan]) -> Iterator[Tensor]:
        """Normalised training images ``[R*B, 3, S, S]`` of ``used``, batch after batch."""
        if not self.crops:
            return self.flipped(used).train_batches(self._protocol, seeds, epochs)
        if self._cropper is None:
            mean, std = self._normalisation()
            self._cropper = Crops(
                self.set, self.size, self._protocol.need("interpolation"), mean, std, self._context.device
            )
        return self._cropper.train_batches(self._protocol, seeds, epochs)

    def flipped(self, used: Tensor) -> Images:
        """The images of ``used`` as training takes them before it flips."""
        return self._view(used, str(self._protocol.need("train_transform" if self.set.parts else "test_transform")))

    def _view(self, used: Tensor, transform: str) -> Images:
        whole = not self.set.parts and not self.crops
        return self._decoded(None if whole else tuple(torch.unique(used).tolist()), transform)

    def _decode(self, chosen: tuple[int, ...] | None, transform: str) -> Images:
        index = None if chosen is None else list(chosen)
        resampling = self._protocol.need("interpolation")
        pixels = decoded(self.set, self.size, resampling, self._context.say, transform=transform, indices=index)
        mean, std = self._normalisation()
        return Images(pixels, mean, std, self._context.device, None if index is None else torch.tensor(index))

    def _normalisation(self) -> tuple[Sequence[float], Sequence[float]]:
        mean, std = self._model.normalisation(self._protocol.need("normalisation"))
        return mean, std

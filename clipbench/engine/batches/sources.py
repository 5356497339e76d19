"""From a protocol to where its batches come from: decoded images, crops of the originals, or frozen features."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from clipbench.data.cache import decoded
from clipbench.data.images import ImageSet
from clipbench.engine.batches.crops import Crops
from clipbench.engine.batches.features import FeatureBank, Frozen
from clipbench.engine.batches.views import EpochPlan, Images
from clipbench.engine.loop import Parts, Source
from clipbench.engine.place import Workplace
from clipbench.engine.support import Support
from clipbench.engine.tasks.task import AnyTask, Task
from clipbench.registry import Protocol
from clipbench.registry.budget import budget


@dataclass(frozen=True)
class TwoParts:
    """Training images and test images that were decoded apart, as data sets with official parts have them."""

    train: Images
    test: Images

    def batch(self, index: Tensor) -> Tensor:
        """Normalised test images ``[B, 3, S, S]``."""
        return self.test.batch(index)

    def train_batches(self, protocol: Protocol, seeds: Sequence[int], epochs: Iterable[EpochPlan]) -> Iterator[Tensor]:
        """Normalised training images ``[R*B, 3, S, S]`` of every batch of the epochs."""
        return self.train.train_batches(protocol, seeds, epochs)


@dataclass(frozen=True)
class Decoder:
    """Makes the sources of one pass."""

    images: ImageSet
    task: AnyTask
    protocol: Protocol
    place: Workplace

    def source(self, parts: Parts) -> Source:
        """What the loop draws its batches from: features, where a frozen model sees views that repeat."""
        crops = self.protocol.train_transform == "random-resized-crop"
        if self.task.method.frozen and not (crops and self._trains(parts)):
            return self._bank(parts)
        if not self.images.parts and not crops:
            return self.test_view(None, self.protocol.test_transform)
        test = self.test_view(parts.test, self.protocol.test_transform)
        if crops:
            return Crops(self.images, self.size, self.protocol.interpolation or "bicubic", test)
        return TwoParts(self.test_view(parts.train, self.protocol.train_transform), test)

    def support(self, parts: Parts) -> Support:
        """The training images as a method may look at them: their labels, and features on demand."""

        def features() -> Tensor:
            self.task.to(self.place.device).eval()
            view = self.test_view(parts.train, self.protocol.test_transform)
            bank = FeatureBank().add(view, torch.unique(parts.train), self.frozen(), 1, _ignore)
            return bank.batch(parts.train.flatten()).view(*parts.train.shape, -1)

        return Support(parts.labels[parts.train], features, len(self.images.classes))

    def _trains(self, parts: Parts) -> bool:
        """Whether training images are looked at: zero-shot has none, or (held-out domains) no step that would."""
        return budget(self.protocol, parts.train.shape[1]).steps > 0

    @property
    def size(self) -> int:
        """Side of the network's inputs."""
        return self.protocol.image_size or int(self.task.encoder.image_size)

    def test_view(self, used: Tensor | None, transform: str | None) -> Images:
        """Images of ``used`` (any shape; None: all), decoded once by a transform without chance."""
        index = None if used is None else torch.unique(used)
        size, resampling = self.size, self.protocol.interpolation or "bicubic"
        chosen = None if index is None else index.tolist()
        pixels = decoded(
            self.images, size, resampling, self.place.tell, transform=transform or "resize", indices=chosen
        )
        mean, std = self.task.encoder.normalisation(self.protocol.normalisation or "backbone")
        return Images(pixels, mean, std, self.place.device, index)

    def frozen(self) -> Frozen:
        """The task's frozen features, in the protocol's precision."""
        precision, device, task = self.protocol.precision or "fp32", self.place.device, cast("Task", self.task)

        def encode(batch: Tensor) -> Tensor:
            return task.frozen_features(batch, device, precision)

        kind = f"{self.protocol.task} {self.protocol.pooling}"
        return Frozen(
            encode, f"{self.task.encoder.weights_sha256} {kind} {precision} {device.type} {torch.__version__}"
        )

    def _bank(self, parts: Parts) -> FeatureBank:
        """Features of every image that is used, in every view that can be drawn of it."""
        self.task.eval()
        views = 4 if self.protocol.vflip else 2 if self.protocol.hflip else 1
        advance, bank, frozen = _ignore, FeatureBank(), self.frozen()
        if not self.images.parts and self._trains(parts):
            used = torch.unique(torch.cat([parts.train.flatten(), parts.test.flatten()]))
            return bank.add(self.test_view(None, self.protocol.test_transform), used, frozen, views, advance)
        bank.add(self.test_view(parts.test, self.protocol.test_transform), torch.unique(parts.test), frozen, 1, advance)
        if not self._trains(parts):
            return bank
        train = self.test_view(parts.train, self.protocol.train_transform)
        return bank.add(train, torch.unique(parts.train), frozen, views, advance)


def _ignore(*_: object) -> None:
    """The bank's images are not part of the count that the progress bar shows."""

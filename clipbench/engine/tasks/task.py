"""A task: from inputs to logits, and who measures them. The method says what of it is trained, the protocol how."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from clipbench.data.images import ImageSet
from clipbench.engine.batches.features import FeatureBank
from clipbench.engine.device import autocast
from clipbench.engine.examiner import ByClass, Examiner
from clipbench.engine.loop import Parts, Source
from clipbench.errors import UserError
from clipbench.methods.base import Method
from clipbench.models.weights.sources import Sources
from clipbench.registry import Protocol

if TYPE_CHECKING:
    from clipbench.engine.batches.sources import Decoder

TASKS = {
    "linear-head": "clipbench.engine.tasks.linear_head:LinearHeadTask",
    "image-text": "clipbench.engine.tasks.image_text:ImageTextTask",
    "segmentation": "clipbench.engine.tasks.segmentation:SegmentationTask",
}


@dataclass(frozen=True)
class Setup:
    """What the loop needs of a task in place: the module to train, its batches, and who measures it."""

    model: nn.Module
    source: Source
    examiner: Examiner


class AnyTask(nn.Module):
    """What every task has, for R replicas whose rows follow each other.

    ``model`` is the pretrained part, which methods adapt; ``encoder`` tells its name, weights, image size and
    normalisation. A call maps what the setup's source gives to logits ``[R, B, ...]``.
    """

    model: nn.Module
    encoder: Any
    method: Method
    replicas: int

    def setup(self, decoder: Decoder, parts: Parts) -> Setup:
        """Go to the device, with the method in place, and say where the batches come from."""
        raise NotImplementedError

    def loss(self, logits: Tensor, truth: Tensor) -> Tensor:
        """Loss ``[R]`` of logits and truth ``[R, B, ...]``: the method's."""
        return self.method.loss(logits, truth)

    def start_epoch(self, seeds: Sequence[int], epoch: int) -> None:
        """Restart the random streams outside the model (a head's dropout)."""

    def check_size(self, side: int | None) -> None:
        """Raise ``UserError`` for images of a size that the model does not take."""
        if side != self.encoder.image_size:
            raise UserError(
                f"{self.encoder.name} takes {self.encoder.image_size} px images, the protocol says {side}; "
                f"a --backbone of another size brings its own, other sizes are not implemented."
            )


class Task(AnyTask):
    """A classification: images become features, and features logits."""

    def features(self, images: Tensor) -> Tensor:
        """Features ``[R*B, D]`` of normalised images ``[R*B, 3, S, S]``."""
        raise NotImplementedError

    def classify(self, features: Tensor) -> Tensor:
        """Logits ``[R, B, C]`` of features ``[R*B, D]``."""
        raise NotImplementedError

    def setup(self, decoder: Decoder, parts: Parts) -> Setup:
        """Features in place of images where the frozen model sees views that repeat."""
        self.method.begin(self, decoder.support(parts))
        self.to(decoder.place.device)
        source = decoder.source(parts)
        model = OnFeatures(self) if isinstance(source, FeatureBank) else self
        return Setup(model, source, ByClass(source, parts.labels, parts.known))

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``[R, B, C]`` of normalised images ``[R*B, 3, S, S]``."""
        return self.method.logits(self, self.features(images))

    def frozen_features(self, images: Tensor, device: torch.device, precision: str) -> Tensor:
        """Features ``[B, D]``, float32 and without gradient."""
        with torch.no_grad(), autocast(device, precision):
            return self.features(images).float()


class OnFeatures(nn.Module):
    """The rest of a task behind its features, for methods that leave the model frozen."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.task = task

    def forward(self, features: Tensor) -> Tensor:
        """Logits ``[R, B, C]`` of features ``[R*B, D]``."""
        return self.task.method.logits(self.task, features)


def make_task(protocol: Protocol, images: ImageSet, seeds: Sequence[int], sources: Sources) -> AnyTask:
    """The protocol's task with its pretrained model. Raises ``UserError`` for weights that cannot be had."""
    module, _, name = TASKS[protocol.task or ""].partition(":")
    task: AnyTask = getattr(import_module(module), name)(protocol, images, seeds, sources)
    task.check_size(protocol.image_size)
    return task

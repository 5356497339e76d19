"""A task: from images to features to logits. The method says what of it is trained, the protocol how."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from clipbench.data.images import ImageSet
from clipbench.engine.device import autocast
from clipbench.errors import UserError
from clipbench.methods.base import Method
from clipbench.models.sources import Sources
from clipbench.spec import Protocol

TASKS = {
    "linear-head": "clipbench.engine.linear_head:LinearHeadTask",
    "image-text": "clipbench.engine.image_text:ImageTextTask",
}


class Task(nn.Module):
    """What a batch of images becomes, for R replicas whose rows follow each other.

    ``model`` is the pretrained part, which methods adapt; ``encoder`` tells its name, weights, image size and
    normalisation.
    """

    model: nn.Module
    encoder: Any
    method: Method
    replicas: int

    def features(self, images: Tensor) -> Tensor:
        """Features ``[R*B, D]`` of normalised images ``[R*B, 3, S, S]``."""
        raise NotImplementedError

    def classify(self, features: Tensor) -> Tensor:
        """Logits ``[R, B, C]`` of features ``[R*B, D]``."""
        raise NotImplementedError

    def start_epoch(self, seeds: Sequence[int], epoch: int) -> None:
        """Restart the random streams outside the model (a head's dropout)."""

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


def make_task(protocol: Protocol, images: ImageSet, seeds: Sequence[int], sources: Sources) -> Task:
    """The protocol's task with its pretrained model. Raises ``UserError`` for weights that cannot be had."""
    module, _, name = TASKS[protocol.task or ""].partition(":")
    task: Task = getattr(import_module(module), name)(protocol, images, seeds, sources)
    if protocol.image_size != task.encoder.image_size:
        raise UserError(
            f"{task.encoder.name} takes {task.encoder.image_size} px images, the protocol says {protocol.image_size}; "
            f"a --backbone of another size brings its own, other sizes are not implemented."
        )
    return task

"""Two methods of one's own: `clipbench run fewshot --dataset-dir MY_IMAGES --method own_method:TextResidual`.

Run the command in this file's folder, or put that folder on PYTHONPATH; `--method` may be given several times. The rows
appear behind CLIP-DoRA's, trained by the recipe of that row above them but for what `protocol` changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from clipbench.engine.support import Support
from torch import Tensor, nn
from torch.nn import functional

from clipbench.engine.tasks.task import Task
from clipbench.methods.base import Method
from clipbench.registry import Protocol


class TextResidual(Method):
    """A vector per class is learned and added to the frozen prompt's feature."""

    label = "Text residual"
    replicable = True  # several seeds share one pass: the first axis of every parameter is the seed
    frozen = True  # nothing in CLIP itself is trained
    protocol: ClassVar = {"lr": 2e-3}  # of the recipe that it takes over

    def attach(self, model: nn.Module, protocol: Protocol, seeds: Sequence[int]) -> None:
        """Freeze CLIP; remember how many seeds train together."""
        super().attach(model, protocol, seeds)
        self.replicas = len(seeds)

    def begin(self, task: Task, support: Support) -> None:
        """Start at zero, that is at zero-shot CLIP. What is registered here is what is trained."""
        self.residual = nn.Parameter(torch.zeros(self.replicas, support.classes, task.encoder.width))

    def logits(self, task: Task, features: Tensor) -> Tensor:
        """Logits ``[R, B, C]`` of normalised image features ``[R*B, E]``; the loss is cross-entropy by default."""
        text = functional.normalize(task.text_features() + 0.5 * self.residual, dim=-1)
        return task.cosine(features, text)


class TrainedCache(Method):
    """Zero-shot logits, plus those of the nearest training images, whose features are trained on."""

    label = "Trained cache"
    replicable = True
    frozen = True
    protocol: ClassVar = {"lr": 1e-3}

    def begin(self, task: Task, support: Support) -> None:  # noqa: ARG002
        """Keys ``[R, n, E]`` are the training images' features; values ``[R, n, C]`` their labels, one-hot."""
        self.keys = nn.Parameter(support.features())
        self.register_buffer("values", functional.one_hot(support.labels, support.classes).float())

    def logits(self, task: Task, features: Tensor) -> Tensor:
        """A training image as near as can be weighs as much as one point of the logits."""
        queries = features.view(len(self.keys), -1, features.shape[-1])
        near = torch.exp(5.5 * (queries @ self.keys.mT - 1.0))
        return task.classify(features) + near @ self.values

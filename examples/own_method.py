"""Two methods of one's own: `clipbench run fewshot --dataset-dir MY_IMAGES --method own_method:TextResidual`.

Run the command in this file's folder, or put that folder on PYTHONPATH; `--method` may be given several times. The rows
appear behind CLIP-DoRA's, trained by the recipe of that row above them but for what `protocol` changes.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from clipbench.methods.base import Method, Setting


class TextResidual(Method):
    """A vector per class is learned and added to the frozen prompt's feature."""

    label = "Text residual"
    seed_axis = True  # several seeds share one pass: the first axis of every parameter is the seed
    protocol: ClassVar = {"lr": 2e-3}  # of the recipe that it takes over

    def setup(self, setting: Setting) -> None:
        """Start at zero, that is at zero-shot CLIP. What is registered here is what is trained."""
        super().setup(setting)
        seeds, classes = len(setting.seeds), len(setting.classes)
        self.residual = nn.Parameter(torch.zeros(seeds, classes, setting.model.width))

    def logits(self, features: Tensor) -> Tensor:
        """Logits ``[R, B, C]`` of image features ``[R*B, D]``; the loss is cross-entropy by default."""
        prompts = functional.normalize(self.class_features().float(), dim=-1)
        return self.cosine(features, prompts + 0.5 * self.residual)


class TrainedCache(Method):
    """Zero-shot logits, plus those of the nearest training images, whose features are trained on."""

    label = "Trained cache"
    seed_axis = True
    protocol: ClassVar = {"lr": 1e-3}

    def setup(self, setting: Setting) -> None:
        """Keys ``[R, n, D]`` are the training images' features; values ``[R, n, C]`` their labels, one-hot."""
        super().setup(setting)
        support = setting.support()
        self.keys = nn.Parameter(functional.normalize(support.features, dim=-1))
        labels = functional.one_hot(support.labels, len(setting.classes)).float()
        self.register_buffer("values", labels, persistent=False)

    def logits(self, features: Tensor) -> Tensor:
        """A training image as near as can be weighs as much as one point of the logits."""
        queries = functional.normalize(features.float(), dim=-1).view(len(self.keys), -1, features.shape[-1])
        near = torch.exp(5.5 * (queries @ self.keys.mT - 1.0))
        return super().logits(features) + near @ self.values

"""The linear-head task: cross-entropy on a linear classifier over pooled image features (LoRA-CLIP sec. II-B)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from clipbench.engine.streams import stream
from clipbench.models.backbone import Backbone
from clipbench.spec import Protocol


class LinearHead(nn.Module):
    """One head per replica: weight ``[R, C, D]``, bias ``[R, C]``. Rows are grouped by replica."""

    def __init__(self, seeds: Sequence[int], classes: int, width: int, protocol: Protocol) -> None:
        super().__init__()
        drawn = [_draw(seed, classes, width, protocol) for seed in seeds]
        self.weight = nn.Parameter(torch.stack([weight for weight, _ in drawn]))
        self.bias = nn.Parameter(torch.stack([bias for _, bias in drawn])) if protocol.head_bias else None
        self._dropout = protocol.head_dropout or 0.0
        self._generators: list[torch.Generator] = []

    def start_epoch(self, seeds: Sequence[int], epoch: int) -> None:
        """Restart each replica's dropout stream."""
        self._generators = [stream(seed, "head-dropout", epoch) for seed in seeds]

    def forward(self, features: Tensor) -> Tensor:
        """Logits ``[R, B, C]`` of features ``[R*B, D]``, in float32 under autocast too.

        With bf16's eight bits, logits of dozens of classes would tie, and the lower class number would win.
        """
        replicas, _, width = self.weight.shape
        with torch.autocast(features.device.type, enabled=False):
            grouped = self._dropped(features.float().view(replicas, -1, width))
            logits = torch.bmm(grouped, self.weight.transpose(1, 2))
            return logits if self.bias is None else logits + self.bias.unsqueeze(1)

    def _dropped(self, grouped: Tensor) -> Tensor:
        if not self.training or self._dropout == 0.0:
            return grouped
        kept = [torch.rand(grouped.shape[1:], generator=g) >= self._dropout for g in self._generators]
        return grouped * torch.stack(kept).to(grouped.device) / (1.0 - self._dropout)


class LinearHeadTask(nn.Module):
    """A backbone under one head per replica."""

    def __init__(self, backbone: Backbone, seeds: Sequence[int], classes: int, protocol: Protocol) -> None:
        super().__init__()
        self.tower = backbone.module
        self.head = LinearHead(seeds, classes, backbone.width, protocol)
        self._backbone = backbone
        self._pooling = protocol.pooling or "patch-mean"

    def features(self, images: Tensor) -> Tensor:
        """Pooled features ``[B, D]`` of normalised images ``[B, 3, S, S]``."""
        return self._backbone.features(images, self._pooling)

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``[R, B, C]`` of images ``[R*B, 3, S, S]``."""
        logits: Tensor = self.head(self.features(images))
        return logits


def replica_losses(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy of each replica ``[R]`` from logits ``[R, B, C]`` and labels ``[R, B]``.

    Their sum is what is differentiated: each replica's parameters then get the gradient of their own loss.
    """
    flat = functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none")
    return flat.view(labels.shape).mean(dim=1)


def _draw(seed: int, classes: int, width: int, protocol: Protocol) -> tuple[Tensor, Tensor]:
    generator = stream(seed, "head")
    bound = 1.0 / math.sqrt(width)
    weight, bias = torch.zeros(classes, width), torch.zeros(classes)
    if protocol.head_init == "normal-0.01":
        weight.normal_(0.0, 0.01, generator=generator)
    elif protocol.head_init != "zeros":
        weight.uniform_(-bound, bound, generator=generator)
        bias.uniform_(-bound, bound, generator=generator)
    return weight, bias

"""The linear-head task: cross-entropy on a linear classifier over pooled image features (LoRA-CLIP sec. II-B)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from clipbench.data.images import ImageSet
from clipbench.engine.random import stream
from clipbench.engine.tasks.task import Task
from clipbench.models.load import load_backbone
from clipbench.models.transfer import sent
from clipbench.models.weights.sources import Sources
from clipbench.registry import Protocol


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
        return grouped * sent(torch.stack(kept), grouped.device) / (1.0 - self._dropout)


class LinearHeadTask(Task):
    """A backbone under one head per replica."""

    def __init__(self, protocol: Protocol, images: ImageSet, seeds: Sequence[int], sources: Sources) -> None:
        super().__init__()
        self.encoder = load_backbone(protocol.backbone or "", protocol.weights or "", sources)
        self.model, self.replicas = self.encoder.module, len(seeds)
        self.head = LinearHead(seeds, len(images.classes), self.encoder.width, protocol)
        self._pooling = protocol.pooling or "patch-mean"

    def features(self, images: Tensor) -> Tensor:
        """Pooled features ``[R*B, D]`` of normalised images ``[R*B, 3, S, S]``."""
        pooled: Tensor = self.encoder.features(images, self._pooling)
        return pooled

    def classify(self, features: Tensor) -> Tensor:
        """Logits ``[R, B, C]`` of features ``[R*B, D]``."""
        logits: Tensor = self.head(features)
        return logits

    def start_epoch(self, seeds: Sequence[int], epoch: int) -> None:
        """Restart each replica's stream of the head's dropout."""
        self.head.start_epoch(seeds, epoch)


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

"""The linear head over pooled image features, one per seed (LoRA-CLIP sec. II-B)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from clipbench.engine.random import stream
from clipbench.models.transfer import sent
from clipbench.registry import Protocol


class LinearHead(nn.Module):
    """One head per seed: weight ``[R, C, D]``, bias ``[R, C]``. Rows of features are grouped by seed."""

    def __init__(self, seeds: Sequence[int], classes: int, width: int, protocol: Protocol) -> None:
        super().__init__()
        initial = [_initial(seed, classes, width, protocol.need("head_init")) for seed in seeds]
        self.weight = nn.Parameter(torch.stack([weight for weight, _ in initial]))
        self.bias = nn.Parameter(torch.stack([bias for _, bias in initial])) if protocol.need("head_bias") else None
        self._dropout = float(protocol.need("head_dropout"))
        self._generators: list[torch.Generator] = []

    def start_epoch(self, seeds: Sequence[int], epoch: int) -> None:
        """Restart each seed's dropout stream."""
        self._generators = [stream(seed, "head-dropout", epoch) for seed in seeds]

    def forward(self, features: Tensor) -> Tensor:
        """Logits ``[R, B, C]`` of features ``[R*B, D]``, in float32 under autocast too.

        With bf16's eight bits, logits of dozens of classes would tie, and the lower class number would win.
        """
        seeds, _, width = self.weight.shape
        with torch.autocast(features.device.type, enabled=False):
            grouped = self._dropped(features.float().view(seeds, -1, width))
            logits = torch.bmm(grouped, self.weight.transpose(1, 2))
            return logits if self.bias is None else logits + self.bias.unsqueeze(1)

    def _dropped(self, grouped: Tensor) -> Tensor:
        if not self.training or self._dropout == 0.0:
            return grouped
        kept = [torch.rand(grouped.shape[1:], generator=g) >= self._dropout for g in self._generators]
        return grouped * sent(torch.stack(kept), grouped.device) / (1.0 - self._dropout)


def _initial(seed: int, classes: int, width: int, how: str) -> tuple[Tensor, Tensor]:
    """Weight ``[C, D]`` and bias ``[C]``; ``torch-linear`` is what ``nn.Linear`` starts from."""
    generator = stream(seed, "head")
    bound = 1.0 / math.sqrt(width)
    weight, bias = torch.zeros(classes, width), torch.zeros(classes)
    if how == "normal-0.01":
        weight.normal_(0.0, 0.01, generator=generator)
    elif how != "zeros":
        weight.uniform_(-bound, bound, generator=generator)
        bias.uniform_(-bound, bound, generator=generator)
    return weight, bias

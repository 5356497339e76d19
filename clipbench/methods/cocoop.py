"""CoCoOp: a small network moves CoOp's context for each image (Zhou et al., CVPR 2022; KaiyangZhou/CoOp ff61507)."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from clipbench.methods.base import Setting
from clipbench.methods.coop import CoOp

_REDUCTION = 16
"""Width of the joint space over that of the meta-net's hidden layer (trainers/cocoop.py:94-98)."""
_TOKENS_AT_ONCE = 32768
"""Prompt tokens, over all images and runs, that are encoded together: every image has prompts of its own."""


class CoCoOp(CoOp):
    """The meta-net's output for an image is added to every context vector; each image meets its own class features."""

    prompts_per_image: ClassVar[bool] = True

    def setup(self, setting: Setting) -> None:
        """Freeze the model; register the context ``[R, M, Dt]`` and the meta-net."""
        super().setup(setting)
        hidden = setting.model.width // _REDUCTION
        generators = [setting.stream("meta-net", run) for run in range(len(setting.seeds))]
        self.linear1 = RunsLinear(setting.model.width, hidden, generators)
        self.linear2 = RunsLinear(hidden, setting.model.text_width, generators)

    def shift(self, images: Tensor) -> Tensor:
        """What the meta-net adds to the context, ``[R, B, Dt]``, for normalised image features ``[R, B, D]``."""
        moved: Tensor = self.linear2(self.linear1(images).relu())
        return moved

    def logits(self, features: Tensor) -> Tensor:
        """Logits ``[R, B, C]`` of features ``[R*B, D]``: a few images at a time, computed again for the gradient."""
        images = functional.normalize(features.float(), dim=-1).view(len(self.context), -1, features.shape[-1])
        shift = self.shift(images)
        size = max(_TOKENS_AT_ONCE // (len(images) * self.prompts().ids.numel()), 1)
        pieces = list(zip(torch.split(images, size, dim=1), torch.split(shift, size, dim=1), strict=True))
        if len(pieces) == 1 or not torch.is_grad_enabled():
            return torch.cat([self._logits(*piece) for piece in pieces], dim=1)
        again = [checkpoint(self._logits, *piece, use_reentrant=False) for piece in pieces]
        return torch.cat(again, dim=1)

    def _logits(self, images: Tensor, shift: Tensor) -> Tensor:
        """Logits ``[R, b, C]`` of images ``[R, b, D]`` whose contexts move by ``[R, b, Dt]``."""
        runs, count, _ = images.shape
        context = (self.context[:, None] + shift[:, :, None]).flatten(0, 1)
        classes = self.setting.model.encode_text(self.prompts(), self.embedded(context), replicas=runs * count)
        return self.cosine(images.flatten(0, 1), classes).view(runs, count, -1)


class RunsLinear(nn.Module):
    """One linear layer per run, ``[R, B, I] -> [R, B, O]``, each started as PyTorch starts its own."""

    def __init__(self, inputs: int, outputs: int, generators: list[torch.Generator]) -> None:
        super().__init__()
        bound = 1.0 / math.sqrt(inputs)

        def drawn(*shape: int) -> nn.Parameter:
            each = [torch.empty(shape).uniform_(-bound, bound, generator=g) for g in generators]
            return nn.Parameter(torch.stack(each))

        self.weight, self.bias = drawn(outputs, inputs), drawn(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """The layer of each run on its own rows."""
        return torch.baddbmm(self.bias.unsqueeze(1), x, self.weight.mT)

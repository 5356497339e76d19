"""LoRA-CLIP's linear head met by the class names' text features, which its conclusion asks for.

The head is on the image features of the joint space, where the text features are; the adapters are LoRA-CLIP's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from clipbench.errors import UserError
from clipbench.methods.base import Setting
from clipbench.methods.low_rank import LoRA
from clipbench.models.image_text import ImageText
from clipbench.registry.field import Field


class TextHead(LoRA):
    """``W f + b`` of the un-normalised image feature f, for each seed.

    W starts as PyTorch draws it (as in the paper); or as the normalised text features times one factor, so that the
    first predictions are those of zero-shot CLIP; or the drawn head is added to the scaled cosine with the prompts.

    Attributes:
        weight: ``[R, C, D]``.
        bias: ``[R, C]``.
    """

    fields: ClassVar[Sequence[Field]] = (
        Field(
            "text_in_head",
            str,
            "the class names' text features beside the linear head: left out, its start, or added to its logits",
            words=("none", "start", "joined"),
        ),
    )

    def setup(self, setting: Setting) -> None:
        """LoRA's adapters, and the head. Raises ``UserError`` for a model that has no text tower."""
        if not isinstance(setting.model, ImageText):
            raise UserError(
                "the method text-head needs a model with an image and a text tower, and this run has an image tower "
                "alone: its task must be image-text, as in lora-clip/multimodal."
            )
        super().setup(setting)
        self._how = setting.protocol.need("text_in_head")
        bound, shape = 1.0 / math.sqrt(setting.model.width), (len(setting.classes), setting.model.width)
        streams = [setting.stream("head", run) for run in range(len(setting.seeds))]
        weight = torch.stack([torch.empty(shape).uniform_(-bound, bound, generator=g) for g in streams])
        bias = torch.stack([torch.empty(shape[:1]).uniform_(-bound, bound, generator=g) for g in streams])
        self.weight, self.bias = nn.Parameter(weight), nn.Parameter(bias)
        if self._how == "start":
            self._start_from_text()

    def logits(self, features: Tensor) -> Tensor:
        """Logits ``[R, B, C]``, float32, of features ``[R*B, D]``."""
        runs, _, width = self.weight.shape
        with torch.autocast(features.device.type, enabled=False):
            grouped = features.float().view(runs, -1, width)
            found = torch.baddbmm(self.bias.unsqueeze(1), grouped, self.weight.transpose(1, 2))
        return found + self.cosine(features, self.class_features()) if self._how == "joined" else found

    @torch.no_grad()
    def _start_from_text(self) -> None:
        """``W = s t / |f|`` with the mean norm of a run's training features: one factor changes no prediction."""
        text = functional.normalize(self.encode_classes().float(), dim=-1).cpu()
        norms = self.setting.support().features.float().norm(dim=-1).mean(dim=1).cpu()
        self.weight.copy_(torch.as_tensor(self.scale()).cpu() * text / norms[:, None, None])
        self.bias.zero_()

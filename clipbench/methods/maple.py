"""MaPLe (Khattak et al., CVPR 2023): learned text tokens, and image tokens that are linear maps of them.

[muzairkhattak/multimodal-prompt-learning 69bce21 trainers/maple.py:84-176, clip/model.py:283-331, 444-470]
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from clipbench.methods.base import Setting
from clipbench.methods.clip_adapter import drawn_as_linear
from clipbench.methods.deep_prompts import CONTEXT_DTYPE, CONTEXT_TOKENS, PROMPT_DEPTH, DeepPrompts
from clipbench.registry.field import Field


class MaPLe(DeepPrompts):
    """Trained are the text tokens, and a map from the text tower's width to the image tower's for each block.

    Attributes:
        weight: Of the map of the first block's tokens, ``[R, Dv, Dt]``; ``bias`` ``[R, Dv]``.
        deep_weight: Of the later blocks' maps, ``[R, J - 1, Dv, Dt]``; ``deep_bias`` ``[R, J - 1, Dv]``. They all
            start alike: the official code copies one layer.
    """

    fields: ClassVar[tuple[Field, ...]] = (CONTEXT_TOKENS, PROMPT_DEPTH, CONTEXT_DTYPE)

    def setup(self, setting: Setting) -> None:
        """Put the text tokens in, draw the maps as ``nn.Linear`` starts."""
        super().setup(setting)
        text, image, device = setting.model.text_width, setting.model.image_width, self.embedded.device
        first, later = [], []
        for run in range(len(setting.seeds)):
            stream = setting.stream("prompt maps", run)
            # The bias is drawn as another column: both are uniform within one over the root of the inputs.
            first.append(drawn_as_linear(image, text + 1, stream, inputs=text))
            later.append(drawn_as_linear(image, text + 1, stream, inputs=text))
        maps, deep = torch.stack(first).to(device), torch.stack(later).to(device)
        self.weight = nn.Parameter(maps[..., :-1].to(self.kept_in()).clone())
        self.bias = nn.Parameter(maps[..., -1].to(self.kept_in()).clone())
        blocks = self.deep.shape[1]
        self.deep_weight = nn.Parameter(deep[:, None, :, :-1].expand(-1, blocks, -1, -1).clone())
        self.deep_bias = nn.Parameter(deep[:, None, :, -1].expand(-1, blocks, -1).clone())

    def image_tokens(self) -> Mapping[int, Tensor]:
        """The text tokens through their maps, ``[R, T, Dv]`` by block."""
        kind = self.embedded.dtype
        weight, bias, context = (value.to(kind) for value in (self.weight, self.bias, self.context))
        first = torch.baddbmm(bias.unsqueeze(1), context, weight.transpose(1, 2))
        later = torch.matmul(self.deep, self.deep_weight.transpose(2, 3)) + self.deep_bias.unsqueeze(2)
        return {0: first, **{layer + 1: later[:, layer] for layer in range(later.shape[1])}}

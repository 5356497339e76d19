"""CLIP-Adapter (Gao et al., IJCV 2024): two small layers on the image feature, mixed with the feature itself.

``v = r A(f) + (1 - r) f`` with ``A(f) = relu(W2 relu(W1 f))``; only the visual adapter was released, and it ends in a
second ReLU [gaopengcuhk/CLIP-Adapter 08d07f8 clip_adapter.py:55-67, 100-115].
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from clipbench.methods.base import Method, Setting
from clipbench.registry.field import Field


class CLIPAdapter(Method):
    """Trained are ``down`` ``[R, D/q, D]`` and ``up`` ``[R, D, D/q]``, without biases."""

    seed_axis: ClassVar[bool] = True
    fields: ClassVar[tuple[Field, ...]] = (
        Field("adapter_ratio", float, "share of the adapter in the image feature", low=0.0, high=1.0),
        Field("adapter_reduction", int, "how many times narrower the adapter's hidden layer is", low=1),
    )

    def setup(self, setting: Setting) -> None:
        """Draw each run's two layers as ``nn.Linear`` starts."""
        super().setup(setting)
        width = setting.model.width
        hidden = width // int(setting.protocol.need("adapter_reduction"))
        down, up = [], []
        for run in range(len(setting.seeds)):
            stream = setting.stream("clip-adapter", run)
            down.append(drawn_as_linear(hidden, width, stream))
            up.append(drawn_as_linear(width, hidden, stream))
        self.down, self.up = nn.Parameter(torch.stack(down)), nn.Parameter(torch.stack(up))

    def logits(self, features: Tensor) -> Tensor:
        """Scaled cosines ``[R, B, C]`` of the mixed features with the prompts."""
        return self.cosine(self.adapted(features), self.class_features())

    def adapted(self, features: Tensor) -> Tensor:
        """Mixed features ``[R*B, D]``; the mixture is of un-normalised ones."""
        ratio: float = self.setting.protocol.need("adapter_ratio")
        with torch.autocast(features.device.type, enabled=False):
            plain = features.float().view(len(self.down), -1, features.shape[-1])
            hidden = torch.bmm(plain, self.down.transpose(1, 2)).relu()
            adapted = torch.bmm(hidden, self.up.transpose(1, 2)).relu()
            return (ratio * adapted + (1.0 - ratio) * plain).flatten(0, 1)


def drawn_as_linear(rows: int, columns: int, stream: torch.Generator, inputs: int = 0) -> Tensor:
    """A weight ``[rows, columns]`` as ``nn.Linear`` draws it: uniform within one over the root of its ``inputs``.

    ``inputs`` is the number of columns where it is not given; a bias may be drawn as one column more.
    """
    bound = 1.0 / math.sqrt(inputs or columns)
    return torch.empty(rows, columns).uniform_(-bound, bound, generator=stream)

"""The enhanced attention module of Zhao et al. (GRSL 18(11), 2021), as their code has it (nets/resnet_v1.py:20-140)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from clipbench.models.resnet.pooled import PooledPair

_REDUCTION = 16


class EnhancedAttention(nn.Module):
    """``sigmoid(channel * spatial)``, a gate ``[N, C, H, W]`` of a map ``[N, C, H, W]``.

    The channel branch mixes the average and the maximum of each channel, then two layers without biases, a batch norm
    between them. The spatial one halves the map with two dilated separable convolutions side by side, and brings it
    back bilinearly. (The code fixes the sizes for images of 256 px; here they are the map's.)
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = max(channels // _REDUCTION, 1)
        self.pair = PooledPair(("mean", "max"))
        self.channel = nn.Sequential(
            nn.Linear(channels, hidden, bias=False),
            nn.BatchNorm1d(hidden),
            nn.ReLU(inplace=True),
            nn.Linear(hidden, channels, bias=False),
        )
        self.near = _separable(channels, channels, dilation=2, stride=2)
        self.far = _separable(channels, channels, dilation=4, stride=2)
        self.joined = _separable(2 * channels, channels, dilation=1, stride=1)

    def forward(self, x: Tensor) -> Tensor:
        """``[N, C, H, W]`` to ``[N, C, H, W]``."""
        channel = self.channel(self.pair(x))[..., None, None]
        small = self.joined(torch.cat([self.near(x), self.far(x)], dim=1))
        spatial = functional.interpolate(small, size=x.shape[-2:], mode="bilinear", align_corners=True)
        gate: Tensor = (channel * spatial).sigmoid()
        return gate


def _separable(inputs: int, outputs: int, *, dilation: int, stride: int) -> nn.Sequential:
    """A depthwise 3x3 convolution, a batch norm, and a 1x1 convolution (GluonCV's xception.SeparableConv2d)."""
    return nn.Sequential(
        nn.Conv2d(inputs, inputs, 3, stride, dilation, dilation, groups=inputs, bias=False),
        nn.BatchNorm2d(inputs),
        nn.Conv2d(inputs, outputs, 1, bias=False),
    )

"""The local attention of MBLANet (Chen et al., TIP 2021), as its released code has it (ELSAM.py:97-222)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from clipbench.models.resnet.pooled import PooledPair

_REDUCTION, _CELL = 2, 2


class LocalAttention(nn.Module):
    """``sigmoid(channel * spatial)``, a gate ``[N, C, H, W]`` of a map ``[N, C, H, W]``; both factors are sigmoids.

    The channel branch mixes two poolings of each channel: both are the maximum in the released code, one of them under
    the name of an average; ``pools`` names them. The spatial one pools cells of 2 x 2, takes the maximum and the mean
    over the channels, and a dilated 3x3 convolution; its map comes back by the nearest cell.
    """

    def __init__(self, channels: int, pools: Sequence[str] = ("max", "max")) -> None:
        super().__init__()
        hidden = channels // _REDUCTION
        self.pair = PooledPair(pools)
        self.channel = nn.Sequential(nn.Linear(channels, hidden), nn.ReLU(inplace=True), nn.Linear(hidden, channels))
        self.spatial = nn.Sequential(
            nn.Conv2d(2, 1, 3, padding=3, dilation=3, bias=False), nn.BatchNorm2d(1, momentum=0.01)
        )

    def forward(self, x: Tensor) -> Tensor:
        """``[N, C, H, W]`` to ``[N, C, H, W]``."""
        channel = self.channel(self.pair(x)).sigmoid()[..., None, None]
        cell = min(_CELL, *x.shape[-2:])  # a map of one position has no cells of four
        highest = functional.max_pool2d(x, cell).amax(dim=1, keepdim=True)
        mean = functional.avg_pool2d(x, cell).mean(dim=1, keepdim=True)
        small = self.spatial(torch.cat([highest, mean], dim=1))
        spatial = functional.interpolate(small, size=x.shape[-2:], mode="nearest").sigmoid()
        gate: Tensor = (channel * spatial).sigmoid()
        return gate

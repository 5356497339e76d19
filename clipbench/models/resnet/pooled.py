"""Two poolings of every channel, mixed by one convolution."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class PooledPair(nn.Module):
    """Maps ``[N, C, H, W]`` to ``[N, C]``: a weighted sum, with a bias, of two poolings (``mean`` or ``max``)."""

    def __init__(self, pools: Sequence[str]) -> None:
        super().__init__()
        self.pools = tuple(pools)
        self.mix = nn.Conv2d(1, 1, kernel_size=(2, 1))

    def forward(self, x: Tensor) -> Tensor:
        """``[N, C, H, W]`` to ``[N, C]``."""
        pooled = [x.mean(dim=(2, 3)) if pool == "mean" else x.amax(dim=(2, 3)) for pool in self.pools]
        mixed: Tensor = self.mix(torch.stack(pooled, dim=1)[:, None])
        return mixed.flatten(1)

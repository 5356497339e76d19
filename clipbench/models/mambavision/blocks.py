"""MambaVision's parts (Hatamizadeh and Kautz, 2024), under the parameter names of the official checkpoints.

Written from the paper and the released code's structure (NVlabs/MambaVision, mambavision/models/mamba_vision.py), so
that the official weights fit strictly; two of its habits are kept because the weights were trained with them: the step
size's bias counts twice (in ``dt_proj`` and again before the softplus), and the mixers' convolutions have no bias.
Stochastic depth is left out: adaptation here has none.
"""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from clipbench.models.mambavision.scan import selective_scan

_STATES, _KERNEL = 8, 3


class Stem(nn.Module):
    """Two 3 x 3 convolutions of stride 2: images ``[B, 3, S, S]`` to maps ``[B, width, S/4, S/4]``."""

    def __init__(self, inner: int, width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in ((3, inner), (inner, width)):
            layers += [nn.Conv2d(inputs, outputs, 3, 2, 1, bias=False), nn.BatchNorm2d(outputs, eps=1e-4), nn.ReLU()]
        self.conv_down = nn.Sequential(*layers)

    def forward(self, images: Tensor) -> Tensor:
        """The first feature map."""
        return cast(Tensor, self.conv_down(images))


class Downsample(nn.Module):
    """Half the side, twice the width."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.reduction = nn.Sequential(nn.Conv2d(width, 2 * width, 3, 2, 1, bias=False))

    def forward(self, maps: Tensor) -> Tensor:
        """Maps ``[B, C, H, W]`` to ``[B, 2C, H/2, W/2]``."""
        return cast(Tensor, self.reduction(maps))


class ConvBlock(nn.Module):
    """The residual block of the first two levels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width)
        self.conv2, self.norm2 = nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width)

    def forward(self, maps: Tensor) -> Tensor:
        """Maps ``[B, C, H, W]`` to the same shape."""
        inner = functional.gelu(self.norm1(self.conv1(maps)), approximate="tanh")
        return maps + cast(Tensor, self.norm2(self.conv2(inner)))


class Mixer(nn.Module):
    """The state-space mixer: one half of the channels is scanned, the other is only convolved; both are joined."""

    def __init__(self, width: int) -> None:
        super().__init__()
        half, self.rank = width // 2, math.ceil(width / 16)
        self.in_proj = nn.Linear(width, width, bias=False)
        self.x_proj = nn.Linear(half, self.rank + 2 * _STATES, bias=False)
        self.dt_proj = nn.Linear(self.rank, half)
        self.A_log = nn.Parameter(torch.arange(1.0, _STATES + 1).log().repeat(half, 1))
        self.D = nn.Parameter(torch.ones(half))
        self.out_proj = nn.Linear(width, width, bias=False)
        self.conv1d_x = nn.Conv1d(half, half, _KERNEL, padding="same", groups=half, bias=False)
        self.conv1d_z = nn.Conv1d(half, half, _KERNEL, padding="same", groups=half, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens ``[B, L, C]`` to the same shape."""
        x, z = self.in_proj(tokens).mT.chunk(2, dim=1)
        x, z = functional.silu(self.conv1d_x(x)), functional.silu(self.conv1d_z(z))
        step, b, c = self.x_proj(x.mT).split([self.rank, _STATES, _STATES], dim=-1)
        delta = functional.softplus(self.dt_proj(step).float() + self.dt_proj.bias.float())
        scanned = selective_scan(x, delta.mT, -self.A_log.float().exp(), b.mT, c.mT, self.D)
        return cast(Tensor, self.out_proj(torch.cat([scanned.to(z.dtype), z], dim=1).mT))


class Attention(nn.Module):
    """Softmax attention with one fused projection for queries, keys and values."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens ``[B, L, C]`` to the same shape."""
        query, key, value = self.qkv(tokens).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(query, key, value)
        return cast(Tensor, self.proj(mixed.transpose(1, 2).flatten(2)))


class Mlp(nn.Module):
    """Two linear layers around a GELU."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens ``[B, L, C]`` to the same shape."""
        return cast(Tensor, self.fc2(functional.gelu(self.fc1(tokens))))


class TokenBlock(nn.Module):
    """The block of the last two levels; ``scale`` starts the per-channel gains of its branches (None: no gains)."""

    def __init__(self, width: int, heads: int | None, scale: float | None) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mixer: nn.Module = Mixer(width) if heads is None else Attention(width, heads)
        self.mlp = Mlp(width)
        gains = [None if scale is None else nn.Parameter(torch.full((width,), scale)) for _ in range(2)]
        self.gamma_1, self.gamma_2 = gains

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens ``[B, L, C]`` to the same shape."""
        tokens = tokens + _gained(self.mixer(self.norm1(tokens)), self.gamma_1)
        return tokens + _gained(self.mlp(self.norm2(tokens)), self.gamma_2)


def _gained(branch: Tensor, gain: nn.Parameter | None) -> Tensor:
    return branch if gain is None else branch * gain

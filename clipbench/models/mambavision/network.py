"""MambaVision, whole: sizes T, S, B and L of the ImageNet-1k and -21k checkpoints, without their classifier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from clipbench.models.mambavision.blocks import ConvBlock, Downsample, Stem, TokenBlock


@dataclass(frozen=True)
class Size:
    """Width of the first level and of the stem, blocks and heads per level, windows of the last two levels.

    ``scale`` starts the branches' gains; the small models have none.
    """

    width: int
    stem: int
    depths: Sequence[int]
    heads: Sequence[int]
    windows: tuple[int, int] = (14, 7)
    scale: float | None = None
    image_size: int = 224

    @property
    def features(self) -> int:
        """Width of the last level."""
        return 8 * self.width


SIZES = {
    "mambavision_tiny": Size(80, 32, (1, 3, 8, 4), (2, 4, 8, 16)),
    "mambavision_small": Size(96, 64, (3, 3, 7, 5), (2, 4, 8, 16)),
    "mambavision_base": Size(128, 64, (3, 3, 10, 5), (2, 4, 8, 16), scale=1e-5),
    "mambavision_large": Size(196, 64, (3, 3, 10, 5), (4, 8, 16, 32), scale=1e-5),
}


class Level(nn.Module):
    """Blocks of one resolution; token blocks work in square windows, state-space mixers first and attention after."""

    def __init__(self, size: Size, index: int) -> None:
        super().__init__()
        width, depth = size.width * 2**index, size.depths[index]
        self.window = size.windows[index - 2] if index >= 2 else None
        mixers = (depth + 1) // 2
        self.blocks = nn.Sequential(
            *(
                ConvBlock(width)
                if self.window is None
                else TokenBlock(width, None if block < mixers else size.heads[index], size.scale)
                for block in range(depth)
            )
        )
        self.downsample = Downsample(width) if index < 3 else None

    def forward(self, maps: Tensor) -> Tensor:
        """Maps ``[B, C, H, W]`` to the next level's ``[B, 2C, H/2, W/2]``; the last level keeps the shape."""
        maps = self.blocks(maps) if self.window is None else self._in_windows(maps, self.window)
        return maps if self.downsample is None else self.downsample(maps)

    def _in_windows(self, maps: Tensor, side: int) -> Tensor:
        """Tokens of each window ``[B * windows, side * side, C]`` through the blocks; a ragged edge is padded."""
        high, wide = maps.shape[2:]
        padded = functional.pad(maps, (0, -wide % side, 0, -high % side))
        images, width = padded.shape[:2]
        rows, columns = padded.shape[2] // side, padded.shape[3] // side
        cut = padded.reshape(images, width, rows, side, columns, side)
        tokens: Tensor = self.blocks(cut.permute(0, 2, 4, 3, 5, 1).reshape(-1, side * side, width))
        put = tokens.view(images, rows, columns, side, side, width).permute(0, 5, 1, 3, 2, 4)
        return put.reshape(padded.shape)[:, :, :high, :wide]


class MambaVision(nn.Module):
    """The tower. Its batch norms always use the statistics of their pretraining.

    A frozen model must not move them; and with the statistics of a batch, the replicas of one pass would mix.
    """

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.patch_embed = Stem(size.stem, size.width)
        self.levels = nn.Sequential(*(Level(size, index) for index in range(4)))
        self.norm = nn.BatchNorm2d(size.features)
        self.apply(_initialise)

    def maps(self, images: Tensor) -> Tensor:
        """The last level's maps ``[B, 8C, S/32, S/32]`` of images ``[B, 3, S, S]``, before the last norm."""
        return cast(Tensor, self.levels(self.patch_embed(images)))

    def forward(self, images: Tensor) -> Tensor:
        """Pooled features ``[B, 8C]``: what the official classifier stands on."""
        return cast(Tensor, self.norm(self.maps(images))).mean(dim=(2, 3))

    def train(self, mode: bool = True) -> Self:
        """As ever, but for the batch norms."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.training = False
        return self


def _initialise(module: nn.Module) -> None:
    """The official draw of the linear layers; everything else starts as PyTorch has it."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def classified(tower: MambaVision, size: Size, classes: int = 1000) -> int:
    """Parameters of the tower with a classifier, as the official model cards count them."""
    return sum(p.numel() for p in tower.parameters()) + (size.features + 1) * classes


def on_meta(size: Size) -> MambaVision:
    """The architecture without memory, for counting."""
    with torch.device("meta"):
        return MambaVision(size)

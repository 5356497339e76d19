"""Views of normalised images that a method makes itself: affine warps, colour jitter, PCA noise; mixing weights."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

_GREY = (0.299, 0.587, 0.114)
_EIGENVALUES = (55.46, 4.794, 1.148)
_EIGENVECTORS = ((-0.5675, 0.7192, 0.4009), (-0.5808, -0.0045, -0.8140), (-0.5836, -0.6948, 0.4203))
"""Of the colours of ImageNet's pixels from 0 to 255 (Krizhevsky et al., NeurIPS 2012; MXNet's image library)."""


def uniform(count: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    """``[count]`` numbers between ``low`` and ``high``."""
    return torch.rand(count, generator=generator) * (high - low) + low


def warped(images: Tensor, angle: Tensor, scale: Tensor, shear: Tensor, black: Tensor) -> Tensor:
    """Images ``[N, 3, S, S]`` turned, scaled and sheared along x about their centre, by the nearest pixel.

    As torchvision's ``affine``: degrees ``[N]``, clockwise. What comes from outside is ``black`` ``[1, 3, 1, 1]``.
    """
    turn, tilt = angle.deg2rad(), shear.deg2rad().tan()
    cos, sin, zero = turn.cos(), turn.sin(), torch.zeros_like(turn)
    rows = [
        torch.stack([cos - sin * tilt, cos * tilt + sin, zero], dim=1),
        torch.stack([-sin, cos, zero], dim=1),
    ]
    inverse = (torch.stack(rows, dim=1) / scale.view(-1, 1, 1)).to(images)
    grid = functional.affine_grid(inverse, list(images.shape), align_corners=False)
    return functional.grid_sample(images - black, grid, mode="nearest", align_corners=False) + black


def jittered(pixels: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Pixels ``[N, 3, S, S]`` from 0 to 1 of another brightness, contrast and saturation, each by ``1 ± strength``."""
    grey = torch.tensor(_GREY).to(pixels).view(1, 3, 1, 1)
    for what in ("brightness", "contrast", "saturation"):
        factor = uniform(len(pixels), 1 - strength, 1 + strength, generator).to(pixels).view(-1, 1, 1, 1)
        lightness = (pixels * grey).sum(dim=1, keepdim=True)
        other = {"brightness": lightness * 0, "contrast": lightness.mean(dim=(2, 3), keepdim=True)}.get(what, lightness)
        pixels = (factor * pixels + (1 - factor) * other).clamp(0, 1)
    return pixels


def relit(pixels: Tensor, std: float, generator: torch.Generator) -> Tensor:
    """Pixels ``[N, 3, S, S]`` from 0 to 1, each image shifted along the principal colours by normal draws."""
    draws = torch.randn(len(pixels), 3, generator=generator) * std
    shift = (draws * torch.tensor(_EIGENVALUES)) @ torch.tensor(_EIGENVECTORS).T / 255
    return (pixels + shift.to(pixels).view(-1, 3, 1, 1)).clamp(0, 1)


def mixing_weight(alpha: float, generator: torch.Generator) -> float:
    """A draw of Beta(alpha, alpha), for mixup (Zhang et al., ICLR 2018)."""
    seed = int(torch.randint(1 << 62, (), generator=generator))
    return float(np.random.default_rng(seed).beta(alpha, alpha))


def per_channel(values: Sequence[float], like: Tensor) -> Tensor:
    """``[1, 3, 1, 1]``."""
    return torch.tensor(values).to(like).view(1, 3, 1, 1)


def centre(images: Tensor, side: int) -> Tensor:
    """The middle ``[N, 3, side, side]`` of images ``[N, 3, S, S]``."""
    first = math.floor((images.shape[-1] - side) / 2 + 0.5)
    return images[..., first : first + side, first : first + side]

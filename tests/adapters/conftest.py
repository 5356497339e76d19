"""Small models with random weights, and the real ViT-B/32."""

from __future__ import annotations

import copy
from collections.abc import Callable

import open_clip
import pytest
import torch
from open_clip.model import CLIP
from torch import Tensor, nn

torch.set_num_threads(1)


def perturb(model: nn.Module, seed: int = 0) -> nn.Module:
    """Give every trained parameter a value that training could have given it."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator).to(parameter))
    return model


def relative(a: Tensor, b: Tensor) -> float:
    """Largest difference over the largest value."""
    return ((a - b).abs().max() / b.abs().max().clamp_min(1e-30)).item()


@pytest.fixture(scope="session")
def tiny_template() -> CLIP:
    torch.manual_seed(0)
    vision = {"layers": 2, "width": 32, "head_width": 8, "image_size": 16, "patch_size": 8}
    text = {"layers": 3, "width": 24, "heads": 3, "context_length": 12, "vocab_size": 64}
    return CLIP(16, vision, text, quick_gelu=True).eval()  # type: ignore[no-any-return]


@pytest.fixture
def tiny(tiny_template: CLIP) -> Callable[[], CLIP]:
    """A maker of equal small CLIPs."""
    return lambda: copy.deepcopy(tiny_template)


@pytest.fixture(scope="session")
def vit_b32() -> CLIP:
    """ViT-B-32-quickgelu, random weights; copy it before changing it."""
    torch.manual_seed(0)
    return open_clip.create_model("ViT-B-32-quickgelu", pretrained=None).eval()


def images(rows: int, size: int = 16, seed: int = 1) -> Tensor:
    return torch.randn(rows, 3, size, size, generator=torch.Generator().manual_seed(seed))


def tokens(rows: int, length: int = 12, vocabulary: int = 64, seed: int = 2) -> Tensor:
    return torch.randint(1, vocabulary, (rows, length), generator=torch.Generator().manual_seed(seed))

"""Models with random weights: a small CLIP, and the real ViT-B/32."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import open_clip
import pytest
import torch
from open_clip.model import CLIP

from clipbench.adapters import remove
from clipbench.adapters.state import find_state

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_template() -> CLIP:
    torch.manual_seed(0)
    vision = {"layers": 2, "width": 32, "head_width": 8, "image_size": 16, "patch_size": 8}
    text = {"layers": 3, "width": 24, "heads": 3, "context_length": 12, "vocab_size": 64}
    return CLIP(16, vision, text, quick_gelu=True).eval()


@pytest.fixture
def tiny(tiny_template: CLIP) -> Callable[[], Any]:
    """A maker of equal small CLIPs."""
    return lambda: copy.deepcopy(tiny_template)


@pytest.fixture(scope="session")
def vit_b32_shared() -> CLIP:
    torch.manual_seed(0)
    return open_clip.create_model("ViT-B-32-quickgelu", pretrained=None).eval()


@pytest.fixture
def vit_b32(vit_b32_shared: CLIP) -> Iterator[Any]:
    """ViT-B-32-quickgelu with random weights; what a test adapts is taken out again."""
    yield vit_b32_shared
    if find_state(vit_b32_shared) is not None:
        remove(vit_b32_shared)

"""A CLIPSeg of a few thousand parameters, and inputs for it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

TOWER = {"hidden_size": 24, "intermediate_size": 48, "num_attention_heads": 2}
PROMPTS = ("polyp", "", "one small pink circle polyp", "polyp")


def small_clipseg(seed: int = 0, **text: Any) -> Any:
    """Five vision blocks, of which the decoder reads three and skips the last; 32 px positions, patches of 16."""
    transformers = pytest.importorskip("transformers")
    config = transformers.CLIPSegConfig(
        vision_config={**TOWER, "num_hidden_layers": 5, "image_size": 32, "patch_size": 16},
        text_config={**TOWER, "num_hidden_layers": 2, **text},
        projection_dim=12, reduce_dim=8, extract_layers=[0, 2, 3], decoder_num_attention_heads=2,
        decoder_intermediate_size=16, use_complex_transposed_convolution=True, initializer_factor=0.3,
    )  # fmt: skip
    torch.manual_seed(seed)
    model: nn.Module = transformers.CLIPSegForImageSegmentation(config)
    return model.eval()


def images(rows: int = 4, size: int = 48, seed: int = 0) -> Tensor:
    return torch.randn(rows, 3, size, size, generator=torch.Generator().manual_seed(seed))

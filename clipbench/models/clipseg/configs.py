"""CLIPSeg models by name: their sizes, as keyword arguments of transformers' ``CLIPSegConfig``. No PyTorch here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clipbench.errors import UserError, near

TINY_CLIPSEG = "clipbench-random-clipseg"
"""A CLIPSeg of four blocks, 96 px, for smoke runs. Its weights are random: a Dice with it means nothing."""

SMALL_CLIPSEG = "clipbench-small-clipseg"
"""A CLIPSeg that a CPU can train on real images. No pretrained weights exist for it."""

Sizes = Mapping[str, Any]


@dataclass(frozen=True)
class Architecture:
    """One row: what transformers needs to build it, and the side of the images that it is used with.

    ``image_size`` need not be that of the position embeddings, which are interpolated: rd64 has 14 x 14 positions
    (224 px) and is trained and tested at 352 px, by its authors and by medvlsm.
    """

    sizes: Sizes
    image_size: int
    hub: str | None = None

    @property
    def patch(self) -> int:
        """Side of a patch in pixels."""
        return int(self.sizes["vision_config"]["patch_size"])


def _tower(width: int, heads: int, blocks: int, **more: int) -> dict[str, int]:
    return {
        "hidden_size": width,
        "intermediate_size": 4 * width,
        "num_attention_heads": heads,
        "num_hidden_layers": blocks,
        **more,
    }


# The decoder reads the outputs of the blocks extract_layers, counted from 0. As in rd64, the last block is not read,
# and patches are of 16 px: the refined head enlarges by (patch // 4)^2, which restores the image's size for 16 alone.
ARCHITECTURES: Mapping[str, Architecture] = {
    "clipseg-rd64-refined": Architecture(
        {
            "vision_config": _tower(768, 12, 12, image_size=224, patch_size=16),
            "text_config": _tower(512, 8, 12),
            "projection_dim": 512,
            "extract_layers": [3, 6, 9],
            "reduce_dim": 64,
            "decoder_num_attention_heads": 4,
            "decoder_intermediate_size": 2048,
            "use_complex_transposed_convolution": True,
        },
        image_size=352,
        hub="CIDAS/clipseg-rd64-refined",
    ),
    TINY_CLIPSEG: Architecture(
        {
            "vision_config": _tower(48, 3, 4, image_size=64, patch_size=16),
            "text_config": _tower(32, 2, 2),
            "projection_dim": 32,
            "extract_layers": [0, 1, 2],
            "reduce_dim": 16,
            "decoder_num_attention_heads": 2,
            "decoder_intermediate_size": 64,
            "use_complex_transposed_convolution": True,
        },
        image_size=96,
    ),
    SMALL_CLIPSEG: Architecture(
        {
            "vision_config": _tower(192, 3, 6, image_size=224, patch_size=16),
            "text_config": _tower(128, 2, 2),
            "projection_dim": 128,
            "extract_layers": [1, 3, 4],
            "reduce_dim": 64,
            "decoder_num_attention_heads": 4,
            "decoder_intermediate_size": 256,
            "use_complex_transposed_convolution": True,
        },
        image_size=224,
    ),
}


def architecture(name: str) -> Architecture:
    """The row of that name. Raises ``UserError`` that lists the names."""
    if name not in ARCHITECTURES:
        raise UserError(
            f"no CLIPSeg is called {name!r}; there are {', '.join(ARCHITECTURES)}.{near(name, ARCHITECTURES)}"
        )
    return ARCHITECTURES[name]

"""Small forms of the image towers that open_clip takes from timm, for smoke runs: the classes are timm's own.

Importing this registers them with timm, under the names that the configurations beside it use.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import timm
from timm.models import register_model
from timm.models.vision_transformer import VisionTransformer
from timm.models.vision_transformer_hybrid import ConvStem, HybridEmbed
from torch import nn

_SMALL: dict[str, Any] = {"img_size": 64, "embed_dim": 48, "depth": 2, "num_heads": 3}
_PASSED_ON = ("num_classes", "global_pool", "drop_path_rate")


def _mobileclip(**options: Any) -> nn.Module:
    """timm's ``vit_base_mci_224``, whose stem of convolutions has the width of its tokens."""
    stem = ConvStem(
        channels=(12, 12, 48), stride=(4, 2, 2), kernel_size=(4, 2, 2), padding=0, in_chans=3, act_layer=nn.GELU
    )
    embed: Any = partial(HybridEmbed, backbone=stem, proj=False)
    made: nn.Module = VisionTransformer(embed_layer=embed, patch_size=1, no_embed_class=True, **_SMALL, **options)
    return made


TOWERS: dict[str, Callable[..., nn.Module]] = {
    "clipbench_siglip": partial(timm.create_model, "vit_base_patch16_siglip_224", **_SMALL),
    "clipbench_eva02": partial(timm.create_model, "eva02_base_patch16_clip_224", **_SMALL, ref_feat_shape=(4, 4)),
    "clipbench_mobileclip": _mobileclip,
    "clipbench_convnext": partial(timm.create_model, "convnext_base", depths=(1, 1, 1, 1), dims=(12, 24, 36, 48)),
    "clipbench_pe_core": partial(timm.create_model, "vit_pe_core_base_patch16_224", **_SMALL, ref_feat_shape=(4, 4)),
}
"""The small towers by the names that they have in timm's registry."""


def _register(name: str, make: Callable[..., nn.Module]) -> None:
    def tower(pretrained: bool = False, **options: Any) -> nn.Module:  # noqa: ARG001
        return make(**{key: value for key, value in options.items() if key in _PASSED_ON})

    tower.__name__ = name
    register_model(tower)


for _name, _make in TOWERS.items():
    _register(_name, _make)

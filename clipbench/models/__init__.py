"""Backbones by name: open_clip models (or a config file), timm ViTs, MambaVision, tiny models of the smoke profile."""

from __future__ import annotations

import re
from pathlib import Path

from clipbench.models.clipseg.configs import ARCHITECTURES, architecture
from clipbench.models.model_config import model_config, side

TINY = "clipbench-tiny"
"""The embedded model: a genuine open_clip CLIP of a few hundred thousand parameters, for smoke runs."""

TINY_VIT = "clipbench-random-vit"
"""A timm ViT of three blocks, 64 px, for smoke runs. Its weights are random: an accuracy with it means nothing."""

TINY_MAMBA = "clipbench-random-mambavision"
"""A MambaVision of six blocks, 64 px, for smoke runs. Its weights are random: an accuracy with it means nothing."""

TINY_RESNET = "clipbench-random-resnet"
"""A ResNet of four narrow blocks, 64 px, for smoke runs. Its weights are random: an accuracy with it means nothing."""

_FAMILIES = {
    TINY: "tiny",
    TINY_VIT: "timm",
    TINY_MAMBA: "mambavision",
    **dict.fromkeys(ARCHITECTURES, "clipseg"),
}
_PREFIXES = {
    "vit_": "timm",
    "mambavision_": "mambavision",
    "clipseg-": "clipseg",
    "resnet": "resnet",
    TINY_RESNET: "resnet",
}
"""Beginnings of the names of timm's ViTs, MambaVisions, CLIPSegs and ResNets; every other name is open_clip's."""
_SIDES = {
    TINY_VIT: 64,
    TINY_MAMBA: 64,
    TINY_RESNET: 64,
}
"""Sides of the images of models whose names do not say them; behind a ResNet's name may stand more."""
_USUAL_SIDE = 224


def family(backbone: str) -> str:
    """Which module serves that backbone: ``tiny``, ``open_clip``, ``timm``, ``resnet``..."""
    if backbone in _FAMILIES:
        return _FAMILIES[backbone]
    return next((name for prefix, name in _PREFIXES.items() if backbone.startswith(prefix)), "open_clip")


def image_size(backbone: str, config: Path | None = None) -> int:
    """Side of the images that a model takes, without loading PyTorch.

    A CLIP's is read from its config, a timm ViT's stands at the end of its name (``vit_base_patch16_384``); a
    MambaVision takes 224; a CLIPSeg takes any multiple of its patches, and a ResNet any size: this is what they are
    used with.
    Raises ``UserError`` for an unknown name, with near ones, or a file that is no open_clip config.
    """
    if family(backbone) == "clipseg":
        return architecture(backbone).image_size
    for name, side_of_images in _SIDES.items():
        if backbone.startswith(name):
            return side_of_images
    if family(backbone) in ("timm", "mambavision", "resnet"):
        named = re.search(r"_(\d+)$", backbone)
        return int(named[1]) if named else _USUAL_SIDE
    return side(model_config(backbone, config))

"""A protocol's backbone, from whichever module serves its name."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

import torch

from clipbench.models import family
from clipbench.models.image_tower import ImageTower
from clipbench.models.weights.files import check_features
from clipbench.models.weights.sources import Sources

_MODULES: Mapping[str, str] = {
    "tiny": "clipbench.models.clip",
    "open_clip": "clipbench.models.clip",
    "timm": "clipbench.models.timm_vit",
    "mambavision": "clipbench.models.mambavision",
}
_NO_FILES = Sources()


def load_backbone(backbone: str, weights: str, sources: Sources = _NO_FILES) -> ImageTower:
    """The image tower, on the CPU in float32. Raises ``UserError`` for what its module cannot load."""
    module = import_module(_MODULES[family(backbone)])
    loaded: ImageTower = module.load_backbone(backbone, weights, sources)
    if sources.weights is not None:
        with torch.no_grad():
            tokens = loaded.norm(loaded.tokens(torch.zeros(1, 3, loaded.image_size, loaded.image_size)))
        check_features({"image": tokens}, sources.weights)
    return loaded


def load_image_tower(backbone: str, weights: str, pooling: str, sources: Sources = _NO_FILES) -> ImageTower:
    """The image tower with the protocol's pooling. Raises ``UserError`` for a pooling that it does not have."""
    return load_backbone(backbone, weights, sources).pooled_by(pooling)

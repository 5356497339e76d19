"""A protocol's backbone, from whichever module serves its name."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

import torch

from clipbench.models import family
from clipbench.models.image_tower import ImageTower
from clipbench.models.shared import copy_of
from clipbench.models.weights.files import check_features
from clipbench.models.weights.sources import Sources

_MODULES: Mapping[str, str] = {
    "tiny": "clipbench.models.clip",
    "open_clip": "clipbench.models.clip",
    "timm": "clipbench.models.timm_vit",
    "mambavision": "clipbench.models.mambavision",
    "resnet": "clipbench.models.resnet",
}
_NO_FILES = Sources()


def load_backbone(backbone: str, weights: str, sources: Sources = _NO_FILES) -> ImageTower:
    """The image tower, on the CPU in float32. Raises ``UserError`` for what its module cannot load.

    Jobs of one process that ask for the same weights share the reading and hashing of the file.
    """
    key = ("image tower", backbone, weights, sources.state())
    tower: ImageTower = copy_of(key, lambda: _loaded(backbone, weights, sources))
    return tower


def load_image_tower(backbone: str, weights: str, pooling: str, sources: Sources = _NO_FILES) -> ImageTower:
    """The image tower with the protocol's pooling. Raises ``UserError`` for a pooling that it does not have."""
    return load_backbone(backbone, weights, sources).pooled_by(pooling)


def _loaded(backbone: str, weights: str, sources: Sources) -> ImageTower:
    module = import_module(_MODULES[family(backbone)])
    tower: ImageTower = module.load_backbone(backbone, weights, sources)
    if sources.weights is not None:
        with torch.no_grad():
            tokens = tower.norm(tower.tokens(torch.zeros(1, 3, tower.image_size, tower.image_size)))
        check_features({"image": tokens}, sources.weights)
    return tower

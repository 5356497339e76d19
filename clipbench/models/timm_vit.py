"""ImageNet ViTs by their timm names (LoRA-CLIP, Table II): pretrained by tag, random, or from a file."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import timm
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from clipbench.errors import MissingWeightsError, UserError, near
from clipbench.models import TINY_VIT
from clipbench.models.image_tower import ImageTower, weights_digest
from clipbench.models.weights.files import load_file_into
from clipbench.models.weights.hub import fetching
from clipbench.models.weights.sources import Sources

_NO_FILES = Sources()
_TINY = {"img_size": 64, "patch_size": 8, "embed_dim": 48, "depth": 3, "num_heads": 3}
"""The smoke profile's ViT: 64 tokens and a class token, some 100,000 parameters."""


def load_backbone(backbone: str, weights: str, sources: Sources = _NO_FILES, *, seed: int = 0) -> ImageTower:
    """A timm ``VisionTransformer`` without its classifier, on the CPU in float32.

    ``weights`` is a timm tag (``augreg_in21k_ft_in1k``), ``random`` (drawn from ``seed``), or the digest of
    ``sources.weights``. Mean and std are those that timm states for the tag; for other weights, for its default tag.
    Raises ``UserError`` for a name or tag that timm does not know, failed downloads, files that do not fit.
    """
    model = _model(backbone, weights, sources.weights, seed)
    _check_tower(backbone, model)
    return ImageTower(
        module=model,
        tokens=partial(_tokens, model),
        norm=model.norm,
        prefix=model.num_prefix_tokens,
        width=model.embed_dim,
        image_size=model.patch_embed.img_size[0],
        mean=tuple(model.default_cfg["mean"]),
        std=tuple(model.default_cfg["std"]),
        name=backbone,
        weights=weights,
        weights_sha256=weights_digest(model),
    )


def _model(backbone: str, weights: str, path: Path | None, seed: int) -> Any:
    if backbone == TINY_VIT:
        if weights != "random":
            raise UserError(f"{TINY_VIT} exists with random weights only, not {weights!r}; pass --weights random.")
        return _random("vit_tiny_patch16_224", seed, **_TINY)
    _check_name(backbone)
    if path is not None:
        model = _random(backbone, seed)
        load_file_into(model, path, backbone)
        return model
    return _random(backbone, seed) if weights == "random" else _pretrained(backbone, weights)


def _random(name: str, seed: int, **sizes: int) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return timm.create_model(name, pretrained=False, num_classes=0, **sizes)


def _pretrained(name: str, tag: str) -> Any:
    """timm's own download, from its cache where it is there."""
    tags = [full.partition(".")[2] for full in timm.list_pretrained(f"{name}.*")]
    if tag not in tags:
        raise MissingWeightsError(
            f"timm has no weights {tag!r} for {name}; it has {', '.join(tags) or 'none'}. "
            f"--weights FILE takes a local file."
        )
    with fetching(f"the weights {tag!r} of {name}"):
        return timm.create_model(f"{name}.{tag}", pretrained=True, num_classes=0)


def _check_name(name: str) -> None:
    if not timm.is_model(name):
        raise UserError(f"timm knows no model {name!r}.{near(name, timm.list_models('vit_*'), 3)}")


def _check_tower(name: str, model: nn.Module) -> None:
    """The poolings need timm's plain ViT, with its last norm on the tokens (some variants norm the pooled feature)."""
    if not isinstance(model, VisionTransformer) or isinstance(model.norm, nn.Identity):
        raise UserError(f"{name} is no plain vision transformer with a norm on its tokens; LoRA-CLIP's tasks need one.")


def _tokens(model: Any, images: Tensor) -> Tensor:
    """The last block's tokens ``[B, N, D]``, before the norm: what timm's ``forward_features`` does up to there."""
    tokens = model.norm_pre(model.patch_drop(model._pos_embed(model.patch_embed(images))))
    found: Tensor = model.blocks(tokens)
    return found

"""The vision tower of an open_clip model, by name or config file, with pretrained, random or local weights."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import torch
from torch import nn

from clipbench.errors import MissingWeightsError, UserError, near
from clipbench.models import TINY, family
from clipbench.models.image_tower import CLIP_MEAN, CLIP_STD, ImageTower, weights_digest
from clipbench.models.weights.files import check_file, check_finite, fault, read_tensors
from clipbench.models.weights.hub import fetching
from clipbench.models.weights.openai import NUMBERS, check_activation, from_torchscript, is_torchscript
from clipbench.models.weights.sources import Sources

_NO_FILES = Sources()


def load_backbone(backbone: str, weights: str, sources: Sources = _NO_FILES, *, seed: int = 0) -> ImageTower:
    """The vision tower, on the CPU in float32, without the projection into the joint space (the head does not use it).

    ``weights`` is an open_clip tag (``openai``), ``embedded`` (the tiny model's), ``random`` (drawn from ``seed``), or
    the digest of ``sources.weights``. Raises ``UserError`` for unknown names, failed downloads, files that do not fit.
    """
    visual = load_model(backbone, weights, sources, seed=seed).visual
    _check_tower(backbone, visual)
    visual.proj = None
    mean, std = getattr(visual, "image_mean", None), getattr(visual, "image_std", None)
    size = visual.image_size[0] if isinstance(visual.image_size, tuple) else visual.image_size
    return ImageTower(
        module=visual,
        tokens=lambda images: visual.transformer(visual._embeds(images)),
        norm=visual.ln_post,
        prefix=1,
        width=visual.transformer.width,
        image_size=size,
        mean=tuple(mean or CLIP_MEAN),
        std=tuple(std or CLIP_STD),
        name=backbone,
        weights=weights,
        weights_sha256=weights_digest(visual),
    )


def load_model(backbone: str, weights: str, sources: Sources = _NO_FILES, *, seed: int = 0) -> Any:
    """The whole open_clip model, both towers, as :func:`load_backbone` finds it."""
    return _tiny(weights) if family(backbone) == "tiny" else _open_clip(backbone, weights, sources, seed)


def _tiny(weights: str) -> Any:
    if weights != "embedded":
        raise UserError(f"{TINY} has its embedded weights only, not {weights!r}; leave --weights out.")
    from clipbench.models.tiny import load_tiny

    return load_tiny()


def _open_clip(backbone: str, weights: str, sources: Sources, seed: int) -> Any:
    import open_clip

    name = _configured(backbone, sources.config)
    if name not in open_clip.list_models():
        raise UserError(f"open_clip knows no model {name!r}.{near(name, open_clip.list_models(), 3)}")
    if sources.weights is not None:
        return _with_file(open_clip, name, sources.weights)
    if weights == "random":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return _bare(open_clip, name)
    return _pretrained(open_clip, name, weights)


def _pretrained(open_clip: Any, name: str, tag: str) -> Any:
    """open_clip's own download, once the tag is known to fit the architecture's activation."""
    if tag not in open_clip.list_pretrained_tags_by_model(name):
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(name)) or "none"
        raise MissingWeightsError(
            f"open_clip has no weights {tag!r} for {name}; it has {tags}. --weights FILE takes a local file."
        )
    if open_clip.get_pretrained_cfg(name, tag).get("quick_gelu", False) and not _quick_gelu(open_clip, name):
        raise MissingWeightsError(
            f"the weights {tag!r} were trained with QuickGELU, but {name} has plain GELU: its features would be wrong. "
            f"Use --backbone {name}-quickgelu."
        )
    with fetching(f"{tag!r} of {name}"):
        return open_clip.create_model(name, pretrained=tag)


def _with_file(open_clip: Any, name: str, path: Path) -> Any:
    """Weights from a safetensors file, a torch file read with ``weights_only``, or one of OpenAI's own archives."""
    check_file(path)
    model = _bare(open_clip, name)
    try:
        _fill(open_clip, model, name, path)
    except MissingWeightsError:
        raise
    except Exception as error:
        raise MissingWeightsError(
            f"the weights file {path} does not hold a {name}: {fault(error)}. "
            f"Check that it is whole and that --backbone names its architecture."
        ) from error
    return model.float()


def _fill(open_clip: Any, model: Any, name: str, path: Path) -> None:
    """Load a file strictly, once its activation and numbers are known to be sound."""
    script = is_torchscript(path)
    tensors = from_torchscript(path) if script else read_tensors(path)
    quick, twin = _quick_gelu(open_clip, name), f"{name}-quickgelu" in open_clip.list_models()
    check_activation(path, name, tensors, quick_gelu=quick, twin=twin)
    check_finite(tensors)
    if script or any(number in tensors for number in NUMBERS):
        model.load_state_dict({key: value for key, value in tensors.items() if key not in NUMBERS}, strict=True)
    else:
        open_clip.load_checkpoint(model, str(path), strict=True, weights_only=True)


def _bare(open_clip: Any, name: str) -> Any:
    """The architecture with random weights, without open_clip's warning about them: here they are meant."""
    logging.disable(logging.WARNING)
    try:
        return open_clip.create_model(name, pretrained=None)
    finally:
        logging.disable(logging.NOTSET)


def _configured(backbone: str, config: Path | None) -> str:
    """The open_clip name; a config file is registered under its stem first."""
    if config is None:
        return backbone
    import open_clip

    try:
        json.loads(config.read_text(encoding="utf-8"))["vision_cfg"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{config} is no open_clip config (embed_dim, vision_cfg, text_cfg): {error}") from error
    open_clip.add_model_config(config)
    return config.stem


def _quick_gelu(open_clip: Any, name: str) -> bool:
    config = open_clip.get_model_config(name) or {}
    return bool(config.get("quick_gelu", False))


def _check_tower(backbone: str, visual: nn.Module) -> None:
    if not hasattr(visual, "transformer") or not hasattr(visual, "_embeds"):
        raise UserError(
            f"{backbone} has no plain vision transformer (open_clip's own ViT); LoRA-CLIP's tasks need one."
        )

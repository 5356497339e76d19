"""The models of open_clip, by name or config file, with pretrained, random or local weights."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from clipbench.errors import MissingWeightsError, UserError
from clipbench.models import TINY, family
from clipbench.models.image_tower import CLIP_MEAN, CLIP_STD, ImageTower, weights_digest
from clipbench.models.model_config import model_config, side
from clipbench.models.preprocessing import mean_and_std
from clipbench.models.weights.hub import fetching
from clipbench.models.weights.into_open_clip import fill
from clipbench.models.weights.sources import Sources

_NO_FILES = Sources()
_MOST_PARAMETERS = 30_000_000_000
"""open_clip's largest model has some five thousand millions."""


def load_backbone(backbone: str, weights: str, sources: Sources = _NO_FILES, *, seed: int = 0) -> ImageTower:
    """The vision tower, on the CPU in float32, without the projection into the joint space (the head does not use it).

    ``weights`` is an open_clip tag (``openai``), ``embedded`` (the tiny model's), ``random`` (drawn from ``seed``), or
    the digest of ``sources.weights``. Raises ``UserError`` for unknown names, failed downloads, files that do not fit.
    """
    config = model_config(backbone, sources.config)
    model = load_model(backbone, weights, sources, seed=seed)
    visual, note = model.visual, getattr(model, "note", "")
    _check_tower(backbone, visual)
    visual.proj = None
    return ImageTower(
        module=visual,
        tokens=partial(_tokens, visual),
        norm=visual.ln_post,
        prefix=1,
        width=visual.transformer.width,
        image_size=side(config),
        mean=tuple(getattr(visual, "image_mean", None) or CLIP_MEAN),
        std=tuple(getattr(visual, "image_std", None) or CLIP_STD),
        name=backbone,
        weights=weights,
        weights_sha256=weights_digest(visual),
        note=note,
    )


def load_model(backbone: str, weights: str, sources: Sources = _NO_FILES, *, seed: int = 0) -> Any:
    """The whole open_clip model, both towers, as :func:`load_backbone` finds it."""
    return _tiny(weights) if family(backbone) == "tiny" else _open_clip(backbone, weights, sources, seed)


def build(config: Mapping[str, Any], where: str) -> Any:
    """The architecture with random weights, in float32. Raises ``UserError`` where open_clip cannot build it."""
    from open_clip.coca_model import CoCa
    from open_clip.model import CLIP, CustomTextCLIP

    parts = {key: value for key, value in config.items() if key != "custom_text"}
    kind = CoCa if "multimodal_cfg" in parts else CustomTextCLIP if config.get("custom_text") else CLIP
    # open_clip would fetch the timm trunk's own weights, only to overwrite them.
    parts["vision_cfg"] = {**parts["vision_cfg"], "timm_model_pretrained": False}
    if str(parts["vision_cfg"].get("timm_model_name", "")).startswith("clipbench_"):
        import clipbench.models.tiny.architectures  # noqa: F401  (registers them with timm)
    try:
        return kind(**parts)
    except Exception as error:
        raise UserError(f"open_clip cannot build the model of {where}: {type(error).__name__}: {error}") from error


def _tiny(weights: str) -> Any:
    if weights != "embedded":
        raise UserError(f"{TINY} has its embedded weights only, not {weights!r}; leave --weights out.")
    from clipbench.models.tiny import load_tiny

    return load_tiny()


def _open_clip(backbone: str, weights: str, sources: Sources, seed: int) -> Any:
    config = model_config(backbone, sources.config)
    name = sources.config.stem if sources.config else backbone
    if sources.config:
        _check_size(config, str(sources.config))
    if sources.weights is None and weights != "random":
        return _pretrained(name, weights, config, own=sources.config is not None)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build(config, name)
    if sources.weights is not None:
        model.note = fill(model, sources.weights, name, config)
    model.visual.image_mean, model.visual.image_std = mean_and_std(name, weights, sources.weights)
    return model


def _check_size(config: Mapping[str, Any], where: str) -> None:
    """Build a user's configuration without memory for its weights: what cannot be built fails here, and at once."""
    with torch.device("meta"):
        count = sum(p.numel() for p in build(config, where).parameters())
    if count > _MOST_PARAMETERS:
        raise UserError(f"the model of {where} would have {count:,} parameters, more than {_MOST_PARAMETERS:,}.")


def _pretrained(name: str, tag: str, config: Mapping[str, Any], *, own: bool) -> Any:
    """open_clip's own download, once the tag is known to fit the architecture's activation."""
    import open_clip

    known = [] if own else open_clip.list_pretrained_tags_by_model(name)
    if tag not in known:
        raise MissingWeightsError(
            f"open_clip has no weights {tag!r} for {name}; it has {', '.join(known) or 'none'}. --weights FILE takes a "
            f"local file or folder (write ./{tag} for a folder of that name)."
        )
    if open_clip.get_pretrained_cfg(name, tag).get("quick_gelu", False) and not config.get("quick_gelu", False):
        raise MissingWeightsError(
            f"the weights {tag!r} were trained with QuickGELU, but {name} has plain GELU: its features would be wrong. "
            f"Use --backbone {name}-quickgelu."
        )
    with fetching(f"the weights {tag!r} of {name}"):
        return open_clip.create_model(name, pretrained=tag)


def _check_tower(backbone: str, visual: nn.Module) -> None:
    if not hasattr(visual, "transformer") or not hasattr(visual, "_embeds"):
        raise UserError(
            f"{backbone} has no plain vision transformer (open_clip's own ViT); LoRA-CLIP's tasks need one."
        )


def _tokens(visual: Any, images: Tensor) -> Tensor:
    found: Tensor = visual.transformer(visual._embeds(images))
    return found

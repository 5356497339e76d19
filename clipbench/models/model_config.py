"""open_clip's model configurations, checked before anything is built from them. Does not import torch."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clipbench.errors import UserError, near

_TINY_FOLDER = Path(__file__).parent / "tiny"
_MOST_TOKENS = 65536
"""Patches of an image: attention over more does not end."""
_LARGEST = {"width": 16384, "layers": 256, "heads": 256, "head_width": 16384, "image_size": 8192, "patch_size": 8192}
_TEXT = {**_LARGEST, "context_length": 8192, "vocab_size": 4_000_000}
_TOP = {"embed_dim": 16384}
_FLAGS = ("quick_gelu", "custom_text", "nonscalar_logit_scale")
POOLED_TOKENS = ("argmax", "eos", "last", "first")
"""Which token a prompt's feature may be taken from, in open_clip's words."""
_SHAPE = "JSON with embed_dim, vision_cfg and text_cfg"


def packaged_config(backbone: str) -> Path:
    """open_clip's file of that name, or the tiny model's. Raises ``UserError`` with near names where there is none."""
    own = _TINY_FOLDER / f"{backbone}.json"
    if own.is_file() and not own.stem.endswith(".provenance"):
        return own
    spec = importlib.util.find_spec("open_clip")
    folder = Path(spec.origin).parent / "model_configs" if spec and spec.origin else Path()
    path = folder / f"{backbone}.json"
    if "/" in backbone or not path.is_file():
        hint = near(backbone, (p.stem for p in folder.glob("*.json")), 3)
        raise UserError(
            f"no backbone is called {backbone!r}.{hint} It may be an open_clip name, a timm ViT "
            f"(vit_base_patch16_224), mambavision_base, clipbench-tiny, or a config FILE.json."
        )
    return path


def model_config(backbone: str, path: Path | None = None) -> dict[str, Any]:
    """The configuration of a backbone by its name, or of a user's file.

    Names that somebody registered with open_clip in this process count too. Raises ``UserError`` for an unknown name
    and for a file that holds no configuration.
    """
    open_clip = sys.modules.get("open_clip")
    if path is None and open_clip is not None and backbone in open_clip.list_models():
        found: dict[str, Any] = open_clip.get_model_config(backbone)
        return found
    return read_config(path or packaged_config(backbone))


def read_config(path: Path) -> dict[str, Any]:
    """A configuration from its file. Raises ``UserError`` that names the file and its first fault."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} is no open_clip model config ({_SHAPE}): {type(error).__name__}: {error}") from None
    if fault := _fault(found):
        raise UserError(f"{path} is no open_clip model config ({_SHAPE}): {fault}.")
    config: dict[str, Any] = found
    return config


def side(config: Mapping[str, Any]) -> int:
    """Side of the square images that a model of that configuration takes. Raises ``UserError`` for other shapes."""
    size = config["vision_cfg"].get("image_size", 224)
    sides = {*size} if isinstance(size, list | tuple) else {size}
    if len(sides) > 1:
        raise UserError(f"a model for images of {' x '.join(map(str, size))} px cannot be used here: they are squares.")
    return int(sides.pop())


def check_text(name: str, config: Mapping[str, Any]) -> None:
    """Raise ``UserError`` for a configuration whose text tower is none that prompts could be put into."""
    text = config["text_cfg"]
    if text.get("hf_model_name"):
        raise UserError(
            f"{name} cannot be used with prompts: its text tower is transformers' {text['hf_model_name']}, which "
            f"open_clip fetches from the hub, and deep tokens, learned prompts and adapters need a text transformer of "
            f"open_clip's. ViT-B-16, ViT-B-16-SigLIP2 and EVA02-B-16 are some that have one."
        )
    if not text.get("embed_cls") and text.get("pool_type", "argmax") not in POOLED_TOKENS:
        raise UserError(
            f"{name} cannot be used with prompts: text_cfg.pool_type is {text['pool_type']!r}, and a prompt's feature "
            f"must be that of one token ({', '.join(POOLED_TOKENS)})."
        )


def _fault(config: Any) -> str | None:
    """The first thing that is wrong with a configuration, as a clause."""
    if not isinstance(config, dict):
        return f"it holds a {type(config).__name__}, not a table of keys"
    for part in ("vision_cfg", "text_cfg"):
        if not isinstance(config.get(part), dict):
            return f"{part} is missing, or no table of keys"
    vision, text = config["vision_cfg"], config["text_cfg"]
    return (
        _outside("", config, _TOP, needed=("embed_dim",))
        or next((f"{flag} must be true or false" for flag in _FLAGS if type(config.get(flag, False)) is not bool), None)
        or _outside("text_cfg.", text, _TEXT)
        or _wrong_images(vision)
        or _wrong_heads("vision_cfg", vision.get("width", 768), vision.get("head_width", 64), vision)
        or _wrong_heads("text_cfg", text.get("width", 512), text.get("heads", 8), text)
    )


def _wrong_images(vision: Mapping[str, Any]) -> str | None:
    size, patch = vision.get("image_size", 224), vision.get("patch_size", 16)
    sides = size if isinstance(size, list) else [size]
    if len(sides) not in (1, 2) or not all(_whole(s, _LARGEST["image_size"]) for s in sides):
        return f"vision_cfg.image_size is {json.dumps(size)[:40]}; it must be one whole number of pixels, or two"
    layers = vision.get("layers", 12)
    stages = layers if isinstance(layers, list) else [layers]
    if wrong := [n for n in stages if not _whole(n, _LARGEST["layers"])]:
        return f"vision_cfg.layers holds {json.dumps(wrong[0])[:40]}; it must be whole numbers of blocks"
    patched = not isinstance(layers, list) and vision.get("timm_model_name") is None
    whole = {key: value for key, value in vision.items() if key != "layers" and (patched or key != "patch_size")}
    if fault := _outside("vision_cfg.", {**whole, "image_size": sides[0]}, _LARGEST):
        return fault
    if not patched:
        named = isinstance(vision.get("timm_model_name", ""), str)
        return None if named else "vision_cfg.timm_model_name must be the name of a timm model"
    if not 1 <= (sides[0] // patch) * (sides[-1] // patch) <= _MOST_TOKENS:
        return f"patches of {patch} px do not cut images of {sides[0]} px into 1 to {_MOST_TOKENS} tokens"
    return None


def _wrong_heads(part: str, width: int, unit: int, values: Mapping[str, Any]) -> str | None:
    """A transformer's width must be a whole number of heads."""
    if "timm_model_name" in values or "hf_model_name" in values or isinstance(values.get("layers"), list):
        return None
    return f"{part}: a width of {width} is no whole number of heads ({unit})" if width % unit else None


def _outside(
    where: str, values: Mapping[str, Any], largest: Mapping[str, int], needed: tuple[str, ...] = ()
) -> str | None:
    for key in needed:
        if key not in values:
            return f"{where}{key} is missing"
    for key, most in largest.items():
        if key in values and not _whole(values[key], most):
            return f"{where}{key} is {json.dumps(values[key])[:40]}; it must be a whole number from 1 to {most}"
    return None


def _whole(value: Any, most: int) -> bool:
    return type(value) is int and 1 <= value <= most

"""Tensors of transformers' ``CLIPModel`` and ``SiglipModel`` under open_clip's names."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

ANCHORS = ("text_model.final_layer_norm.weight", "vision_model.post_layernorm.weight")
"""Keys that only transformers' files have."""
_TOP = {
    "embeddings.class_embedding": "class_embedding",
    "embeddings.patch_embedding": "conv1",
    "embeddings.position_embedding.weight": "positional_embedding",
    "embeddings.token_embedding": "token_embedding",
    "pre_layrnorm": "ln_pre",
    "post_layernorm": "ln_post",
    "final_layer_norm": "ln_final",
    "head": "text_projection",
}
_BLOCK = {
    "self_attn.out_proj": "attn.out_proj",
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
}
_TIMM_TOP = {
    "embeddings.patch_embedding": "patch_embed.proj",
    "embeddings.position_embedding.weight": "pos_embed",
    "post_layernorm": "norm",
    "head.probe": "attn_pool.latent",
    "head.attention.out_proj": "attn_pool.proj",
    "head.layernorm": "attn_pool.norm",
    "head.mlp.fc1": "attn_pool.mlp.fc1",
    "head.mlp.fc2": "attn_pool.mlp.fc2",
}
_TIMM_BLOCK = {
    "self_attn.out_proj": "attn.proj",
    "layer_norm1": "norm1",
    "layer_norm2": "norm2",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
}


def is_transformers(tensors: Mapping[str, Tensor]) -> bool:
    """Whether the keys are transformers'."""
    return any(anchor in tensors for anchor in ANCHORS)


def renamed(tensors: Mapping[str, Tensor], due: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors, under the names and in the forms of the open_clip model with the state dict ``due``.

    Query, key and value are fused; CLIP's projections are transposed. A tensor without a counterpart keeps its name.
    """
    timm = any(key.startswith("visual.trunk.") for key in due)
    text = "text." if "text.positional_embedding" in due else ""
    return dict(_renamed(tensors, timm=timm, text=text))


def as_trained(model: Any, path: Path) -> None:
    """Give a SigLIP the activation that transformers' ``config.json`` beside its weights states.

    Google's models were trained with the tanh form of GELU; open_clip builds the first of them with the exact one.
    """
    config = stated_config(path.parent)
    if str(config.get("model_type", "")).startswith("siglip"):
        for tower, module in (("vision_config", model.visual), ("text_config", model.text)):
            form = config.get(tower, {}).get("hidden_act", "gelu_pytorch_tanh")
            _set_gelu(module, "tanh" if form == "gelu_pytorch_tanh" else "none")


def stated_config(folder: Path) -> dict[str, Any]:
    """transformers' ``config.json`` in a folder; empty where there is none that can be read."""
    try:
        found = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _renamed(tensors: Mapping[str, Tensor], *, timm: bool, text: str) -> Iterator[tuple[str, Tensor]]:
    for key, value in tensors.items():
        tower, _, rest = key.partition(".")
        if key.endswith(".position_ids"):  # of older versions: 0, 1, 2, ...
            continue
        if tower == "text_model":
            yield from _of_tower(tensors, rest, value, key, f"{text}", timm=False)
        elif tower == "vision_model":
            yield from _of_tower(tensors, rest, value, key, "visual.trunk." if timm else "visual.", timm=timm)
        elif key in ("visual_projection.weight", "text_projection.weight"):
            yield "visual.proj" if tower == "visual_projection" else f"{text}text_projection", value.T.contiguous()
        else:
            yield key, value


def _of_tower(
    tensors: Mapping[str, Tensor], rest: str, value: Tensor, key: str, prefix: str, *, timm: bool
) -> Iterator[tuple[str, Tensor]]:
    tops, parts = (_TIMM_TOP, _TIMM_BLOCK) if timm else (_TOP, _BLOCK)
    block = re.fullmatch(r"encoder\.layers\.(\d+)\.(.+)\.(weight|bias)", rest)
    if block:
        number, part, kind = block.groups()
        place = f"{prefix}{'blocks' if timm else 'transformer.resblocks'}.{number}."
        if part in parts:
            yield f"{place}{parts[part]}.{kind}", value
        elif part == "self_attn.q_proj":
            fused = torch.cat([tensors[key.replace("q_proj", f"{letter}_proj")] for letter in "qkv"])
            yield f"{place}attn.{f'qkv.{kind}' if timm else f'in_proj_{kind}'}", fused
    elif rest.startswith("head.attention.in_proj_"):
        kind, width = rest.removeprefix("head.attention.in_proj_"), len(value) // 3
        yield f"{prefix}attn_pool.q.{kind}", value[:width]
        yield f"{prefix}attn_pool.kv.{kind}", value[width:]
    else:
        stem, _, kind = rest.rpartition(".")
        name = tops.get(rest) or (f"{tops[stem]}.{kind}" if stem in tops else rest)
        yield prefix + name, value[None] if name == "pos_embed" else value


def _set_gelu(module: nn.Module, approximate: str) -> None:
    """Every GELU below in that form, whoever's class it is."""
    for parent in list(module.modules()):
        for name, child in parent.named_children():
            if type(child).__name__.startswith("GELU"):
                setattr(parent, name, nn.GELU(approximate=approximate))

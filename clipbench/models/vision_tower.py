"""The image tower of a vision-language model: features, with tokens that enter at given layers where it is a ViT."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from clipbench.models.exact_cuts import Enter, encode_one
from clipbench.models.text_tower import Deep


@dataclass(frozen=True)
class VisionTower:
    """An image tower that gives one feature per image.

    Attributes:
        module: The network, images ``[N, 3, S, S]`` to features ``[N, D]``.
        width: Of its tokens; 0 where it has no blocks that tokens could enter.
        layers: Number of its blocks; 0 likewise.
    """

    module: nn.Module
    width: int = 0
    layers: int = 0

    def encode(self, images: Tensor, deep: Deep | None = None) -> Tensor:
        """Features ``[N, D]`` of images ``[N, 3, S, S]``; only towers with ``layers`` take ``deep`` tokens."""
        if deep:
            return self._class_token(images, deep)
        if _reads_one_token(self.module):
            return self._class_token(images, {})
        features: Any = self.module(images)
        whole: Tensor = features[0] if isinstance(features, tuple) else features
        return whole

    def _class_token(self, images: Tensor, deep: Deep) -> Tensor:
        """The feature of the class token, in open_clip's own vision transformer."""
        visual: Any = self.module
        states = _embedded(visual, images, deep.get(0))
        pooled = visual.ln_post(encode_one(visual.transformer, states, None, None, _replacing_last(deep)))
        features: Tensor = pooled if visual.proj is None else pooled @ visual.proj
        return features


def vision_tower(visual: Any) -> VisionTower:
    """The image tower of an open_clip model. Tokens can enter its own plain ViT, if it reads the class token."""
    if not _is_plain(visual):
        return VisionTower(visual)
    return VisionTower(visual, int(visual.transformer.width), len(visual.transformer.resblocks))


def _embedded(visual: Any, images: Tensor, tokens: Tensor | None) -> Tensor:
    """States in front of the first block; ``tokens`` ``[N, T, Dv]`` are appended in front of the first norm.

    K times as many rows of tokens as images meet each image K times; its patches are embedded and normed once. (Up to
    the first block, tokens know nothing of each other.)
    """
    if tokens is None:
        states: Tensor = visual._embeds(images)
        return states
    patches = visual.conv1(images).flatten(2).mT
    first = visual.class_embedding.to(patches.dtype).expand(len(patches), 1, -1)
    placed = torch.cat([first, patches], dim=1) + visual.positional_embedding.to(patches.dtype)
    normed = visual.ln_pre(visual.patch_dropout(placed)).repeat_interleave(len(tokens) // len(images), dim=0)
    return torch.cat([normed, visual.ln_pre(tokens.to(placed.dtype))], dim=1)


def _replacing_last(deep: Deep) -> Enter | None:
    """The last T tokens make room for the T of this layer (Khattak et al., CVPR 2023, MaPLe sec. 3.2.2)."""
    if not any(layer > 0 for layer in deep):
        return None

    def enter(layer: int, states: Tensor) -> Tensor:
        if layer == 0 or layer not in deep:
            return states
        tokens = deep[layer].to(states.dtype)
        return torch.cat([states[:, : -tokens.shape[1]], tokens], dim=1)

    return enter


def _is_plain(visual: Any) -> bool:
    """Whether it is open_clip's own vision transformer, and the image's feature is its class token's."""
    from open_clip.transformer import VisionTransformer

    plain = type(visual) is VisionTransformer and visual.attn_pool is None and not visual.output_tokens
    return plain and visual.pool_type == "tok"


def _reads_one_token(visual: Any) -> bool:
    """A tower whose result somebody watches runs as a whole."""
    return _is_plain(visual) and not visual._forward_hooks and not visual._forward_pre_hooks

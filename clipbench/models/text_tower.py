"""The text tower of a vision-language model: embedded prompts to features, and the tokens that it reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from clipbench.errors import UserError
from clipbench.models.exact_cuts import Enter, encode_one

_PARTS = ("token_embedding", "positional_embedding", "transformer", "ln_final", "text_projection", "cls_emb")

Deep = Mapping[int, Tensor]
"""Tokens that enter a transformer, by the number of the block in front of which they do."""


@dataclass(frozen=True)
class TextTower:
    """A transformer over tokens as open_clip builds it: ``tower`` is its ``CLIP`` or its ``TextTransformer``."""

    tower: Any

    @property
    def width(self) -> int:
        """Width of its tokens."""
        return int(self.tower.token_embedding.weight.shape[1])

    @property
    def layers(self) -> int:
        """Number of its blocks."""
        return len(self.tower.transformer.resblocks)

    @property
    def output_width(self) -> int:
        """Width of its features, D."""
        projection: Any = self.tower.text_projection
        if projection is None:
            return self.width
        return int(projection.shape[1] if isinstance(projection, Tensor) else projection.out_features)

    @property
    def device(self) -> torch.device:
        """Where its parameters are."""
        device: torch.device = self.tower.positional_embedding.device
        return device

    def parameters(self) -> list[nn.Parameter]:
        """Every parameter that a prompt's feature depends on."""
        parts = [getattr(self.tower, name, None) for name in _PARTS]
        modules = [part for part in parts if isinstance(part, nn.Module)]
        plain = [part for part in parts if isinstance(part, nn.Parameter)]
        return [*plain, *(p for module in modules for p in module.parameters())]

    def embed(self, ids: Tensor) -> Tensor:
        """Token embeddings ``[C, L, Dt]`` of tokens ``[C, L]``, without positions."""
        embedded: Tensor = self.tower.token_embedding(ids)
        return embedded

    def encode(self, embedded: Tensor, ids: Tensor, ends: Tensor, deep: Deep | None = None) -> Tensor:
        """Features ``[N, D]`` of embedded prompts ``[N, L, Dt]`` with tokens ``ids``, read at ``ends`` ``[N]``.

        ``deep``: tokens ``[R, T, Dt]`` by layer; they replace tokens 1 to T of all rows of their replica.
        """
        tower, states = self.tower, embedded
        if self._class_token is not None:  # CoCa's stands behind the prompt
            states = torch.cat([states, self._class_token.to(states.dtype).expand(len(states), 1, -1)], dim=1)
        length = states.shape[1]
        states = states + tower.positional_embedding[:length]
        mask = self._mask(ids, length, states.dtype)
        # The last norm acts token by token: it is enough to take it where the feature is read.
        pooled = tower.ln_final(encode_one(tower.transformer, states, ends, mask, _replacing_first(deep or {})))
        projection = tower.text_projection
        if projection is None:
            features: Tensor = pooled
        else:
            features = projection(pooled) if isinstance(projection, nn.Module) else pooled @ projection
        return features

    @property
    def _class_token(self) -> Tensor | None:
        return getattr(self.tower, "cls_emb", None)

    def _mask(self, ids: Tensor, length: int, dtype: torch.dtype) -> Tensor | None:
        """The causal mask ``[L, L]``, if any; where padding is masked as well, one per row and head."""
        causal = None if self.tower.attn_mask is None else self.tower.attn_mask[:length, :length]
        if self._class_token is None and not getattr(self.tower, "use_pad_mask", False):
            return causal
        padding: Tensor = self.tower._build_additive_mask(ids, length, dtype)
        return padding if causal is None else padding + causal


def _replacing_first(deep: Deep) -> Enter | None:
    """Tokens 1 to T make room for the T of this layer (Khattak et al., CVPR 2023, MaPLe sec. 3.2.1)."""
    if not deep:
        return None

    def enter(layer: int, states: Tensor) -> Tensor:
        if layer == 0 or layer not in deep:
            return states
        tokens = deep[layer]
        if tokens.shape[1] >= states.shape[1]:
            raise UserError(
                f"{tokens.shape[1]} deep tokens do not fit into prompts of {states.shape[1]} tokens, start and end "
                f"included; take fewer, or a longer template."
            )
        rows = tokens.repeat_interleave(len(states) // len(tokens), 0).to(states.dtype)
        return torch.cat([states[:, :1], rows, states[:, 1 + rows.shape[1] :]], dim=1)

    return enter

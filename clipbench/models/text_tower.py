"""The text tower of a vision-language model: embedded prompts to features, and the tokens that it reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from clipbench.errors import UserError
from clipbench.models.exact_cuts import Enter, encode_one
from clipbench.models.prompts import Prompts

_PARTS = ("token_embedding", "positional_embedding", "transformer", "ln_final", "text_projection")

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
    def device(self) -> torch.device:
        """Where its parameters are."""
        device: torch.device = self.tower.positional_embedding.device
        return device

    def parameters(self) -> list[nn.Parameter]:
        """Every parameter that a prompt's feature depends on."""
        parts = [getattr(self.tower, name) for name in _PARTS]
        modules = [part for part in parts if isinstance(part, nn.Module)]
        plain = [part for part in parts if isinstance(part, nn.Parameter)]
        return [*plain, *(p for module in modules for p in module.parameters())]

    def embed(self, ids: Tensor) -> Tensor:
        """Token embeddings ``[C, L, Dt]`` of tokens ``[C, L]``, without positions."""
        embedded: Tensor = self.tower.token_embedding(ids)
        return embedded

    def encode(self, embedded: Tensor, ends: Tensor, deep: Deep | None = None) -> Tensor:
        """Features ``[N, D]`` of embedded prompts ``[N, L, Dt]``, read at ``ends`` ``[N]``.

        ``deep``: tokens ``[R, T, Dt]`` by layer; they replace tokens 1 to T of all rows of their replica.
        """
        tower, length = self.tower, embedded.shape[1]
        states = embedded + tower.positional_embedding[:length]
        mask = None if tower.attn_mask is None else tower.attn_mask[:length, :length]
        # The last norm acts token by token: it is enough to take it where the feature is read.
        pooled = tower.ln_final(encode_one(tower.transformer, states, ends, mask, _replacing_first(deep or {})))
        projection = tower.text_projection
        features: Tensor = projection(pooled) if isinstance(projection, nn.Module) else pooled @ projection
        return features


def text_tower(model: Any, name: str) -> tuple[TextTower, Callable[[Sequence[str]], Prompts]]:
    """The text tower of an open_clip model, and its tokeniser.

    Raises ``UserError`` where the text feature is not read at the end-of-text token of a causal transformer.
    """
    text = getattr(model, "text", model)
    _check(name, text, getattr(text, "text_pool_type", getattr(text, "pool_type", None)))
    return TextTower(text), _tokeniser(name, int(model.context_length))


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


def _tokeniser(name: str, context: int) -> Callable[[Sequence[str]], Prompts]:
    """CLIP's byte-pair encoding at the model's context length."""
    from open_clip import SimpleTokenizer

    tokenizer = SimpleTokenizer(context_length=context)

    def tokenise(texts: Sequence[str]) -> Prompts:
        tokens: Tensor = tokenizer(list(texts))
        ends = tokens.argmax(dim=-1)
        # A prompt that is too long loses its words but keeps the end-of-text token in the last position.
        for text, end in zip(texts, ends.tolist(), strict=True):
            if end == context - 1:
                raise UserError(
                    f"the prompt {text[:80]!r} does not fit into the {context} tokens of {name}; "
                    f"shorten the template or the class name."
                )
        return Prompts.cut(tokens, ends)

    return tokenise


def _check(backbone: str, text: nn.Module, pooling: str | None) -> None:
    missing = [name for name in _PARTS if not hasattr(text, name)]
    causal = getattr(text, "attn_mask", None) is not None
    if missing or pooling != "argmax" or not causal or getattr(text, "cls_emb", None) is not None:
        raise UserError(
            f"{backbone} has no text tower like CLIP's own (a causal transformer with CLIP's tokens, read at the "
            f"end-of-text token), which prompts need here; the ViT models of OpenAI and LAION have one."
        )

"""CLIP-LoRA's training step in its plain form, written for comparison: nothing here is used by clipbench.

As MaxZanella/CLIP-LoRA does it: every prompt of 77 tokens, tokenised and encoded anew in every step; q, k and v apart,
each with a branch ``dropout(x) (s B A)^T`` through a full d x d product; one seed at a time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import open_clip
import torch
from torch import Tensor, nn
from torch.nn.functional import dropout, linear, normalize, scaled_dot_product_attention

RANK, DROPOUT = 2, 0.25


class PlainProjection(nn.Module):
    """A frozen projection and its branch."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        width = weight.shape[0]
        self.weight, self.bias = nn.Parameter(weight.clone(), False), nn.Parameter(bias.clone(), False)
        self.A = nn.Parameter(torch.empty(RANK, width).uniform_(-(width**-0.5), width**-0.5))
        self.B = nn.Parameter(torch.zeros(width, RANK))

    def forward(self, x: Tensor) -> Tensor:
        """`[B, N, D]` to `[B, N, D]`."""
        branch = dropout(x, DROPOUT, self.training) @ (self.B @ self.A).T
        return linear(x, self.weight, self.bias) + branch / math.sqrt(RANK)


class PlainAttention(nn.Module):
    """Self-attention with q, k and v apart; called as open_clip's blocks call theirs."""

    def __init__(self, attention: nn.MultiheadAttention) -> None:
        super().__init__()
        weights, biases = attention.in_proj_weight.chunk(3), attention.in_proj_bias.chunk(3)
        self.q, self.k, self.v = (PlainProjection(w, b) for w, b in zip(weights, biases, strict=True))
        self.out_proj, self.heads = attention.out_proj, attention.num_heads

    def forward(self, x: Tensor, *_: Tensor, attn_mask: Tensor | None = None, **_more: bool) -> tuple[Tensor, None]:
        """`[B, N, D]` to `[B, N, D]`, and no weights."""
        q, k, v = (p(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for p in (self.q, self.k, self.v))
        mixed = scaled_dot_product_attention(q, k, v, attn_mask=attn_mask)
        return self.out_proj(mixed.transpose(1, 2).flatten(2)), None


class PlainClipLora(nn.Module):
    """Logits of images; the prompts are tokenised and encoded in every call."""

    def __init__(self, clip: Any, names: Sequence[str]) -> None:
        super().__init__()
        self.clip, self.names = clip.requires_grad_(False), list(names)
        for block in (*clip.visual.transformer.resblocks, *clip.transformer.resblocks):
            block.attn = PlainAttention(block.attn)

    def text(self) -> Tensor:
        """Features `[C, E]` of all prompts."""
        prompts = [f"a photo of a {name.replace('_', ' ')}." for name in self.names]
        tokens = open_clip.tokenize(prompts, 77).to(self.clip.positional_embedding.device)
        return self.clip.encode_text(tokens)  # type: ignore[no-any-return]

    def forward(self, images: Tensor) -> Tensor:
        """`[B, 3, S, S]` to `[B, C]`."""
        text = normalize(self.text(), dim=-1)
        return 100.0 * normalize(self.clip.encode_image(images), dim=-1) @ text.T  # type: ignore[no-any-return]

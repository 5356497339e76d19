"""Adapters for ``nn.MultiheadAttention``, whose q, k and v share one matrix and which calls no linear layer."""

from __future__ import annotations

from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from clipbench.adapters.config import AdapterConfig
from clipbench.adapters.errors import AdapterError
from clipbench.adapters.hosts import AdaptedLinear, Host


class AdaptedAttention(Host):
    """Stands for a batch-first ``nn.MultiheadAttention`` and is called like it.

    Keeps the very same frozen `in_proj_weight`, `in_proj_bias` and `out_proj`. Self-attention takes one frozen product
    for q, k and v together.
    """

    weight_name: ClassVar[str] = "in_proj_weight"

    def __init__(
        self,
        attention: nn.MultiheadAttention,
        targets: tuple[str, ...],
        config: AdapterConfig,
        path: str = "",
        shared: Any = None,
    ) -> None:
        require_plain(attention)
        weight = attention.in_proj_weight
        blocks = {n: rows for n, rows in _thirds(len(weight)).items() if n in targets}
        super().__init__(weight, blocks, config, path, shared)
        self.embed_dim, self.num_heads = attention.embed_dim, attention.num_heads
        self.dropout, self.batch_first = attention.dropout, True
        self.hold(weight)
        self.in_proj_bias = cast(nn.Parameter | None, attention.in_proj_bias)
        out, rows = attention.out_proj, {"o": (0, attention.out_proj.out_features)}
        self.out_proj: nn.Module = AdaptedLinear(out, rows, config, path, shared) if "o" in targets else out
        self.train(attention.training)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """As ``nn.MultiheadAttention.forward``, for batched inputs.

        Args:
            query: `[R*B, L, D]`, rows grouped by replica.
            key: `[R*B, S, D]`; the same tensor as `query` for self-attention.
            value: `[R*B, S, D]`.
            key_padding_mask: `[R*B, S]`; true, or minus infinity, where a key is padding.
            need_weights: Also return the attention weights; slower, as in torch.
            attn_mask: `[L, S]` or `[R*B*heads, L, S]`; bool, true where attention is forbidden, or float, added.
            average_attn_weights: Average the returned weights over heads.
            is_causal: Forbid attention to later positions; heeded when `attn_mask` is None.

        Returns:
            The output `[R*B, L, D]`, and the weights `[R*B, L, S]` (or `[R*B, heads, L, S]`) or None.
        """
        q, k, v = (self._heads(part) for part in self._project(query, key, value))
        mask = _additive(attn_mask, key_padding_mask, q)
        if is_causal and mask is None:
            mask = q.new_full((q.shape[2], k.shape[2]), float("-inf")).triu(1)
        dropout = self.dropout if self.training else 0.0
        mixed = scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout)
        out = cast(Tensor, self.out_proj(mixed.transpose(1, 2).flatten(2)))
        if not need_weights:
            return out, None
        weights = _weights(q, k, mask)
        return out, weights.mean(1) if average_attn_weights else weights

    def _project(self, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, ...]:
        if query is key and key is value:
            return self.product(query, self.in_proj_bias).chunk(3, -1)
        return tuple(
            self.product(x, None if self.in_proj_bias is None else self.in_proj_bias[slice(*rows)], rows)
            for x, rows in zip((query, key, value), _thirds(3 * self.embed_dim).values(), strict=True)
        )

    def _heads(self, x: Tensor) -> Tensor:
        """`[B, N, D]` to `[B, heads, N, D / heads]`."""
        return x.view(*x.shape[:-1], self.num_heads, -1).transpose(1, 2)

    def extra_repr(self) -> str:
        """What `print` shows."""
        return f"embed_dim={self.embed_dim}, num_heads={self.num_heads}"


def _thirds(rows: int) -> dict[str, tuple[int, int]]:
    size = rows // 3
    return {name: (i * size, (i + 1) * size) for i, name in enumerate("qkv")}


def require_plain(attention: nn.MultiheadAttention) -> None:
    """Refuse an attention that no adapter fits into."""
    if attention.in_proj_weight is None or attention.bias_k is not None or attention.add_zero_attn:
        raise AdapterError(
            "This nn.MultiheadAttention has separate widths for keys and values, or extra key and value rows. Only the "
            "plain fused form can be adapted; leave this block out with `layers`."
        )
    if not attention.batch_first:
        raise AdapterError(
            "This nn.MultiheadAttention takes the sequence first. Replicas are groups of batch rows, so the batch must "
            "come first: build the model with batch_first=True (open_clip's default since 2.25)."
        )


def _additive(attn_mask: Tensor | None, padding: Tensor | None, q: Tensor) -> Tensor | None:
    """Both masks as one float mask that broadcasts against `[B, heads, L, S]`, or None."""
    mask = None if attn_mask is None else _as_float(attn_mask, q.dtype)
    if mask is not None and mask.dim() == 3:
        mask = mask.view(-1, q.shape[1], *mask.shape[1:])
    if padding is None:
        return mask
    ignored = _as_float(padding, q.dtype)[:, None, None]
    return ignored if mask is None else mask + ignored


def _as_float(mask: Tensor, dtype: torch.dtype) -> Tensor:
    if mask.dtype != torch.bool:
        return mask.to(dtype)
    return torch.zeros_like(mask, dtype=dtype).masked_fill(mask, float("-inf"))


def _weights(q: Tensor, k: Tensor, mask: Tensor | None) -> Tensor:
    scores = q @ k.mT * q.shape[-1] ** -0.5
    return torch.softmax(scores if mask is None else scores + mask, -1)

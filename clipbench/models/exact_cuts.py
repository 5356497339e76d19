"""The last block of a transformer, for the one token of each sequence that is read: the others would be thrown away.

Exact: in the last block a token's own result takes the other tokens' keys and values, and nothing else of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn

Enter = Callable[[int, Tensor], Tensor]
"""What happens to the states ``[N, L, D]`` in front of block ``i``: where deep prompts come in."""


def encode_one(
    transformer: Any, states: Tensor, at: Tensor | None, mask: Tensor | None, enter: Enter | None = None
) -> Tensor:
    """States ``[N, D]`` behind the transformer, of sequences ``[N, L, D]``, at the positions ``at`` ``[N]`` (None: 0).

    ``mask`` is one for all, ``[L, L]``, or one per sequence and head, ``[N * heads, L, L]``. A transformer that is none
    of open_clip's plain ones, or that somebody watches, runs in full.
    """
    cut = can_be_cut(transformer)
    if enter is None and not cut:
        return _one(transformer(states, attn_mask=mask), at)[:, 0]
    last = len(transformer.resblocks) - 1
    for number, block in enumerate(transformer.resblocks):
        states = states if enter is None else enter(number, states)
        if cut and number == last:
            return _last(block, states, at, mask)[:, 0]
        states = block(states, attn_mask=mask)
    return _one(states, at)[:, 0]


def can_be_cut(transformer: nn.Module) -> bool:
    """Whether the blocks are known to the last line, and no hook waits for all tokens of the last one."""
    from open_clip.transformer import ResidualAttentionBlock, Transformer

    if type(transformer) is not Transformer or transformer.grad_checkpointing or not transformer.batch_first:
        return False
    last: nn.Module = cast("nn.ModuleList", transformer.resblocks)[-1]
    plain = type(last) is ResidualAttentionBlock and not hasattr(last, "ln_1_kv")
    return plain and not _watched(transformer) and not _watched(last)


def _watched(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks or module._backward_hooks)


def _last(block: Any, states: Tensor, at: Tensor | None, mask: Tensor | None) -> Tensor:
    """The block as open_clip has it, ``[N, 1, D]``."""
    normed = block.ln_1(states)
    rows = None if mask is None or at is None else _rows(mask, at, block.attn.num_heads)
    mixed = block.attention(q_x=_one(normed, at), k_x=normed, v_x=normed, attn_mask=rows)
    x = _one(states, at) + block.ls_1(mixed)
    return x + block.ls_2(block.mlp(block.ln_2(x)))  # type: ignore[no-any-return]


def _rows(mask: Tensor, at: Tensor, heads: int) -> Tensor:
    """The masks' rows of the tokens that are read, ``[N * heads, 1, L]``."""
    if mask.ndim == 2:
        return mask[at].repeat_interleave(heads, 0)[:, None]
    every = at.repeat_interleave(heads)
    return mask[torch.arange(len(mask), device=mask.device), every][:, None]


def _one(states: Tensor, at: Tensor | None) -> Tensor:
    """``[N, 1, D]`` of ``[N, L, D]``."""
    if at is None:
        return states[:, :1]
    return states[torch.arange(len(states), device=states.device), at][:, None]

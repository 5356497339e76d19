"""DoRA with one magnitude per input feature: ``W' = (W + s B A) diag(m / |W + s B A|)``, the norm of each column.

The notation of CLIP-DoRA sec. 3.3 read to the letter; every public implementation has one magnitude per output feature
(see :mod:`clipbench.adapters.product`). Here the gain scales the input, so that blocks that share their input, as q, k
and v do, no longer share the frozen product: the products of the same size are taken block by block.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import linear

from clipbench.adapters.product import Rows, Scales


def input_axis_product(
    rows: Rows,
    scales: Scales,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    blocks: Sequence[tuple[Tensor, Tensor, Tensor]],
    dropped: Sequence[Tensor] = (),
    *,
    official: bool = True,
) -> Tensor:
    """The adapted matrix times ``x [R, M, I]``, plus ``bias [O]``: ``[R, M, O]``.

    Args:
        rows: Output rows of each adapted block; the others are the frozen matrix's.
        scales: The factor s of each block.
        x: Inputs.
        weight: The frozen matrix ``[O, I]``.
        bias: Added outside.
        blocks: Gain m / norm ``[R, I]``, A ``[R, r, I]`` and the transpose of B ``[R, r, O_i]`` of each.
        dropped: Where something is dropped, the masked inputs of each block, divided by the share kept.
        official: What is dropped: as in DoRA's own code also the input of ``W (gain - 1) x``, or the branch's alone.
    """
    parts, end = [], 0
    for i, (start, stop) in enumerate(rows):
        if start > end:
            parts.append(linear(x, weight[end:start]))
        (gain, down, up_t), frozen = blocks[i], weight[start:stop]
        gain = gain[:, None]
        branch = dropped[i] if dropped else x
        # In half precision gain - 1 would lose what makes it differ from zero: inputs are scaled in the gain's fp32.
        if dropped and official:
            part = linear(x, frozen) + linear(((gain - 1.0) * branch).to(x.dtype), frozen)
        else:
            part = linear((gain * x).to(x.dtype), frozen)
        hidden = (gain * branch).to(x.dtype) @ down.mT
        parts.append(torch.baddbmm(part, hidden, up_t, alpha=scales[i]))
        end = stop
    if end < len(weight):
        parts.append(linear(x, weight[end:]))
    y = parts[0] if len(parts) == 1 else torch.cat(parts, -1)
    return y if bias is None else y + bias

"""The two products behind every adapted matrix, written out so that nothing of the size of W is ever made.

Shapes: R replicas, M rows in each, I inputs, O outputs, r the rank; block i holds the output rows `rows[i]` of W.
`x [R, M, I]`, `weight [O, I]`, `bias [O]`, `A_i [R, r_i, I]`, `Bt_i [R, r_i, O_i]` (B transposed: the products with it
are two to five times faster on a CPU), `gain [R, O]` (DoRA's m / norm; one for rows that have no adapter),
`mask_i [R, M, I]`.

Autograd's own rules would give the same numbers. The rules here accumulate in place, skip what frozen weights do not
need, and keep a dropped input as one byte per element instead of a second copy.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

Rows = tuple[tuple[int, int], ...]
Scales = tuple[float, ...]


class LowRankProduct(torch.autograd.Function):
    """``gain * (W x + scale B A x') + bias``, where x' is x or the masked x (unscaled: fold 1/keep into `scales`).

    LoRA has no gain. DoRA has one, and this form when nothing is dropped, or only the branch's input.
    """

    @staticmethod
    def forward(
        ctx: Any,
        rows: Rows,
        scales: Scales,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        *tensors: Any,
    ) -> Tensor:
        """See the class."""
        # torch.compile takes a forward with as many arguments as parameters for one without ctx, and with one block
        # and no mask that would be this one, had the gain a parameter of its own.
        gain, tensors = tensors[0], tensors[1:]
        A, Bt, masks = _split(tensors, len(rows))
        y = linear(x, weight, bias if gain is None else None)
        hidden = _hidden(x, A, masks)
        for (start, stop), h, b, scale in zip(rows, hidden, Bt, scales, strict=True):
            _accumulate(y[..., start:stop], h, b, scale)
        ctx.rows, ctx.scales = rows, scales
        ctx.save_for_backward(x, weight, gain, None if gain is None else y, *tensors, *hidden)
        return y if gain is None else _affine(y, gain, bias)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of x, gain, and every A and Bt."""
        x, weight, gain, y, *rest = ctx.saved_tensors
        rows, count = ctx.rows, len(ctx.rows)
        A, Bt, masks = _split(rest[: len(rest) - count], count)
        hidden = rest[len(rest) - count :]
        d_gain = None
        if gain is not None:
            grad, d_gain = _through_gain(grad, gain, y)
        parts = [grad[..., start:stop] for start, stop in rows]
        d_Bt = [_matmul(h.mT, part, scale) for part, h, scale in zip(parts, hidden, ctx.scales, strict=True)]
        d_hidden = [_matmul(part, b.mT, scale) for part, b, scale in zip(parts, Bt, ctx.scales, strict=True)]
        d_A = _grad_down(x, d_hidden, masks)
        d_x = _grad_x(grad @ weight, d_hidden, A, masks) if ctx.needs_input_grad[2] else None
        return (None, None, d_x, None, None, d_gain, *d_A, *d_Bt, *[None] * len(masks))


class SharedDownProduct(torch.autograd.Function):
    """``W x + bias + B_i diag(d_i) A x'`` with one frozen ``A [r, I]`` for all blocks, x' as in `LowRankProduct`: VeRA.

    A has no gradient, so x is not kept; and where nothing is dropped, A is multiplied once for all blocks, in both
    directions. After the bias come A, every ``d_i [R, r]`` (1/keep folded in), every `Bt_i` and every mask.
    """

    @staticmethod
    def forward(ctx: Any, rows: Rows, x: Tensor, weight: Tensor, bias: Tensor | None, *tensors: Tensor) -> Tensor:
        """See the class."""
        down, (scales, Bt, masks) = tensors[0], _split(tensors[1:], len(rows))
        y = linear(x, weight, bias)
        hidden = [linear(_masked(x, mask), down) for mask in masks] or [linear(x, down)]
        for i, (start, stop) in enumerate(rows):
            _accumulate(y[..., start:stop], hidden[i if masks else 0] * scales[i][:, None], Bt[i], 1.0)
        ctx.rows = rows
        ctx.save_for_backward(weight, *tensors, *hidden)
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of x, and every d and Bt."""
        weight, down, *rest = ctx.saved_tensors
        rows, count = ctx.rows, len(ctx.rows)
        scales, Bt, masks = _split(rest[: len(rest) - (count if len(rest) > 3 * count else 1)], count)
        hidden = rest[2 * count + len(masks) :]
        d_scales, d_Bt, d_hidden = [], [], []
        for i, (start, stop) in enumerate(rows):
            h, part, scale = hidden[i if masks else 0], grad[..., start:stop], scales[i][:, None]
            d_Bt.append(_matmul((h * scale).mT, part))
            d_scaled = _matmul(part, Bt[i].mT)
            d_scales.append((d_scaled * h).sum(1))
            d_hidden.append(d_scaled.mul_(scale))
        d_x = grad @ weight if ctx.needs_input_grad[1] else None
        if d_x is not None and masks:
            for d, mask in zip(d_hidden, masks, strict=True):
                d_x.addcmul_(d @ down, mask.to(d_x.dtype))
        elif d_x is not None:
            d_x.flatten(0, 1).addmm_(torch.stack(d_hidden).sum(0).flatten(0, 1), down)
        return (None, d_x, None, None, None, *d_scales, *d_Bt, *[None] * len(masks))


class DroppedDoraProduct(torch.autograd.Function):
    """``W x + bias + (gain - 1) W x' + gain scale B A x'`` with x' = mask * x / keep: DoRA's official dropout.

    Source: NVlabs/DoRA, ``commonsense_reasoning/peft/src/peft/tuners/dora.py`` 438-447; peft does the same. The second
    frozen product cannot be avoided: its rows are scaled one by one, after a sum over inputs dropped at random.
    """

    @staticmethod
    def forward(
        ctx: Any,
        rows: Rows,
        scales: Scales,
        keep: float,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        gain: Tensor,
        *tensors: Tensor,
    ) -> Tensor:
        """See the class."""
        A, Bt, masks = _split(tensors, len(rows))
        out = linear(x, weight, bias)
        saved = []
        for (start, stop), a, b, mask, scale in zip(rows, A, Bt, masks, scales, strict=True):
            kept = _kept(x, mask, keep)
            y = linear(kept, weight[start:stop])
            part = out[..., start:stop].sub_(y)
            h = _matmul(kept, a.mT)
            part.addcmul_(_accumulate(y, h, b, scale), gain[:, None, start:stop])
            saved += [y, h]
        ctx.rows, ctx.scales, ctx.keep = rows, scales, keep
        ctx.save_for_backward(x, weight, gain, *tensors, *saved)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of x, gain, and every A and Bt."""
        x, weight, gain, *rest = ctx.saved_tensors
        count = len(ctx.rows)
        A, Bt, masks = _split(rest[: 3 * count], count)
        d_x = grad @ weight if ctx.needs_input_grad[3] else None
        d_gain = torch.zeros_like(gain)
        d_A, d_Bt = [], []
        for i, (start, stop) in enumerate(ctx.rows):
            y, h = rest[3 * count + 2 * i : 3 * count + 2 * i + 2]
            part = grad[..., start:stop]
            d_y, d_gain[:, start:stop] = _through_gain(part, gain[:, start:stop], y)
            d_h = _matmul(d_y, Bt[i].mT, ctx.scales[i])
            d_Bt.append(_matmul(h.mT, d_y, ctx.scales[i]))
            d_A.append(_matmul(d_h.mT, _kept(x, masks[i], ctx.keep)))
            if d_x is not None:
                d_kept = _accumulate(d_y.sub_(part) @ weight[start:stop], d_h, A[i], 1.0)
                d_x.addcmul_(d_kept, masks[i].to(d_x.dtype), value=1.0 / ctx.keep)
        return (None, None, None, d_x, None, None, d_gain, *d_A, *d_Bt, *[None] * count)


def _split(tensors: Any, count: int) -> tuple[Any, Any, Any]:
    return tensors[:count], tensors[count : 2 * count], tensors[2 * count : 3 * count]


def _matmul(a: Tensor, b: Tensor, scale: float = 1.0) -> Tensor:
    """``scale * a @ b`` for batches `[R, ., .]`; the scale goes to the result, which is always small."""
    out = torch.mm(a[0], b[0])[None] if a.shape[0] == 1 else torch.bmm(a, b)
    return out if scale == 1.0 else out.mul_(scale)


def _accumulate(out: Tensor, a: Tensor, b: Tensor, scale: float) -> Tensor:
    """``out += scale * a @ b``, without a temporary of the size of `out`."""
    if out.shape[0] == 1:
        out[0].addmm_(a[0], b[0], alpha=scale)
    else:
        out.baddbmm_(a, b, alpha=scale)
    return out


def _affine(y: Tensor, gain: Tensor, bias: Tensor | None) -> Tensor:
    """``y * gain + bias`` in the type of `y`; the product is formed in the gain's fp32."""
    if bias is not None and y.dtype == gain.dtype:
        return torch.addcmul(bias, y, gain[:, None])
    out = torch.mul(y, gain[:, None], out=torch.empty_like(y))
    return out if bias is None else out.add_(bias)


def _through_gain(grad: Tensor, gain: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of `y [R, M, O]` and of `gain [R, O]` from that of ``gain * y``; one large buffer serves both."""
    buffer = grad * y
    d_gain = buffer.sum(1, dtype=gain.dtype)
    return torch.mul(grad, gain[:, None], out=buffer), d_gain


def _masked(x: Tensor, mask: Tensor) -> Tensor:
    # A product of mixed types would be three times slower on a CPU.
    return mask.to(x.dtype).mul_(x)


def _kept(x: Tensor, mask: Tensor, keep: float) -> Tensor:
    return _masked(x, mask).mul_(1.0 / keep)


def _hidden(x: Tensor, downs: Any, masks: Any) -> list[Tensor]:
    """``x A_i^T`` for every block: one product when the blocks share their input."""
    if masks:
        return [_matmul(_masked(x, mask), a.mT) for mask, a in zip(masks, downs, strict=True)]
    return list(torch.split(_matmul(x, _stack(downs, 1).mT), [a.shape[1] for a in downs], -1))


def _grad_down(x: Tensor, d_hidden: list[Tensor], masks: Any) -> list[Tensor]:
    if masks:
        return [_matmul(d.mT, _masked(x, mask)) for d, mask in zip(d_hidden, masks, strict=True)]
    return list(torch.split(_matmul(_stack(d_hidden, -1).mT, x), [d.shape[-1] for d in d_hidden], 1))


def _grad_x(d_x: Tensor, d_hidden: list[Tensor], downs: Any, masks: Any) -> Tensor:
    """Adds the branches' share to the frozen product's `d_x [R, M, I]`, in place."""
    if not masks:
        return _accumulate(d_x, _stack(d_hidden, -1), _stack(downs, 1), 1.0)
    for d, a, mask in zip(d_hidden, downs, masks, strict=True):
        d_x.addcmul_(_matmul(d, a), mask.to(d_x.dtype))
    return d_x


def _stack(parts: Any, dim: int) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(list(parts), dim)

"""The selective scan of Mamba (Gu and Dao, 2023, eq. 2): a linear recurrence over time, in plain PyTorch.

``h_t = exp(delta_t A) h_(t-1) + delta_t x_t B_t``, ``y_t = C_t h_t + D x_t``, for every channel, with N
states each.

Inside a chunk of 16 steps the recurrence is solved by doubling: pairs of steps are composed, then pairs of pairs. No
step divides, and every factor is at most one, so that nothing overflows however fast a state decays. The loop over
chunks carries the state. Between forward and backward only the inputs are kept; the states are computed again.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import cache
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

CHUNK = 16


def selective_scan(x: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    """Outputs ``[B, D, L]`` of inputs and step sizes ``[B, D, L]``; ``a [D, N]`` < 0, ``b, c [B, N, L]``, ``d [D]``.

    In float32 (or float64, if ``x`` is), under autocast too. On CUDA the kernel of the package ``mamba_ssm`` takes over
    where it is installed.
    """
    wide = torch.promote_types(x.dtype, torch.float32)
    parts = [part.to(wide).contiguous() for part in (x, delta, a, b, c, d)]
    with torch.autocast(x.device.type, enabled=False):
        if x.is_cuda and wide == torch.float32 and (kernel := fused_kernel()):
            return cast(Tensor, kernel(*parts))
        return cast(Tensor, _Scan.apply(*parts))


def linear_recurrence(decay: Tensor, drive: Tensor) -> Tensor:
    """All ``h_t = decay_t h_(t-1) + drive_t`` along the first dimension, from ``h_(-1) = 0``; tensors ``[L, ...]``."""
    length = len(drive)
    factor, state = (_chunked(part) for part in (decay, drive))
    reach = 1
    while reach < min(CHUNK, length):
        # What each step has gathered so far, put after what the step `reach` before it has.
        state = torch.cat([state[:, :reach], torch.addcmul(state[:, reach:], factor[:, reach:], state[:, :-reach])], 1)
        factor = torch.cat([factor[:, :reach], factor[:, reach:] * factor[:, :-reach]], 1)
        reach *= 2
    for chunk in range(1, len(state)):
        state[chunk].addcmul_(factor[chunk], state[chunk - 1, -1:])
    return state.flatten(0, 1)[:length]


def _chunked(part: Tensor) -> Tensor:
    """``[L, ...]`` as ``[chunks, CHUNK, ...]``, the last one filled up with zeros, in memory of its own."""
    short = -len(part) % CHUNK
    filled = torch.cat([part, part.new_zeros(short, *part.shape[1:])])
    return filled.view(-1, CHUNK, *part.shape[1:])


@cache
def fused_kernel() -> Callable[..., Any] | None:
    """``mamba_ssm``'s CUDA kernel, or None where the package is not installed."""
    if importlib.util.find_spec("mamba_ssm") is None:
        return None
    from mamba_ssm.ops.selective_scan_interface import (  # type: ignore[import-not-found, unused-ignore]
        selective_scan_fn,
    )

    return cast("Callable[..., Any]", selective_scan_fn)


class _Scan(torch.autograd.Function):
    """The scan with its adjoint: the same recurrence, backwards in time, over the gradients of the states."""

    @staticmethod
    def forward(ctx: Any, *inputs: Tensor) -> Tensor:
        x, delta, a, b, c, d = inputs
        ctx.save_for_backward(*inputs)
        _, states = _states(x, delta, a, b)
        return torch.einsum("lbdn,bnl->bdl", states, c) + d[:, None] * x

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:
        x, delta, a, b, c, d = ctx.saved_tensors
        decay, states = _states(x, delta, a, b)
        # A state acts on its own output, and through the next decay on every later one.
        later = torch.cat([decay[1:], torch.zeros_like(decay[:1])])
        flowing = linear_recurrence(later.flip(0), _outer(grad, c).flip(0)).flip(0)
        driven = torch.einsum("lbdn,bnl->bdl", flowing, b)
        faded = flowing * decay
        faded[0] = 0.0
        faded[1:] *= states[:-1]
        return (
            driven * delta + grad * d[:, None],
            driven * x + torch.einsum("lbdn,dn->bdl", faded, a),
            torch.einsum("lbdn,bdl->dn", faded, delta),
            torch.einsum("lbdn,bdl->bnl", flowing, delta * x),
            torch.einsum("lbdn,bdl->bnl", states, grad),
            (grad * x).sum(dim=(0, 2)),
        )


def _states(x: Tensor, delta: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Decays and states ``[L, B, D, N]``: time first, so that every step is a block of memory."""
    decay = torch.exp(delta.permute(2, 0, 1)[..., None] * a)
    return decay, linear_recurrence(decay, _outer(delta * x, b))


def _outer(channels: Tensor, states: Tensor) -> Tensor:
    """``[B, D, L]`` times ``[B, N, L]``: ``[L, B, D, N]``."""
    return channels.permute(2, 0, 1)[..., None] * states.permute(2, 0, 1)[:, :, None]

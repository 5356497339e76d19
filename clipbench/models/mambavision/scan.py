"""The selective scan of Mamba (Gu and Dao, 2023, eq. 2): a linear recurrence over time, in plain PyTorch.

``h_t = exp(delta_t A) h_(t-1) + delta_t x_t B_t``, ``y_t = C_t h_t + D x_t``, for every channel with N states of its own.

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
from torch.nn import functional

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
    """All ``h_t = decay_t h_(t-1) + drive_t`` along the last dimension, from ``h_(-1) = 0``; tensors ``[..., L]``."""
    length = drive.shape[-1]
    short = -length % CHUNK
    factor, state = (functional.pad(part, (0, short)).unflatten(-1, (-1, CHUNK)) for part in (decay, drive))
    reach = 1
    while reach < min(CHUNK, length):
        # What each step has gathered so far, put after what the step `reach` before it has.
        state = torch.cat([state[..., :reach], state[..., reach:] + factor[..., reach:] * state[..., :-reach]], -1)
        factor = torch.cat([factor[..., :reach], factor[..., reach:] * factor[..., :-reach]], -1)
        reach *= 2
    for chunk in range(1, state.shape[-2]):
        state[..., chunk, :] += factor[..., chunk, :] * state[..., chunk - 1, -1:]
    return state.flatten(-2)[..., :length]


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
        return torch.einsum("bdnl,bnl->bdl", states, c) + d[:, None] * x

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:
        x, delta, a, b, c, d = ctx.saved_tensors
        decay, states = _states(x, delta, a, b)
        # A state acts on its own output, and through the next decay on every later one.
        later = functional.pad(decay[..., 1:], (0, 1))
        flowing = linear_recurrence(later.flip(-1), (grad[:, :, None] * c[:, None]).flip(-1)).flip(-1)
        driven = torch.einsum("bdnl,bnl->bdl", flowing, b)
        faded = flowing * decay * functional.pad(states[..., :-1], (1, 0))
        return (
            driven * delta + grad * d[:, None],
            driven * x + torch.einsum("bdnl,dn->bdl", faded, a),
            torch.einsum("bdnl,bdl->dn", faded, delta),
            torch.einsum("bdnl,bdl->bnl", flowing, delta * x),
            torch.einsum("bdnl,bdl->bnl", states, grad),
            (grad * x).sum(dim=(0, 2)),
        )


def _states(x: Tensor, delta: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Decays and states ``[B, D, N, L]``."""
    decay = torch.exp(delta[:, :, None] * a[:, :, None])
    return decay, linear_recurrence(decay, (delta * x)[:, :, None] * b[:, None])

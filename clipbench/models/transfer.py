"""Between host and device: copies that do not wait, pixels as a network takes them, and a forward pass's arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from clipbench.errors import UserError
from clipbench.models.half import HALF

_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, HALF: torch.float16}


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on the device.

    A plain ``.to`` copies from pageable memory: the host waits until the GPU has done all that it was given before, and
    does not give it the next step in time. From pinned memory the copy queues up like a kernel.
    """
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


class Normaliser:
    """Pixels ``[B, 3, S, S]`` (uint8, anywhere) as a network takes them, on the device."""

    def __init__(self, mean: Sequence[float], std: Sequence[float], device: torch.device) -> None:
        self._device = device
        self._mean = torch.tensor(mean, device=device).mul(255.0).view(1, 3, 1, 1)
        self._std = torch.tensor(std, device=device).mul(255.0).view(1, 3, 1, 1)

    def __call__(self, pixels: Tensor) -> Tensor:
        """Channel by channel ``(x / 255 - mean) / std``."""
        return (sent(pixels, self._device).float() - self._mean) / self._std


def autocast(device: torch.device, precision: str) -> AbstractContextManager[None]:
    """The forward pass's arithmetic. Raises ``UserError`` where the device cannot do it."""
    if precision == "fp32":
        return nullcontext()
    if _DTYPES[precision] == torch.float16 and device.type == "cpu":
        raise UserError("fp16 autocast needs a GPU; on the CPU use --precision bf16 or fp32.")
    context: AbstractContextManager[None] = torch.autocast(device.type, dtype=_DTYPES[precision])
    return context

"""Batches for the device: gathered from the decoded images, flipped and normalised, for several replicas at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from clipbench.engine.streams import stream
from clipbench.spec import Protocol

_RESIDENT_SHARE = 0.25
"""Share of the free GPU memory that the decoded images may take; larger sets stay on the host."""


class Images:
    """Decoded images ``[N, 3, S, S]`` (uint8), on the GPU where they fit, and the views that a protocol trains on.

    A view is one of four: bit 0 flips horizontally, bit 1 vertically.
    """

    def __init__(self, decoded: np.ndarray, mean: Sequence[float], std: Sequence[float], device: torch.device) -> None:
        self._pixels = torch.from_numpy(np.asarray(decoded))
        self._device = device
        if device.type == "cuda" and self._pixels.nbytes < _RESIDENT_SHARE * torch.cuda.mem_get_info(device)[0]:
            self._pixels = self._pixels.to(device)
        self._mean = torch.tensor(mean, device=device).mul(255.0).view(1, 3, 1, 1)
        self._std = torch.tensor(std, device=device).mul(255.0).view(1, 3, 1, 1)

    def __len__(self) -> int:
        return self._pixels.shape[0]

    def batch(self, index: Tensor, view: Tensor | None = None) -> Tensor:
        """Normalised images ``[B, 3, S, S]`` of ``index`` ``[B]``, each in its view ``[B]`` (None: as they are)."""
        pixels = self._pixels[index.to(self._pixels.device)]
        if pixels.device != self._device:
            pixels = (
                pixels.pin_memory().to(self._device, non_blocking=True)
                if self._device.type == "cuda"
                else pixels.to(self._device)
            )
        images = (pixels.float() - self._mean) / self._std
        if view is None:
            return images
        bits = view.to(self._device).view(-1, 1, 1, 1)
        images = torch.where((bits & 1).bool(), images.flip(-1), images)
        return torch.where((bits & 2).bool(), images.flip(-2), images)


def epoch_order(seed: int, epoch: int, count: int) -> Tensor:
    """The order ``[count]`` in which one run sees its training images in one epoch."""
    return torch.randperm(count, generator=stream(seed, "order", epoch))


def epoch_views(seed: int, epoch: int, count: int, protocol: Protocol) -> Tensor:
    """The view ``[count]`` of each training image (by position in the epoch): independent or joint flips."""
    draw = torch.rand((2, count), generator=stream(seed, "flips", epoch))
    if protocol.flip_mode == "joint":
        draw[1] = draw[0]
    horizontal = (draw[0] < (protocol.hflip or 0.0)).long()
    return horizontal + 2 * (draw[1] < (protocol.vflip or 0.0)).long()


def batches(count: int, size: int, *, drop_last: bool) -> list[slice]:
    """Where each step's batch begins and ends; a set smaller than one batch is one batch all the same."""
    slices = [slice(start, min(start + size, count)) for start in range(0, count, size)]
    if drop_last and len(slices) > 1 and slices[-1].stop - slices[-1].start < size:
        slices.pop()
    return slices

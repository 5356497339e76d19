"""Batches for the device: gathered from the decoded images, flipped and normalised, for several replicas at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from clipbench.engine.random import stream
from clipbench.models.transfer import Normaliser, sent
from clipbench.registry import Protocol

_RESIDENT_SHARE = 0.25
"""Share of the free GPU memory that the decoded images may take; larger sets stay on the host."""


@dataclass(frozen=True)
class EpochPlan:
    """One epoch: the images of each replica in their order ``[R, n]``, cut into batches."""

    epoch: int
    order: Tensor
    parts: Sequence[slice]


class Images:
    """Decoded images ``[n, 3, S, S]`` (uint8), on the GPU where they fit, and the views that a protocol trains on.

    A view is one of four: bit 0 flips horizontally, bit 1 vertically. ``used`` ``[n]`` says which images of the data
    set these are (None: all, in order); indices are those of the data set.
    """

    def __init__(
        self,
        decoded: np.ndarray,
        mean: Sequence[float],
        std: Sequence[float],
        device: torch.device,
        used: Tensor | None = None,
    ) -> None:
        self.identity = _identity(decoded, mean, std)
        self._pixels = torch.from_numpy(np.asarray(decoded))
        self._row = None if used is None else rows_of(used)
        self.device = device
        self._pixels = resident(self._pixels, device)
        self._normalise = Normaliser(mean, std, device)

    def __len__(self) -> int:
        return self._pixels.shape[0]

    def batch(self, index: Tensor, view: Tensor | None = None) -> Tensor:
        """Normalised images ``[B, 3, S, S]`` of ``index`` ``[B]``, each in its view ``[B]`` (None: as they are)."""
        row = index if self._row is None else self._row[index]
        images = self._normalise(self._pixels[sent(row, self._pixels.device)])
        if view is None:
            return images
        bits = sent(view, self.device).view(-1, 1, 1, 1)
        images = torch.where((bits & 1).bool(), images.flip(-1), images)
        return torch.where((bits & 2).bool(), images.flip(-2), images)

    def pixels(self, index: Tensor) -> Tensor:
        """The images ``[B, 3, S, S]`` of ``index`` ``[B]`` as they were decoded, on the CPU."""
        row = index if self._row is None else self._row[index]
        return self._pixels[row.to(self._pixels.device)].cpu()

    def train_batches(self, protocol: Protocol, seeds: Sequence[int], epochs: Iterable[EpochPlan]) -> Iterator[Tensor]:
        """Normalised images ``[R*B, 3, S, S]`` of every batch of the epochs, flipped as each epoch has it."""
        return flipped_batches(self.batch, protocol, seeds, epochs)


def resident(pixels: Tensor, device: torch.device) -> Tensor:
    """The pixels on the GPU where they fit, else where they are."""
    if device.type == "cuda" and pixels.nbytes < _RESIDENT_SHARE * torch.cuda.mem_get_info(device)[0]:
        return pixels.to(device)
    return pixels


def flipped_batches(
    batch: Callable[[Tensor, Tensor], Tensor], protocol: Protocol, seeds: Sequence[int], epochs: Iterable[EpochPlan]
) -> Iterator[Tensor]:
    """What ``batch`` gives for the images and views of batch after batch."""
    for plan in epochs:
        views = torch.stack([epoch_views(seed, plan.epoch, plan.order.shape[1], protocol) for seed in seeds])
        for part in plan.parts:
            yield batch(plan.order[:, part].flatten(), views[:, part].flatten())


def _identity(decoded: np.ndarray, mean: Sequence[float], std: Sequence[float]) -> str | None:
    """What these network inputs are, for caches of what is computed from them; None for pixels without a file.

    The name of a file of the image cache is a digest of the images and of how they were decoded.
    """
    if not isinstance(decoded, np.memmap) or decoded.filename is None:
        return None
    return f"{Path(decoded.filename).stem} {tuple(mean)} {tuple(std)}"


def rows_of(used: Tensor) -> Tensor:
    """Row ``[N]`` of each image of the data set among ``used`` ``[n]``; images that are not there get -1."""
    row = torch.full((int(used.max()) + 1 if len(used) else 0,), -1, dtype=torch.long)
    row[used] = torch.arange(len(used))
    return row


def epoch_order(seed: int, epoch: int, count: int) -> Tensor:
    """The order ``[count]`` in which one run sees its training images in one epoch."""
    return torch.randperm(count, generator=stream(seed, "order", epoch))


def balanced_order(seed: int, epoch: int, groups: Tensor) -> Tensor:
    """An order ``[n]`` in which the groups (source domains) take turns, so that every batch holds as many of each.

    A group that is smaller than its share comes again from the beginning, in another order; of a larger one, another
    part is seen in each epoch.
    """
    generator, count = stream(seed, "order", epoch), len(groups)
    members = [torch.nonzero(groups == group).flatten() for group in torch.unique(groups)]
    share = -(-count // len(members))
    rows = []
    for some in members:
        passes = [some[torch.randperm(len(some), generator=generator)] for _ in range(-(-share // len(some)))]
        rows.append(torch.cat(passes)[:share])
    return torch.stack(rows, dim=1).flatten()[:count]


def epoch_views(seed: int, epoch: int, count: int, protocol: Protocol) -> Tensor:
    """The view ``[count]`` of each training image (by position in the epoch): independent or joint flips."""
    draw = torch.rand((2, count), generator=stream(seed, "flips", epoch))
    if protocol.flip_mode == "joint":
        draw[1] = draw[0]
    horizontal: Tensor = (draw[0] < protocol.need("hflip")).long()
    vertical: Tensor = (draw[1] < protocol.need("vflip")).long()
    return horizontal + 2 * vertical


def batches(count: int, size: int, *, drop_last: bool) -> list[slice]:
    """Where each step's batch begins and ends; a set smaller than one batch is one batch all the same."""
    slices = [slice(start, min(start + size, count)) for start in range(0, count, size)]
    if drop_last and len(slices) > 1 and slices[-1].stop - slices[-1].start < size:
        slices.pop()
    return slices

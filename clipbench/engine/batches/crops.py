"""Random resized crops, faithful to torchvision's: cut from the original image, resized by Pillow, then flipped.

Threads prepare the next batches while the device works: Pillow releases the interpreter's lock. Originals are decoded
once and kept as far as memory is set aside for them.
"""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from clipbench.data.decode import load_rgb
from clipbench.data.images import ImageSet
from clipbench.engine.batches.views import EpochPlan
from clipbench.engine.random import stream
from clipbench.models.transfer import Normaliser
from clipbench.registry import Protocol

_TRIES = 10
"""Boxes that torchvision draws before it falls back to the centre."""
_RATIO = (3.0 / 4.0, 4.0 / 3.0)
_AHEAD = 4
"""Batches that are prepared while one is trained on."""
_KEPT_BYTES = 2 << 30
_FILTERS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}


class Crops:
    """Training images ``[R*B, 3, S, S]`` as random crops of the originals, normalised on the device."""

    def __init__(
        self,
        images: ImageSet,
        size: int,
        interpolation: str,
        mean: Sequence[float],
        std: Sequence[float],
        device: torch.device,
    ) -> None:
        self._images, self._size, self._filter = images, size, _FILTERS[interpolation]
        self._normalise = Normaliser(mean, std, device)
        self._originals: dict[int, Image.Image] = {}
        self._bytes, self._lock = 0, Lock()
        self._pool = ThreadPoolExecutor(max_workers=os.cpu_count())

    def train_batches(self, protocol: Protocol, seeds: Sequence[int], epochs: Iterable[EpochPlan]) -> Iterator[Tensor]:
        """Normalised crops ``[R*B, 3, S, S]`` of every batch of the epochs, prepared ahead across their borders."""
        waiting: deque[list[Future[np.ndarray]]] = deque()
        for index, draws in _batches(seeds, epochs):
            rows = zip(index.flatten().tolist(), draws.flatten(0, 1).numpy(), strict=True)
            waiting.append([self._pool.submit(self._crop, protocol, i, draw) for i, draw in rows])
            if len(waiting) > _AHEAD:
                yield self._gathered(waiting.popleft())
        while waiting:
            yield self._gathered(waiting.popleft())

    def _gathered(self, crops: Sequence[Future[np.ndarray]]) -> Tensor:
        return self._normalise(torch.from_numpy(np.stack([crop.result() for crop in crops])))

    def _crop(self, protocol: Protocol, index: int, draw: np.ndarray) -> np.ndarray:
        """One crop, uint8 ``[3, S, S]``."""
        image = self._original(index)
        low, high = protocol.need("crop_scale")
        top, left, height, width = crop_box(draw, image.height, image.width, (low, high))
        cut = image.crop((left, top, left + width, top + height)).resize((self._size, self._size), self._filter)
        pixels = np.asarray(cut).transpose(2, 0, 1)
        return pixels[:, :, ::-1] if draw[-1] < protocol.need("hflip") else pixels

    def _original(self, index: int) -> Image.Image:
        kept = self._originals.get(index)
        if kept is not None:
            return kept
        image = load_rgb(self._images.root / self._images.files[index], self._images.decoding)
        with self._lock:
            # Every epoch comes back to every image: throwing one out for another would gain nothing.
            if self._bytes < _KEPT_BYTES:
                self._bytes += image.width * image.height * 3
                self._originals[index] = image
        return image


def _batches(seeds: Sequence[int], epochs: Iterable[EpochPlan]) -> Iterator[tuple[Tensor, Tensor]]:
    """Images ``[R, B]`` and draws ``[R, B, 23]`` of batch after batch."""
    for plan in epochs:
        draws = torch.stack([epoch_draws(seed, plan.epoch, plan.order.shape[1]) for seed in seeds])
        for part in plan.parts:
            yield plan.order[:, part], draws[:, part]


def epoch_draws(seed: int, epoch: int, count: int) -> Tensor:
    """Uniform numbers ``[count, 23]`` of each training image by position: ten areas, ten ratios, place, flip."""
    return torch.rand((count, 2 * _TRIES + 3), generator=stream(seed, "crops", epoch), dtype=torch.float64)


def crop_box(draw: np.ndarray, height: int, width: int, scale: tuple[float, float]) -> tuple[int, int, int, int]:
    """Top, left, height and width of a crop of an image, by torchvision's ``RandomResizedCrop``.

    Of ten boxes with an area uniform in ``scale`` (a share of the image's) and a log-uniform aspect ratio between 3/4
    and 4/3, the first that fits; else the largest centre box within these ratios.
    """
    low, high = (math.log(ratio) for ratio in _RATIO)
    areas = height * width * (scale[0] + (scale[1] - scale[0]) * draw[:_TRIES])
    ratios = np.exp(low + (high - low) * draw[_TRIES : 2 * _TRIES])
    for area, ratio in zip(areas.tolist(), ratios.tolist(), strict=True):
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            top, left = int(draw[-3] * (height - h + 1)), int(draw[-2] * (width - w + 1))
            return top, left, h, w
    w = min(width, round(height * _RATIO[1]))
    h = min(height, round(width / _RATIO[0]))
    return (height - h) // 2, (width - w) // 2, h, w

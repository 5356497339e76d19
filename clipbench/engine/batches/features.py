"""Features computed once: no image passes twice in the same view, in this job or (by a file) in later ones."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from clipbench.data.cache import cache_dir
from clipbench.engine.batches.views import EpochPlan, Images, flipped_batches
from clipbench.files import WriteError, beside
from clipbench.models.transfer import sent
from clipbench.registry import Protocol

_BATCH = 128
_PER_FILE = 1 << 16
"""A file holds at most that many features: a whole data set's test part is one, ImageNet's too."""


@dataclass(frozen=True)
class Encoder:
    """Images to features without a gradient, and what identifies it (weights, pooling, precision, device)."""

    encode: Callable[[Tensor], Tensor]
    identity: str | None


class FeatureBank:
    """Features of images in their views, in place of the images.

    Exact: flips are the only random part of these views, so that one, two or four features stand for every draw.
    """

    def __init__(self) -> None:
        self._parts: list[Tensor] = []
        self._place = torch.zeros((0, 4), dtype=torch.long)
        self._features = torch.zeros(0)

    def add(self, images: Images, used: Tensor, encoder: Encoder, views: int) -> FeatureBank:
        """Take in the images ``used`` ``[U]`` in the first ``views`` views."""
        size = max(int(used.max()) + 1, len(self._place))
        place = torch.full((size, 4), -1, dtype=torch.long)
        place[: len(self._place)] = self._place
        start = sum(len(part) for part in self._parts)
        for view in range(views):
            self._parts.append(_kept(images, used, encoder, view))
            place[used, view] = start + view * len(used) + torch.arange(len(used))
        self._place, self._features = place, torch.cat(self._parts)
        return self

    def train_batches(self, protocol: Protocol, seeds: Sequence[int], epochs: Iterable[EpochPlan]) -> Iterator[Tensor]:
        """Features ``[R*B, D]`` of every batch of the epochs, of the views that each epoch has."""
        return flipped_batches(self.batch, protocol, seeds, epochs)

    def batch(self, index: Tensor, view: Tensor | None = None) -> Tensor:
        """Features ``[B, D]`` of ``index`` ``[B]``, each in its view ``[B]`` (None: as they are)."""
        row = self._place[index, torch.zeros_like(index) if view is None else view]
        return self._features[sent(row, self._features.device)]


def _kept(images: Images, used: Tensor, encoder: Encoder, view: int) -> Tensor:
    """Features ``[U, D]``, from the file that an earlier pass left or computed now and left for a later one."""
    path = _file(images, used, encoder, view)
    if path is not None and (found := _read(path, len(used))) is not None:
        return found.to(images.device)
    parts = []
    for index in torch.split(used, _BATCH):
        parts.append(encoder.encode(images.batch(index, torch.full_like(index, view))).float())
    features = torch.cat(parts)
    if path is not None:
        _write(path, features)
    return features


def _file(images: Images, used: Tensor, encoder: Encoder, view: int) -> Path | None:
    if images.identity is None or encoder.identity is None or len(used) > _PER_FILE:
        return None
    digest = hashlib.sha256(f"{images.identity} {encoder.identity} {view}".encode())
    digest.update(used.numpy().tobytes())
    return cache_dir() / "features" / f"{digest.hexdigest()[:24]}.safetensors"


def _read(path: Path, count: int) -> Tensor | None:
    """The features of a whole file; None where there is none, or one that is torn or damaged."""
    if not path.is_file():  # a pipe would be waited for
        return None
    with suppress(OSError, SafetensorError, KeyError, ValueError):
        with safe_open(path, "pt") as file:
            features: Tensor = file.get_tensor("features")
            of_form = features.dtype == torch.float32 and len(features) == count
            whole = of_form and (file.metadata() or {}).get("sha256") == _digest(features)
        return features if whole else None
    return None


def _write(path: Path, features: Tensor) -> None:
    """Keep the features for later passes, written beside and renamed; a disk that is full costs a later pass time."""
    with suppress(WriteError, SafetensorError), beside(path) as partial:
        kept = features.cpu().contiguous()
        save_file({"features": kept}, partial, metadata={"sha256": _digest(kept)})


def _digest(features: Tensor) -> str:
    return hashlib.sha256(features.contiguous().numpy().tobytes()).hexdigest()

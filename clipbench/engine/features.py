"""Frozen features, computed once: a linear probe needs no second look at an image in the same view."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from clipbench.engine.views import Images

_BATCH = 128


class FeatureBank:
    """Features ``[N, V, D]`` of every image in its views; offers the same ``batch`` as :class:`Images`.

    Exact: flips are the only random part of these views, so that four features stand for every draw.
    """

    def __init__(
        self, images: Images, encode: Callable[[Tensor], Tensor], views: int, advance: Callable[[int], None]
    ) -> None:
        count = len(images)
        stacked = []
        for view in range(views):
            parts = []
            for index in torch.split(torch.arange(count), _BATCH):
                parts.append(encode(images.batch(index, torch.full_like(index, view))).float())
                advance(len(index))
            stacked.append(torch.cat(parts))
        self._features = torch.stack(stacked, dim=1)

    def batch(self, index: Tensor, view: Tensor | None = None) -> Tensor:
        """Features ``[B, D]`` of ``index`` ``[B]``, each in its view ``[B]`` (None: as they are)."""
        device = self._features.device
        chosen = torch.zeros_like(index) if view is None else view
        return self._features[index.to(device), chosen.to(device)]

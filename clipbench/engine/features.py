"""Frozen features, computed once: a linear probe needs no second look at an image in the same view."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from clipbench.engine.views import Images

_BATCH = 128


class FeatureBank:
    """Features ``[U, V, D]`` of the images ``used`` ``[U]`` in their views; the same ``batch`` as :class:`Images`.

    Exact: flips are the only random part of these views, so that four features stand for every draw.
    """

    def __init__(
        self,
        images: Images,
        used: Tensor,
        encode: Callable[[Tensor], Tensor],
        views: int,
        advance: Callable[[int], None],
    ) -> None:
        stacked = []
        for view in range(views):
            parts = []
            for index in torch.split(used, _BATCH):
                parts.append(encode(images.batch(index, torch.full_like(index, view))).float())
                advance(len(index))
            stacked.append(torch.cat(parts))
        self._features = torch.stack(stacked, dim=1)
        self._place = torch.zeros(len(images), dtype=torch.long)
        self._place[used] = torch.arange(len(used))

    def batch(self, index: Tensor, view: Tensor | None = None) -> Tensor:
        """Features ``[B, D]`` of ``index`` ``[B]``, each in its view ``[B]`` (None: as they are)."""
        device = self._features.device
        chosen = torch.zeros_like(index) if view is None else view
        return self._features[self._place[index].to(device), chosen.to(device)]

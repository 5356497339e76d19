"""OpenMax: an unknown class from the Weibull tails of each class's distances (Bendale and Boult, CVPR 2016; OSDN)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clipbench.methods.base import Method
from clipbench.registry.field import Field

Array = NDArray[np.float64]
_EUCLIDEAN = 200.0
"""What OSDN divides Euclidean distances by in its ``eucos`` distance (openmax_utils.py:104-105)."""


@dataclass(frozen=True)
class Tails:
    """Of each class the mean activation ``[C, C]``, and of its tail scale, shape and smallest distance ``[C]``.

    A class without a correctly classified training image has a scale of infinity: it rejects nothing.
    """

    mean: Array
    scale: Array
    shape: Array
    small: Array

    def scores(self, activations: Array) -> Array:
        """How far in the tail of each class an image lies, ``[n, C]``: the Weibull's distribution function."""
        from scipy.stats import weibull_min

        distances = np.stack([eucos(activations, mean) for mean in self.mean], axis=1)
        inside = np.maximum(distances - self.small + 1.0, 0.0)
        found: Array = weibull_min.cdf(inside, self.shape, loc=0.0, scale=self.scale)
        return np.where(np.isfinite(self.scale), found, 0.0)


def eucos(activations: Array, mean: Array) -> Array:
    """Euclidean distance over 200, plus cosine distance, ``[n]``, of activations ``[n, C]`` and one mean ``[C]``."""
    norms = np.linalg.norm(activations, axis=1) * np.linalg.norm(mean)
    cosine = 1.0 - (activations @ mean) / np.where(norms > 0.0, norms, 1.0)
    far: Array = np.linalg.norm(activations - mean, axis=1) / _EUCLIDEAN + cosine
    return far


def fit_tails(activations: Array, labels: NDArray[np.int64], tail: int) -> Tails:
    """The tails of training activations ``[n, C]`` with labels ``[n]`` (MAV_Compute.py:72-102, evt_fitting.py:93-105).

    Only images whose largest activation is their class's count. The ``tail`` largest distances of a class are shifted
    so that the smallest of them is 1, and a two-parameter Weibull is fitted by maximum likelihood, as libMR does.
    """
    classes = activations.shape[1]
    mean, scale = np.zeros((classes, classes)), np.full(classes, np.inf)
    shape, small = np.ones(classes), np.zeros(classes)
    right = activations.argmax(axis=1) == labels
    for label in range(classes):
        chosen = activations[right & (labels == label)]
        if len(chosen) == 0:
            continue
        mean[label] = chosen.mean(axis=0)
        far = np.sort(eucos(chosen, mean[label]))[-tail:]
        small[label] = far[0]
        shape[label], scale[label] = weibull(far - far[0] + 1.0)
    return Tails(mean, scale, shape, small)


def weibull(values: Array) -> tuple[float, float]:
    """Shape and scale of the likeliest Weibull distribution of positive values ``[n]``.

    Equal values have none: the step at that value is a Weibull of a very large shape.
    """
    from scipy.stats import weibull_min

    if np.ptp(values) < 1e-12:
        return 1e6, float(values[0])
    shape, _, scale = weibull_min.fit(values, floc=0.0)
    return float(shape), float(scale)


def recalibrated(activations: Array, tails: Tails, alpha: int) -> tuple[Array, Array]:
    """Activations ``[n, C]`` as OpenMax leaves them, and what it took from them (compute_openmax.py:134-172).

    The ``alpha`` largest of each image lose a share that falls with their rank, and grows with the tail's score.
    """
    count = activations.shape[1]
    alpha = min(alpha, count)
    order = np.argsort(-activations, axis=1, kind="stable")
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.arange(count)[None], axis=1)
    weight = np.clip((alpha - ranks) / alpha, 0.0, None)
    left = activations * (1.0 - tails.scores(activations) * weight)
    return left, activations - left


class OpenMax(Method):
    """CLIP's logits, recalibrated; nothing is trained. The last column stands for the unknown."""

    seed_axis: ClassVar[bool] = True
    rejects: ClassVar[bool] = True
    uses: ClassVar[Sequence[str]] = ("train_part",)
    fields: ClassVar[Sequence[Field]] = (
        Field("openmax_tail", int, "OpenMax: largest distances of a class that its tail is fitted to", low=1),
        Field("openmax_alpha", int, "OpenMax: largest activations of an image that are recalibrated", low=1),
        Field(
            "openmax_activations",
            str,
            "OpenMax: scaled cosines, or these minus their mean over an image's classes",
            words=("centred", "cosine"),
        ),
    )

    def finish(self) -> None:
        """Fit the tails of each run to its training images."""
        support, need = self.setting.support("train"), self.setting.protocol.need
        found = self.activations(support.features.flatten(0, 1)).double().cpu().numpy()
        tail, labels = need("openmax_tail"), support.labels.numpy()
        self.tails = [fit_tails(a, truth, tail) for a, truth in zip(found, labels, strict=True)]

    @torch.no_grad()
    def logits(self, features: Tensor) -> Tensor:
        """``[R, B, C + 1]``: recalibrated activations, and the sum of what they lost; their softmax is OpenMax."""
        alpha, rows = self.setting.protocol.need("openmax_alpha"), []
        for activations, tails in zip(self.activations(features).double().cpu().numpy(), self.tails, strict=True):
            left, lost = recalibrated(activations, tails, alpha)
            rows.append(np.concatenate([left, lost.sum(axis=1, keepdims=True)], axis=1))
        return torch.from_numpy(np.stack(rows)).float().to(features.device)

    def activations(self, features: Tensor) -> Tensor:
        """Activations ``[R, B, C]`` of image features ``[R*B, D]``."""
        logits = super().logits(features)
        if self.setting.protocol.need("openmax_activations") == "centred":
            logits = logits - logits.mean(dim=-1, keepdim=True)
        return logits

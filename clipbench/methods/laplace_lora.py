"""Laplace-LoRA (Yang et al., ICLR 2024): after LoRA's training, a Gaussian around its factors, and what that predicts.

The training images are looked at once more, in the test view; the prior's precision is where the evidence is largest;
what is tested is the mean of the softmax over the logits' Gaussian. Adapters of the text tower stay at their mode.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import torch
from torch import Tensor

from clipbench.adapters.laplace import Laplace, probabilities, probit_probabilities
from clipbench.methods.base import Setting
from clipbench.methods.low_rank import LoRA
from clipbench.registry.field import Field

_ROWS = 8
"""Images of each run that a backward pass per class takes at once."""


class LaplaceLoRA(LoRA):
    """LoRA with the predictive mean in the place of the softmax."""

    fields: ClassVar[tuple[Field, ...]] = (
        Field("laplace_samples", int, "Laplace-LoRA: draws of the logits; 0 for the closed probit form", low=0),
    )

    def setup(self, setting: Setting) -> None:
        """LoRA's; nothing is fitted yet."""
        super().setup(setting)
        self._laplace: Laplace | None = None
        self._seen: Tensor | None = None
        self._fixed = torch.empty(0)

    def image_features(self, images: Tensor) -> Tensor:
        """LoRA's; once something is fitted, the test's images are kept for their Jacobian."""
        self._seen = None if self.training or self._laplace is None else images
        return super().image_features(images)

    def logits(self, features: Tensor) -> Tensor:
        """LoRA's logits, or the logarithm of the predictive mean, ``[R, B, C]``."""
        if self._laplace is None or self._seen is None:
            return super().logits(features)
        images = self._seen.view(len(self.setting.seeds), -1, *self._seen.shape[1:])
        found = torch.cat([self._predictive(self._laplace, part) for part in torch.split(images, _ROWS, 1)], 1)
        return found.clamp_min(torch.finfo(found.dtype).tiny).log()

    def finish(self) -> None:
        """Fit the Gaussian to the training images."""
        self._laplace = None
        self.eval()
        self._fixed = self.class_features().detach() if self.setting.head is None else torch.empty(0)
        laplace = Laplace(self.adapted, self._mode_logits)
        laplace.fit(self._batches()).fit_precision()
        self._laplace = laplace

    def _predictive(self, laplace: Laplace, images: Tensor) -> Tensor:
        mean, covariance = laplace.predict(images.flatten(0, 1))
        samples = self.setting.protocol.need("laplace_samples")
        if not samples:
            return probit_probabilities(mean, covariance)
        return torch.stack(
            [
                probabilities(*each, samples=samples, generator=self.setting.stream("laplace", run))
                for run, each in enumerate(zip(mean, covariance, strict=True))
            ]
        )

    def _mode_logits(self, images: Tensor) -> Tensor:
        with torch.autocast(images.device.type, enabled=False):  # gradients of fp16 vanish without a loss scale
            features = LoRA.image_features(self, images)
            return super().logits(features) if self.setting.head is not None else self.cosine(features, self._fixed)

    def _batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        labels = self.setting.support("train", "test").labels
        images = self.setting.images("train", "test")
        for index in torch.split(torch.arange(images.count), _ROWS):
            rows = index.expand(len(self.setting.seeds), -1)
            yield images.batch(rows), labels[:, index].to(self.setting.device)

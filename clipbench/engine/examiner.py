"""What is measured of a model on a part of the data: the side of a task that the loop tests and validates with."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from typing import Protocol as Interface

import numpy as np
import torch
from torch import Tensor

from clipbench.data.splits import Split
from clipbench.engine.class_metrics import class_metrics


@dataclass(frozen=True)
class Results:
    """What a run's record says of its predictions: the main metric first, in percent; and the files beside it."""

    metrics: Mapping[str, float]
    files: Mapping[str, bytes]


class Examiner(Interface):
    """Inputs, truth, predictions and scores of images, for R replicas; ``rows`` images at most in a forward pass.

    ``score`` names the metric that is looked at after an epoch.
    """

    rows: int
    score: str

    def inputs(self, index: Tensor, part: str, epoch: int) -> Any:
        """Network inputs of images ``[R, B]`` of ``train``, ``val`` or ``test``, without augmentation."""

    def truth(self, index: Tensor) -> Tensor:
        """What is right for images ``[R, B]``: ``[R, B, ...]``."""

    def predicted(self, logits: Tensor) -> Tensor:
        """Predictions ``[R, B, ...]`` of logits ``[R, B, ...]``, small enough to keep."""

    def scores(self, predictions: Tensor, index: Tensor) -> list[float]:
        """The score of each replica in percent, of predictions ``[R, t, ...]`` for images ``[R, t]``."""

    def results(self, predictions: Tensor, cut: Split) -> Results:
        """All that is told of one replica's predictions ``[t, ...]`` for the test images of its split."""


class Reader(Interface):
    """A source of network inputs."""

    def batch(self, index: Tensor) -> Tensor:
        """Network inputs of ``index`` ``[B]`` in the test view."""


class ByClass:
    """One class per image: logits ``[R, B, C]``, labels ``[N]`` of all images.

    The score is the accuracy, over the images of the ``known`` classes where there are others.
    """

    rows: int = 256
    score: str = "accuracy"

    def __init__(self, source: Reader, labels: Tensor, known: Sequence[int] = ()) -> None:
        self._source, self._labels, self._known = source, labels, torch.tensor(list(known), dtype=torch.long)

    def inputs(self, index: Tensor, part: str, epoch: int) -> Tensor:  # noqa: ARG002
        """Network inputs ``[R*B, ...]``."""
        return self._source.batch(index.flatten())

    def truth(self, index: Tensor) -> Tensor:
        """Labels ``[R, B]``."""
        return self._labels[index]

    def predicted(self, logits: Tensor) -> Tensor:
        """Classes ``[R, B]``."""
        return logits.argmax(dim=-1)

    def scores(self, predictions: Tensor, index: Tensor) -> list[float]:
        """Accuracy of each replica in percent."""
        truth = self._labels[index]
        counted = torch.isin(truth, self._known) if len(self._known) else torch.ones_like(truth, dtype=torch.bool)
        right = (predictions == truth) & counted
        return [100.0 * float(r[c].double().mean()) for r, c in zip(right, counted, strict=True)]

    def results(self, predictions: Tensor, cut: Split) -> Results:
        """Accuracies; labels and predictions as a file."""
        labels, found = self._labels[list(cut.test)].numpy(), predictions.numpy()
        arrays = {"labels": labels.astype(np.uint16), "predictions": found.astype(np.uint16)}
        return Results(class_metrics(labels, found, cut.known), {"predictions.npz": npz(arrays)})


def npz(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Arrays as a compressed, pickle-free numpy archive."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()

"""A task: what a model is trained for. It gives batches, the forward pass, the truth, the score and the results."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from clipbench.data.splits import Split
from clipbench.engine.batches.synthetic import Synthetic
from clipbench.engine.batches.views import EpochPlan, balanced_order, epoch_order
from clipbench.methods.base import Method

Outputs = Mapping[str, Tensor]
"""What is kept of a model's outputs for the test images, by name, each ``[R, t, ...]``; ``predictions`` always."""
NO_NUMBERS = "no_numbers"
"""Name of the output ``[R, t]`` (bool) that says of which images the logits are no numbers: NaN or infinite."""


@dataclass(frozen=True)
class Parts:
    """Train, test and validation indices of each run, ``[R, n]``, and the label of every image ``[N]``.

    ``known`` are the classes whose images are scored; all of them where it is empty. ``groups`` ``[R, n]`` says which
    source domain each training image is of, where a batch holds as many of each; ``synthetic`` images stand beside
    every batch.
    """

    train: Tensor
    test: Tensor
    labels: Tensor
    val: Tensor = field(default_factory=lambda: torch.zeros(1, 0, dtype=torch.long))
    known: Sequence[int] = ()
    groups: Tensor | None = None
    synthetic: Synthetic | None = None

    def order(self, seed: int, run: int, epoch: int) -> Tensor:
        """The positions ``[n]`` in which one run sees its training images in one epoch."""
        if self.groups is None:
            return epoch_order(seed, epoch, self.train.shape[1])
        return balanced_order(seed, epoch, self.groups[run])


@dataclass(frozen=True)
class Results:
    """What a run's record says of its outputs: the main metric first, in percent; and the files beside it."""

    metrics: Mapping[str, float]
    files: Mapping[str, bytes]


class Task(nn.Module):
    """A pretrained model under a method, for R runs whose rows follow each other: inputs ``[R*B, ...]``.

    Attributes:
        model: The pretrained network with its name, weights, image size and normalisation.
        method: What is trained, and how logits come about.
        score: The metric that is looked at after an epoch.
        rows: Images in a forward pass without a gradient, at most, over all runs.
    """

    model: Any
    method: Method
    score: str
    rows: int

    def train_batches(self, seeds: Sequence[int], epochs: Iterable[EpochPlan]) -> Iterator[Any]:
        """Inputs of every training batch of the epochs, one after the other."""
        raise NotImplementedError

    def inputs(self, index: Tensor, part: str, epoch: int) -> Any:
        """Inputs of images ``[R, B]`` of ``train``, ``val`` or ``test``, without augmentation."""
        raise NotImplementedError

    def truth(self, index: Tensor) -> Tensor:
        """What is right for images ``[R, B]``: ``[R, B, ...]``."""
        raise NotImplementedError

    def losses(self, inputs: Any, truth: Tensor) -> Tensor:
        """Training loss ``[R]`` of inputs and truth ``[R, B, ...]``; ``[K, R]`` of a method with several."""
        raise NotImplementedError

    def loss(self, logits: Tensor, truth: Tensor) -> Tensor:
        """Loss ``[R]`` of validation logits and truth ``[R, B, ...]``."""
        return self.method.loss(logits, truth)

    def outputs(self, logits: Tensor, truth: Tensor) -> Outputs:
        """What is kept of logits ``[R, B, ...]``, small enough to keep for every test image."""
        raise NotImplementedError

    def scores(self, outputs: Outputs, index: Tensor) -> list[float]:
        """The score of each run in percent, of outputs ``[R, t, ...]`` for images ``[R, t]``."""
        raise NotImplementedError

    def results(self, outputs: Outputs, cut: Split) -> Results:
        """All that the record says of one run's outputs ``[t, ...]`` for the test images of its split."""
        raise NotImplementedError

    def companions(self, seed: int) -> Mapping[str, bytes]:  # noqa: ARG002
        """Further files of one run that the job asked to keep."""
        return {}

    def start_epoch(self, seeds: Sequence[int], epoch: int) -> None:
        """Restart the random streams of the model and of what stands on it, one per run."""

    def parameter_groups(self) -> list[dict[str, Any]]:
        """What is trained, by group."""
        return self.method.parameter_groups()

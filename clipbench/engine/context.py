"""What a job needs that is no part of its protocol: data, files behind names, a device, and who watches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import torch

from clipbench.data.load import Datasets
from clipbench.data.user import UserData
from clipbench.engine.stop import Stop
from clipbench.models.products import AUTO
from clipbench.models.weights.sources import Sources
from clipbench.results.record import Epoch


def _ignore(*_: object) -> None:
    """Nobody watches."""


@dataclass(frozen=True)
class Context:
    """Where a job is carried out.

    Attributes:
        data_root: The folder of the data sets.
        device: Where models train.
        products: Who takes large float32 products on a CPU: ``auto``, ``onednn`` or ``pytorch``.
        compiled: Whether the transformers' blocks are compiled.
        checkpoints: The folder of checkpoints, saved at most every ``checkpoint_seconds``.
        sources: Files of the user's own behind names in a protocol (a model config, weights).
        user_data: The user's own data sets, by their names in protocols.
        datasets: Both of them, each data set listed once.
        advance: Takes the number of images that have passed through the model since the last call.
        more: Takes how many images more (or fewer) a job has to do than its protocol says: an earlier stage, what a
            checkpoint has done.
        say: Takes a line for the user.
        line: Takes a new line of every run's history.
        losses: Takes, within an epoch, a step and the runs' losses at it.
        stop: Whether somebody has asked to stop.
    """

    data_root: Path
    device: torch.device
    checkpoints: Path
    sources: Sources = field(default_factory=Sources)
    user_data: Mapping[str, UserData] = field(default_factory=dict)
    checkpoint_seconds: float = 600.0
    products: str = AUTO
    compiled: bool = False
    advance: Callable[[int], None] = _ignore
    more: Callable[[int], None] = _ignore
    say: Callable[[str], None] = _ignore
    datasets: Datasets | None = None
    line: Callable[[Sequence[Epoch]], None] = _ignore
    losses: Callable[[int, Sequence[float]], None] = _ignore
    stop: Stop = field(default_factory=Stop)

    @cached_property
    def listed(self) -> Datasets:
        """The data sets, each listed once for all jobs that share this context."""
        return self.datasets or Datasets(self.data_root, self.user_data)

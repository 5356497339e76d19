"""What every method offers the engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol as Interface

from torch import nn

from clipbench.spec import Protocol


class Method(Interface):
    """What is trained in the model under a task's head."""

    replicable: bool
    """Several seeds can share one frozen model in one pass."""

    frozen: bool
    """Nothing in the model is trained, so that its features can be computed once."""

    def attach(self, module: nn.Module, protocol: Protocol, seeds: Sequence[int]) -> None:
        """Freeze what stays, and put in or free what is trained; one replica per seed, each with its own draw."""

    def start_epoch(self, module: nn.Module, seeds: Sequence[int]) -> None:
        """Restart the random streams inside the model (dropout), one seed per replica."""

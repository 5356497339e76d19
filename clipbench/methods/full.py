"""Full fine-tuning: every parameter that the feature depends on."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from clipbench.errors import UserError
from clipbench.spec import Protocol


class FullTuning:
    """The whole tower is trained; each seed needs a model of its own."""

    replicable = False
    frozen = False

    def attach(self, module: nn.Module, protocol: Protocol, seeds: Sequence[int]) -> None:  # noqa: ARG002
        """Free every parameter. Raises ``UserError`` for more than one seed: they cannot share weights that move."""
        if len(seeds) != 1:
            raise UserError("full tuning trains one seed at a time; pass --replicas 1")
        module.requires_grad_(True)

    def start_epoch(self, module: nn.Module, seeds: Sequence[int]) -> None:
        """No stream to restart: the towers here have no dropout."""

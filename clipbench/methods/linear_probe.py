"""The frozen tower under a linear head."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from clipbench.spec import Protocol


class LinearProbe:
    """Nothing in the model is trained."""

    replicable = True
    frozen = True

    def attach(self, module: nn.Module, protocol: Protocol, seeds: Sequence[int]) -> None:  # noqa: ARG002
        """Freeze every parameter."""
        module.requires_grad_(False)

    def start_epoch(self, module: nn.Module, seeds: Sequence[int]) -> None:
        """No stream to restart."""

"""Full fine-tuning: every parameter that the feature depends on."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from clipbench.errors import UserError
from clipbench.methods.base import Method
from clipbench.models.clipseg.training import free
from clipbench.registry import Protocol


class FullTuning(Method):
    """The whole model is trained; each seed needs one of its own."""

    def attach(self, model: nn.Module, protocol: Protocol, seeds: Sequence[int]) -> None:
        """Free every parameter, or those that the protocol's gradient reaches (segmentation).

        Raises ``UserError`` for more than one seed: they cannot share weights that move.
        """
        if len(seeds) != 1:
            raise UserError("full tuning trains one seed at a time; pass --replicas 1")
        if protocol.encoder_gradient is None:
            model.requires_grad_(True)
        else:
            free(model, encoder_gradient=protocol.encoder_gradient)

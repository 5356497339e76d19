"""Full fine-tuning: every parameter that the feature depends on."""

from __future__ import annotations

from typing import ClassVar

from clipbench.errors import UserError
from clipbench.methods.base import Method, Setting, pretrained
from clipbench.models.clipseg.training import free


class FullTuning(Method):
    """The whole model is trained; each seed needs one of its own."""

    gradient_through: ClassVar[str] = "weights"

    def setup(self, setting: Setting) -> None:
        """Free every parameter, or those that the protocol's gradient reaches (segmentation).

        Raises ``UserError`` for more than one seed: they cannot share weights that move.
        """
        super().setup(setting)
        if len(setting.seeds) != 1:
            raise UserError("full tuning trains one seed at a time; pass --replicas 1")
        model, reach = pretrained(setting.model), setting.protocol.encoder_gradient
        if reach is None:
            model.requires_grad_(True)
        else:
            free(model, encoder_gradient=reach)

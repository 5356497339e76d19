"""ResNet50+EAM's two stages (Zhao et al., GRSL 18(11), 2021; williamzhao95/Pay-More-Attention ab2f236 train_net.py)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

from torch import Tensor

from clipbench.errors import UserError
from clipbench.methods.augment import jittered, mixing_weight, per_channel, relit
from clipbench.methods.base import Setting, pretrained
from clipbench.methods.full import FullTuning
from clipbench.models.resnet.network import ResNet
from clipbench.registry import Protocol
from clipbench.registry.field import Field


class TwoStageMixup(FullTuning):
    """First the plain network by SGD at rates that fall in steps; then, from there, that with the gates, on mixtures.

    A mixture of an image is one with its counterpart in the reversed batch (train_net.py:198-212); the last epochs
    have none. Both stages see colour jitter and PCA noise. Weight decay spares biases and norms.
    """

    stages: ClassVar[int] = 2
    fields: ClassVar[Sequence[Field]] = (
        Field("first_epochs", int, "epochs of the first stage, of the network without gates", low=1),
        Field("first_milestones", tuple, "its epochs after each of which the rate falls tenfold", low=1, ordered=True),
        Field(
            "first_selection",
            str,
            "the epoch of the first stage that the second starts from",
            words=("last", "best-test"),
            runs=("last",),
            why_not="the first stage is not tested: its last epoch goes on",
        ),
        Field("mixup_alpha", float, "mixing weights are drawn from Beta(alpha, alpha)", above=0.0),
        Field("unmixed_epochs", int, "last epochs that train on plain images", low=0),
        Field("jitter", float, "brightness, contrast and saturation change by up to this share", low=0.0, below=1.0),
        Field("lighting", float, "standard deviation of the PCA noise", low=0.0),
    )

    def setup(self, setting: Setting) -> None:
        """Free every weight. Raises ``UserError`` for a network without gates, too."""
        super().setup(setting)
        network = pretrained(setting.model)
        if not (isinstance(network, ResNet) and network.gates()):
            raise UserError("the method eam trains a ResNet with gates: --backbone resnet50-eam, say.")
        self.network, self.stage = [network], 0

    def stage_protocol(self, stage: int) -> Protocol:
        """The first stage: momentum without Nesterov's look ahead, no warm-up, a rate that falls in steps."""
        protocol = self.setting.protocol
        if stage:
            return protocol
        return replace(
            protocol,
            epochs=protocol.need("first_epochs"),
            nesterov=False,
            schedule="multistep",
            milestones=protocol.need("first_milestones"),
            schedule_factor=0.1,
            warmup_epochs=None,
        )

    def start_stage(self, stage: int) -> None:
        """The gates come in with the second stage."""
        self.stage = stage
        self.network[0].use_gates(stage == 1)

    def start_epoch(self, epoch: int, seeds: Sequence[int]) -> None:
        """Restart the streams of the views and of the mixing weights."""
        self._views = self.setting.stream(f"colour views {self.stage} {epoch}", seed=seeds[0])
        self._weights = self.setting.stream(f"mixup {epoch}", seed=seeds[0])
        self._mixed = self.stage == 1 and epoch < self.setting.epochs - self.setting.protocol.need("unmixed_epochs")
        self._weight = 1.0

    def image_features(self, images: Tensor) -> Tensor:
        """Features ``[B, D]`` of images ``[B, 3, S, S]``: while training of views, mixed with the reversed batch's."""
        if self.training:
            images = self._view(images)
            if self._mixed:
                self._weight = mixing_weight(self.setting.protocol.need("mixup_alpha"), self._weights)
                images = self._mix(images, images.flip(0))
        return super().image_features(images)

    def losses(self, features: Tensor, truth: Tensor) -> Tensor:
        """Cross-entropy ``[1]`` with both labels of a mixture."""
        logits = self.logits(features)
        loss = self.loss(logits, truth)
        return loss if self._weight == 1.0 else self._mix(loss, self.loss(logits, truth.flip(1)))

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Weight decay acts on weights of more than one axis (train_net.py:251-252, 275-276)."""
        trained = self.trained()
        bias = None if self.setting.head is None else self.setting.head.bias
        spared = [p for p in trained if p.ndim == 1 or p is bias]
        alone = {id(p) for p in spared}
        return [
            {
                "params": [p for p in trained if id(p) not in alone],
                "weight_decay": self.setting.protocol.need("weight_decay"),
            },
            {"params": spared, "weight_decay": 0.0},
        ]

    def _mix(self, one: Tensor, other: Tensor) -> Tensor:
        return self._weight * one + (1 - self._weight) * other

    def _view(self, images: Tensor) -> Tensor:
        need = self.setting.protocol.need
        mean, std = (per_channel(v, images) for v in self.setting.model.normalisation(need("normalisation")))
        pixels = jittered((images * std + mean).clamp(0, 1), need("jitter"), self._views)
        return (relit(pixels, need("lighting"), self._views) - mean) / std

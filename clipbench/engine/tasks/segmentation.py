"""The segmentation task: one logit per pixel from an image and its prompt (CLIP-DoRA sec. 4.4)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from clipbench.data.cache import decoded_masks
from clipbench.data.images import ImageSet
from clipbench.engine.batches.sources import Decoder
from clipbench.engine.loop import Parts
from clipbench.engine.tasks.segmentation_data import Prompted, SegmentationData
from clipbench.engine.tasks.segmentation_loss import segmentation_losses
from clipbench.engine.tasks.segmentation_prompts import PromptBank
from clipbench.engine.tasks.task import AnyTask, Setup
from clipbench.errors import UserError
from clipbench.models.clipseg.load import load_clipseg
from clipbench.models.clipseg.network import Segmenter
from clipbench.models.weights.sources import Sources
from clipbench.registry import Protocol


class SegmentationTask(AnyTask):
    """CLIPSeg and a data set's prompts. The loss is the protocol's; methods say what of the network is trained."""

    def __init__(self, protocol: Protocol, images: ImageSet, seeds: Sequence[int], sources: Sources) -> None:
        super().__init__()
        _check(protocol)
        self.encoder = load_clipseg(protocol.backbone or "", protocol.weights or "", sources)
        self.replicas, self._seeds, self._loss = len(seeds), tuple(seeds), protocol.loss or "dice"
        self.prompts = PromptBank(images.prompts, protocol.prompt_type or "p1")
        self.network = Segmenter(
            self.encoder.module, encoder_gradient=bool(protocol.encoder_gradient), replicas=len(seeds)
        )

    @property
    def model(self) -> nn.Module:  # type: ignore[override]
        """The ``CLIPSegForImageSegmentation``: a part of ``network``, under no second name."""
        module: nn.Module = self.encoder.module
        return module

    def check_size(self, side: int | None) -> None:
        """Any whole number of patches will do."""
        self.encoder.check_size(side or self.encoder.image_size)

    def setup(self, decoder: Decoder, parts: Parts) -> Setup:
        """Whole images and masks, decoded once for all parts. Raises ``UserError`` where nothing is trained."""
        if not any(p.requires_grad for p in self.parameters()):
            raise UserError("the method trains nothing of the segmentation network; lora, dora and full do.")
        self.to(decoder.place.device)
        used = torch.unique(torch.cat([part.flatten() for part in (parts.train, parts.val, parts.test)]))
        images = decoder.test_view(used, decoder.protocol.test_transform)
        masks = decoded_masks(decoder.images, decoder.size, used.tolist(), decoder.place.tell)
        data = SegmentationData(images, masks, used, self.prompts, self._seeds, decoder.images.files)
        return Setup(self, data, data)

    def loss(self, logits: Tensor, truth: Tensor) -> Tensor:
        """Loss ``[R]`` of logits and masks ``[R, B, S, S]``."""
        return segmentation_losses(logits.flatten(0, 1), truth.flatten(0, 1), self._loss, len(logits))

    def forward(self, inputs: Prompted) -> Tensor:
        """Logits ``[R, B, S, S]``."""
        logits: Tensor = self.network(inputs.images, inputs.input_ids, inputs.mask)
        return logits.view(self.replicas, -1, *logits.shape[1:])


def _check(protocol: Protocol) -> None:
    """Raise ``UserError`` for views that would move the image away from its mask."""
    views = (protocol.train_transform or "resize", protocol.test_transform or "resize")
    if views != ("resize", "resize") or protocol.hflip or protocol.vflip:
        raise UserError("segmentation trains and tests on whole images as they are: train_transform and test_transform "
                        "are resize, and there are no flips.")  # fmt: skip

"""The segmentation task: one logit per pixel from an image and its prompt (CLIP-DoRA sec. 4.4)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from clipbench.data.images import ImageSet
from clipbench.engine.segmentation_prompts import PromptBank
from clipbench.models.clipseg.load import load_clipseg
from clipbench.models.clipseg.network import Segmenter
from clipbench.models.sources import Sources
from clipbench.spec import Protocol


class SegmentationTask(nn.Module):
    """CLIPSeg and a data set's prompts. ``model`` is what methods adapt, ``encoder`` tells its name and weights."""

    def __init__(self, protocol: Protocol, images: ImageSet, seeds: Sequence[int], sources: Sources) -> None:
        super().__init__()
        self.encoder = load_clipseg(protocol.backbone or "", protocol.weights or "", sources)
        self.encoder.check_size(protocol.image_size or self.encoder.image_size)
        self.prompts = PromptBank(images.prompts, protocol.prompt_type or "p1")
        self.network = Segmenter(
            self.encoder.module, encoder_gradient=bool(protocol.encoder_gradient), replicas=len(seeds)
        )

    @property
    def model(self) -> nn.Module:
        """The ``CLIPSegForImageSegmentation``."""
        return self.encoder.module

    def forward(self, images: Tensor, input_ids: Tensor, mask: Tensor | None = None) -> Tensor:
        """Logits ``[R*B, S, S]`` of normalised images ``[R*B, 3, S, S]`` and their prompts ``[R*B, L]``."""
        logits: Tensor = self.network(images, input_ids, mask)
        return logits

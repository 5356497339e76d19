"""The image-text task: an image belongs to the class whose prompt is nearest (CLIP-DoRA sec. 3.1, eq. 1)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from clipbench.data.images import ImageSet
from clipbench.engine.prompts import prompts_of
from clipbench.engine.tasks.task import Task
from clipbench.models.image_text import load_image_text
from clipbench.models.transfer import sent
from clipbench.models.weights.sources import Sources
from clipbench.registry import Protocol


class ImageTextTask(Task):
    """Both towers of a CLIP; logits are the scaled cosine of image and prompt.

    The towers run in the protocol's precision; features are normalised and compared in float32. (CLIP-LoRA's code
    does that on fp16 tensors: lora.py:98-113.)
    """

    def __init__(self, protocol: Protocol, images: ImageSet, seeds: Sequence[int], sources: Sources) -> None:
        super().__init__()
        self.encoder = load_image_text(protocol.backbone or "", protocol.weights or "", sources)
        self.model = self.encoder.module
        found = prompts_of(images, protocol)
        self.prompts = tuple(found.texts)
        self._columns = None if found.complete else (torch.tensor(found.classes), found.width)
        self._tokens = self.encoder.prompts(self.prompts)
        self.replicas = len(seeds)
        self._scale = protocol.logit_scale or 100.0
        self._kept: Tensor | None = None

    def features(self, images: Tensor) -> Tensor:
        """Normalised image features ``[R*B, E]``, float32."""
        return functional.normalize(self.encoder.encode_image(images).float(), dim=-1)

    def text_features(self) -> Tensor:
        """Normalised features ``[R, C, E]`` of the prompts, float32.

        They are computed once for as long as they cannot change: always, where nothing of the text tower is trained;
        until the next training step otherwise.
        """
        moving = any(p.requires_grad for p in self.encoder.text_parameters())
        if moving and self.training and torch.is_grad_enabled():
            return self._encoded(self.replicas)
        if self._kept is None:
            with torch.no_grad():
                self._kept = self._encoded(self.replicas if moving else 1).expand(self.replicas, -1, -1)
        return self._kept

    def classify(self, features: Tensor) -> Tensor:
        """Scaled cosine ``[R, B, C]`` of image features ``[R*B, E]`` and the prompts'."""
        return self.cosine(features, self.text_features())

    def cosine(self, features: Tensor, text: Tensor) -> Tensor:
        """Scaled products ``[R, B, C]`` of features ``[R*B, E]`` and class vectors ``[R, C, E]``, in float32.

        Where there are prompts of some classes only, the vectors are theirs, and the other classes get minus infinity.
        """
        with torch.autocast(features.device.type, enabled=False):
            grouped = features.float().view(len(text), -1, features.shape[-1])
            scores = self._scale * torch.bmm(grouped, text.float().transpose(1, 2))
            return scores if self._columns is None else _placed(scores, *self._columns)

    def train(self, mode: bool = True) -> ImageTextTask:
        """Switch the mode; what was kept of the prompts goes, as training will move it."""
        if mode:
            self._kept = None
        super().train(mode)
        return self

    def _encoded(self, replicas: int) -> Tensor:
        return functional.normalize(self.encoder.encode_text(self._tokens, replicas=replicas).float(), dim=-1)


def _placed(scores: Tensor, columns: Tensor, width: int) -> Tensor:
    """Scores ``[R, B, P]`` of the prompts in their classes' columns of logits ``[R, B, width]``."""
    empty = scores.new_full((*scores.shape[:2], width), -torch.inf)
    return empty.index_copy(2, sent(columns, scores.device), scores)

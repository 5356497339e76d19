"""PromptSRC (Khattak et al., ICCV 2023): deep tokens in both towers, held near to CLIP as it was.

Three terms join the cross-entropy: the mean absolute distance of the class features from a frozen average over many
templates, that of the image features from the frozen tower's, and the divergence of the predictions. After training the
parameters become a Gaussian average over the epochs. [muzairkhattak/PromptSRC bb95c77 trainers/promptsrc.py]
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from clipbench.methods.base import Setting
from clipbench.methods.deep_prompts import CONTEXT_DTYPE, CONTEXT_TOKENS, PROMPT_DEPTH, DeepPrompts
from clipbench.methods.templates import mean_text_features, templates_of
from clipbench.registry.field import Field


class PromptSRC(DeepPrompts):
    """Trained are the tokens of either tower.

    Attributes:
        image_context: Tokens of the image tower's first block, ``[R, Tv, Dv]``.
        image_deep: Those of its later blocks, ``[R, Jv - 1, Tv, Dv]``.
        teacher: Normalised class features ``[C, D]`` of the frozen text tower, averaged over the templates.
    """

    teacher: Tensor
    fields: ClassVar[tuple[Field, ...]] = (
        CONTEXT_TOKENS,
        PROMPT_DEPTH,
        CONTEXT_DTYPE,
        Field("image_tokens", int, "learned tokens of the image tower", low=1),
        Field("image_depth", int, "blocks of the image tower that learned tokens enter, from the first on", low=1),
        Field("teacher_templates", str, "templates of the frozen class features: 'one', a list's name, or texts"),
        Field("text_loss_weight", float, "weight of the distance from the frozen class features", low=0.0),
        Field("image_loss_weight", float, "weight of the distance from the frozen image features", low=0.0),
        Field("epoch_mean", float, "the epoch (from 1) at which the average over epochs weighs most"),
        Field("epoch_std", float, "width of the average over epochs", above=0.0),
    )

    def setup(self, setting: Setting) -> None:
        """Put the tokens in, and encode the frozen class features."""
        super().setup(setting)
        need, model = setting.protocol.need, setting.model
        tokens, depth = need("image_tokens"), need("image_depth")
        drawn = self.drawn("image", depth, tokens, model.image_width)
        self.image_context = nn.Parameter(drawn[:, 0].clone())
        self.image_deep = nn.Parameter(drawn[:, 1:].clone())
        templates = templates_of(need("teacher_templates"), setting.template)
        mean = mean_text_features(model, setting.classes, templates, normalised=False)
        self.register_buffer("teacher", functional.normalize(mean, dim=-1), persistent=False)
        for name, parameter in list(self.named_parameters()):
            self.register_buffer(f"average_{name}", torch.zeros_like(parameter, dtype=torch.float32))

    def image_tokens(self) -> Mapping[int, Tensor]:
        """The image tower's tokens by block, ``[R, Tv, Dv]``."""
        later = {layer + 1: self.image_deep[:, layer] for layer in range(self.image_deep.shape[1])}
        return {0: self.image_context, **later}

    def image_features(self, images: Tensor) -> Tensor:
        """Features ``[R*B, D]``; in training ``[R*B, 2, D]``, the second of the frozen tower."""
        features = super().image_features(images)
        if not self.training:
            return features
        with torch.no_grad():
            frozen = self.setting.model.encode_image(images)
        return torch.stack([features, frozen], dim=1)

    def losses(self, features: Tensor, truth: Tensor) -> Tensor:
        """The sum of the four terms, ``[R]``."""
        return self.terms(features, truth).sum(dim=0)

    def terms(self, features: Tensor, truth: Tensor) -> Tensor:
        """Cross-entropy, weighted text and image distance, and divergence, ``[4, R]``, of features ``[R*B, 2, D]``."""
        need, runs = self.setting.protocol.need, len(self.setting.seeds)
        with torch.autocast(features.device.type, enabled=False):
            seen, frozen = (
                functional.normalize(f.float(), dim=-1).view(runs, -1, f.shape[-1]) for f in features.unbind(1)
            )
            classes = functional.normalize(self.class_features().float(), dim=-1)
            logits = self.scale() * torch.bmm(seen, classes.transpose(1, 2))
            target = self.scale() * frozen @ self.teacher.T
            text = need("text_loss_weight") * (classes - self.teacher).abs().mean(dim=(1, 2))
            image = need("image_loss_weight") * (seen - frozen).abs().mean(dim=(1, 2))
            # Divided by the number of images and classes: C times weaker than a divergence per image.
            log_target = target.log_softmax(dim=-1)
            divergence = (log_target.exp() * (log_target - logits.log_softmax(dim=-1))).mean(dim=(1, 2))
            return torch.stack([self.loss(logits, truth), text, image, divergence])

    @torch.no_grad()
    def end_epoch(self, epoch: int) -> None:
        """Add the epoch to the average; after the last one the average is what stays."""
        weight = self.epoch_weights()[epoch]
        for name, parameter in self.named_parameters():
            average = self.get_buffer(f"average_{name}")
            average += weight * parameter
            if epoch + 1 == self.setting.epochs:
                parameter.copy_(average)

    def epoch_weights(self) -> list[float]:
        """The share of each epoch in the average; epochs count from 1."""
        mean, std = (self.setting.protocol.need(name) for name in ("epoch_mean", "epoch_std"))
        heights = [math.exp(-(((epoch - mean) / std) ** 2) / 2) for epoch in range(1, self.setting.epochs + 1)]
        return [height / sum(heights) for height in heights]

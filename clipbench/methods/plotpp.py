"""PLOT++: text and vision prompts matched by optimal transport (Chen et al., ICLR 2023; CHENGY12/PLOT, plot-pp)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from clipbench.methods.base import Method, Setting
from clipbench.methods.coop import embedded_words, with_context
from clipbench.registry.field import Field

_IMAGES_AT_ONCE = 64
"""Images that pass the tower together, under each vision prompt, where no gradient is needed."""


class PLOTpp(Method):
    """N text prompts, started from phrases, and M vision prompts; a class scores by how cheaply one moves to the other.

    The first stage trains the vision prompts alone, the second both. Every phrase gives as many vectors as the first
    has words: of a phrase with more tokens the last stay as they are, and one with fewer takes the first tokens of the
    class name away (trainers/plotpp.py:73-133).
    """

    gradient_through: ClassVar[str] = "both"
    image_copies: ClassVar[str] = "vision_prompts"
    prompt_copies: ClassVar[str] = "phrases"
    seed_axis: ClassVar[bool] = True
    stages: ClassVar[int] = 2
    fields: ClassVar[Sequence[Field]] = (
        Field("phrases", str, "words that each text prompt starts from, with | between the prompts"),
        Field("vision_prompts", int, "learned prompts of the image tower", low=1, high=64),
        Field("vision_tokens", int, "vectors in each of them", low=1, high=64),
        Field("transport_epsilon", float, "strength of the entropy in optimal transport", above=0.0),
        Field("transport_steps", int, "most Sinkhorn iterations", low=1),
        Field("transport_tolerance", float, "mean change of the row factors at which the iterations end", low=0.0),
        Field("test_batch", int, "test images that share the end of the iterations", low=1),
        Field(
            "first_stage",
            str,
            "whose images train the vision prompts first: those of seed 1, for all seeds, or each seed's own",
            words=("seed-1", "each-seed"),
        ),
    )

    def setup(self, setting: Setting) -> None:
        """Freeze the model; the contexts are ``[R, N, n, Dt]`` and ``[R, M, V, Dv]``, of the first stage's runs."""
        super().setup(setting)
        need = setting.protocol.need
        self.stage = 0
        self._embeddings: Tensor | None = None
        self.phrases = [phrase.strip() for phrase in str(need("phrases")).split("|")]
        count = len(self.phrases[0].split())
        context = torch.stack([embedded_words(setting, phrase, count) for phrase in self.phrases])
        shape = need("vision_prompts"), need("vision_tokens"), setting.model.image_width
        streams = [setting.stream("vision-context", seed=seed) for seed in self.stage_seeds(0)]
        vision = torch.stack([torch.empty(shape).normal_(0.0, 0.02, generator=stream) for stream in streams])
        self.context = nn.Parameter(context.repeat(len(vision), 1, 1, 1), requires_grad=False)
        self.vision = nn.Parameter(vision)

    def stage_seeds(self, stage: int) -> Sequence[int]:
        """The official first stage trained on seed 1's images only (scripts/main_visiononly.sh)."""
        alone = stage == 0 and self.setting.protocol.need("first_stage") == "seed-1"
        return (1,) if alone else self.setting.seeds

    def start_stage(self, stage: int) -> None:
        """Both sets of prompts train in the second stage, each run's from what the first has come to."""
        self.stage = stage
        if stage == 0:
            return
        runs = len(self.setting.seeds) // len(self.vision)
        self.context = nn.Parameter(self.context.detach().repeat(runs, 1, 1, 1))
        self.vision = nn.Parameter(self.vision.detach().repeat(runs, 1, 1, 1))

    def image_features(self, images: Tensor) -> Tensor:
        """Features ``[R*B, M, D]`` of images ``[R*B, 3, S, S]`` under each vision prompt."""
        runs, prompts = self.vision.shape[:2]
        tokens = self.vision.repeat_interleave(len(images) // runs, dim=0)
        size = len(images) if torch.is_grad_enabled() else _IMAGES_AT_ONCE
        pieces = [
            self.setting.model.encode_image(some, {0: rows.flatten(0, 1)})
            for some, rows in zip(torch.split(images, size), torch.split(tokens, size), strict=True)
        ]
        return torch.cat(pieces).view(len(images), prompts, -1)

    def texts(self) -> list[str]:
        """Phrase by phrase, one prompt per class."""
        return [f"{phrase} {text}" for phrase in self.phrases for text in super(PLOTpp, self).texts()]

    def encode_classes(self) -> Tensor:
        """Features ``[R, C, N, D]``, un-normalised, of each class under each text prompt."""
        if self._embeddings is None:
            self._embeddings = self.setting.model.embed(self.prompts()).detach()
        runs, classes = len(self.context), len(self.setting.classes)
        context = self.context.repeat_interleave(classes, dim=1)
        embedded = with_context(self._embeddings, context)
        features: Tensor = self.setting.model.encode_text(self.prompts(), embedded, replicas=runs)
        return features.view(runs, len(self.phrases), classes, -1).transpose(1, 2)

    def logits(self, features: Tensor) -> Tensor:
        """Logits ``[R, B, C]`` of features ``[R*B, M, D]``; the first stage adds the cosine of the prompts' means."""
        with torch.autocast(features.device.type, enabled=False):
            classes = self.class_features().float()
            images = features.float().view(len(classes), -1, *features.shape[1:])
            unit = functional.normalize(images, dim=-1), functional.normalize(classes, dim=-1)
            similarity = torch.einsum("rbmd,rcnd->rbcmn", *unit)
            scores = (self.plan(similarity.detach()) * similarity).sum(dim=(-2, -1))
            if self.stage == 0:
                means = functional.normalize(images.mean(2), dim=-1), functional.normalize(classes.mean(2), dim=-1)
                scores = scores + torch.bmm(means[0], means[1].mT)
            return self.scale() * scores

    def plan(self, similarity: Tensor) -> Tensor:
        """Transport plans ``[R, B, C, M, N]`` of mass 1 for cosines ``[R, B, C, M, N]``, by Sinkhorn's iterations.

        They end, for each run by itself, when the row factors of all its images and classes change by less than the
        tolerance on average (trainers/plotpp.py:199-213, 237-252).
        """
        need = self.setting.protocol.need
        kernel = torch.exp((similarity - 1.0) / need("transport_epsilon"))
        rows, columns = torch.ones_like(kernel[..., 0]), torch.ones_like(kernel[..., 0, :])
        going = torch.ones(len(kernel), 1, 1, 1, dtype=torch.bool, device=kernel.device)
        for _ in range(need("transport_steps")):
            fresh = 1.0 / rows.shape[-1] / (kernel * columns.unsqueeze(-2)).sum(-1)
            change = (fresh - rows).abs().mean(dim=(1, 2, 3), keepdim=True)
            rows = torch.where(going, fresh, rows)
            fresh_columns = 1.0 / columns.shape[-1] / (kernel * rows.unsqueeze(-1)).sum(-2)
            columns = torch.where(going, fresh_columns, columns)
            going = going & ~(change < need("transport_tolerance"))
            if not going.any():
                break
        return rows.unsqueeze(-1) * kernel * columns.unsqueeze(-2)

    def test_batch(self) -> int | None:
        """The iterations' end depends on all images of a batch."""
        return int(self.setting.protocol.need("test_batch"))

"""EMSCNet: multi-sample contrast beside an attention branch (liuofficial/EMSCNet 8092c94 utils.py and branch.py)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from clipbench.methods.base import Setting, pretrained
from clipbench.methods.full import FullTuning
from clipbench.registry.field import Field

_HEAD_WIDTH = 64


class AttentionBranch(nn.Module):
    """A second classifier: a feature with what its class token attends to among stored features (branch.py:154-169).

    Keys and values are the stored features as they are; only the query, the projection and the classifier are trained.
    """

    def __init__(self, width: int, classes: int, generator: torch.Generator) -> None:
        super().__init__()
        self.norm, self.query, self.project = nn.LayerNorm(width), nn.Linear(width, width), nn.Linear(width, width)
        self.classify = nn.Linear(width, classes)
        self.heads = max(1, width // _HEAD_WIDTH)
        for layer in (self.query, self.project, self.classify):
            nn.init.trunc_normal_(layer.weight, std=0.01, generator=generator)
            nn.init.zeros_(layer.bias)

    def forward(self, features: Tensor, others: Sequence[Tensor]) -> Tensor:
        """Logits ``[B, C]`` of features ``[B, D]``; each of ``others`` is a set of stored features ``[B, n, D]``."""
        logits: Tensor = self.classify(features + sum(self._attended(features, each) for each in others))
        return logits

    def _attended(self, features: Tensor, others: Tensor) -> Tensor:
        batch, count, width = others.shape
        query = self.query(self.norm(features)).view(batch, 1, self.heads, -1).transpose(1, 2)
        keys = others.view(batch, count, self.heads, -1).transpose(1, 2)
        found = functional.scaled_dot_product_attention(query, keys, keys)
        projected: Tensor = self.project(found.transpose(1, 2).reshape(batch, width))
        return projected


def multi_sample_contrast(positive: Tensor, negative: Tensor, factor: float) -> Tensor:
    """The loss ``[]`` of cosines with images of the same class ``[B, P]`` and of others ``[B, N]`` (logsum.py).

    ``softplus(logsumexp(factor * negative) + logsumexp(-factor * positive))``, the mean over the images.
    """
    pull, push = (-factor * positive).logsumexp(dim=1), (factor * negative).logsumexp(dim=1)
    return functional.softplus(pull + push).mean()


class EMSCNet(FullTuning):
    """Every weight is trained, against stored features of all training images.

    The stored features are those of a copy whose weights follow slowly; each step replaces the oldest of its images'
    classes. The released ``train_one_epoch`` keeps its queue in the trained network, where nothing fills it first, and
    takes the copy's queue for its features; here the features go where the paper's text has them.
    """

    stored: Tensor
    labels: Tensor
    sizes: Tensor
    replaced: Tensor

    fields: ClassVar[Sequence[Field]] = (
        Field("contrast_positives", int, "stored features of the same class that each image is drawn to", low=1),
        Field("contrast_negatives", int, "stored features of other classes that it is pushed from", low=1),
        Field("contrast_factor", float, "factor on the cosines of the contrast", above=0.0),
        Field("feature_momentum", float, "share of its weights that the slow copy keeps a step", low=0.0, high=1.0),
        Field("distil_temperature", float, "temperature of the distillation from the attention branch", above=0.0),
        Field("quarter_turns", bool, "training images are turned by a random multiple of 90 degrees"),
    )

    def setup(self, setting: Setting) -> None:
        """Free every weight, copy them, and store the features of all training images."""
        super().setup(setting)
        for number, parameter in enumerate(pretrained(setting.model).parameters()):
            self.register_buffer(f"slow_{number}", parameter.detach().clone())
        self.branch = AttentionBranch(setting.model.width, len(setting.classes), setting.stream("attention branch"))
        self.branch.to(setting.device)
        known = setting.support(view="train")
        labels, order = known.labels[0].sort(stable=True)
        stored = functional.normalize(known.features[0].float(), dim=-1)[order.to(known.features.device)]
        self.register_buffer("stored", stored.to(setting.device))
        self.register_buffer("labels", labels.to(setting.device), persistent=False)
        sizes = torch.bincount(labels, minlength=len(setting.classes)).to(setting.device)
        self.register_buffer("sizes", sizes, persistent=False)
        self.register_buffer("replaced", torch.zeros_like(sizes))

    def start_epoch(self, epoch: int, seeds: Sequence[int]) -> None:
        """Restart the streams of the turns and of the stored features that are drawn."""
        self._turns = self.setting.stream(f"quarter turns {epoch}", seed=seeds[0])
        self._draws = self.setting.stream(f"contrast {epoch}", seed=seeds[0])

    def image_features(self, images: Tensor) -> Tensor:
        """Features ``[B, D]`` of images ``[B, 3, S, S]``; while training, the slow copy's are kept beside."""
        if self.training and torch.is_grad_enabled():
            if self.setting.protocol.need("quarter_turns"):
                images = _turned(images, torch.randint(4, (len(images),), generator=self._turns))
            with torch.no_grad(), self._slow_weights():
                self._fresh = functional.normalize(super().image_features(images).float(), dim=-1)
        return super().image_features(images)

    def losses(self, features: Tensor, truth: Tensor) -> Tensor:
        """Loss ``[1]``: cross-entropy of head and branch, the contrast, and the head's distillation from the branch."""
        need, labels = self.setting.protocol.need, truth[0]
        logits = self.logits(features)
        unit = functional.normalize(features.float(), dim=-1)
        positive, negative = self._drawn(labels)
        other = self.branch(unit, (negative, positive))
        cosines = [torch.einsum("bd,bnd->bn", unit, each) for each in (positive, negative)]
        contrast = multi_sample_contrast(cosines[0], cosines[1], need("contrast_factor"))
        heat = need("distil_temperature")
        teacher = functional.softmax(other.detach() / heat, dim=1)
        student = functional.log_softmax(logits[0] / heat, dim=1)
        distilled: Tensor = functional.kl_div(student, teacher, reduction="batchmean") * heat**2
        self._store(labels)
        return self.loss(logits, truth) + contrast + functional.cross_entropy(other, labels) + distilled

    def _drawn(self, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Stored features of the images' own classes ``[B, P, D]`` and of others ``[B, N, D]``, drawn at random."""
        same = labels[:, None] == self.labels[None]
        random = torch.rand(same.shape, generator=self._draws).to(same.device)
        need, fewest, most = self.setting.protocol.need, int(self.sizes[self.sizes > 0].min()), int(self.sizes.max())
        positives = min(need("contrast_positives"), fewest)
        negatives = min(need("contrast_negatives"), len(self.labels) - most)
        positive = random.masked_fill(~same, -1.0).topk(positives, dim=1).indices
        negative = random.masked_fill(same, -1.0).topk(negatives, dim=1).indices
        return self.stored[positive], self.stored[negative]

    @torch.no_grad()
    def _store(self, labels: Tensor) -> None:
        """Replace the oldest features of the images' classes, and let the slow copy follow (utils.py:167-178)."""
        one_hot = functional.one_hot(labels, len(self.sizes))
        before = (one_hot.cumsum(dim=0) - one_hot).gather(1, labels[:, None])[:, 0]
        first = (self.sizes.cumsum(dim=0) - self.sizes)[labels]
        self.stored[first + (self.replaced[labels] + before) % self.sizes[labels]] = self._fresh
        self.replaced += one_hot.sum(dim=0)
        kept = self.setting.protocol.need("feature_momentum")
        for slow, parameter in self._pairs():
            slow.lerp_(parameter.detach(), 1.0 - kept)

    def _pairs(self) -> Iterator[tuple[Tensor, nn.Parameter]]:
        for number, parameter in enumerate(pretrained(self.setting.model).parameters()):
            yield self.get_buffer(f"slow_{number}"), parameter

    @contextmanager
    def _slow_weights(self) -> Iterator[None]:
        """The network computes with the slow copy's weights; nothing of it may be differentiated meanwhile."""
        trained = [parameter.data for _, parameter in self._pairs()]
        for slow, parameter in self._pairs():
            parameter.data = slow
        try:
            yield
        finally:
            for data, (_, parameter) in zip(trained, self._pairs(), strict=True):
                parameter.data = data


def _turned(images: Tensor, quarters: Tensor) -> Tensor:
    """Images ``[N, 3, S, S]``, each turned by so many quarters ``[N]``."""
    every = torch.stack([torch.rot90(images, int(k), (2, 3)) for k in range(4)])
    return every[quarters.to(images.device), torch.arange(len(images), device=images.device)]

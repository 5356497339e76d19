"""Tip-Adapter and Tip-Adapter-F (Zhang et al., ECCV 2022): a cache of the support images' features beside the prompts.

Logits are ``100 f W + alpha exp(-beta (1 - f F)) L`` with the image feature ``f``, the classifier ``W`` of the prompts,
the keys ``F`` and the one-hot labels ``L`` of the support images [gaopengcuhk/Tip-Adapter d0e2d6f main.py:38-43].
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from clipbench.methods.base import Method, Setting
from clipbench.methods.templates import mean_text_features, templates_of
from clipbench.registry.field import Field


class TipAdapter(Method):
    """Nothing is trained; ``alpha`` and ``beta`` are searched on validation images.

    Attributes:
        keys: Normalised mean features of each support image's random views, ``[R, n, D]``.
        alpha: Weight of the cache beside the prompts, per run ``[R]``.
        beta: How sharply the cache falls off with the distance to a key, ``[R]``.
    """

    classifier: Tensor
    values: Tensor
    keys: Tensor
    alpha: Tensor
    beta: Tensor
    seed_axis: ClassVar[bool] = True
    # The cache is made of random views, whether anything is trained or not.
    uses: ClassVar[tuple[str, ...]] = ("train_transform",)
    fields: ClassVar[tuple[Field, ...]] = (
        Field("cache_templates", str, "templates of the classifier beside the cache: 'one', a list's name, or texts"),
        Field("cache_passes", int, "random views of each support image that its key is the mean of", low=1),
        Field("cache_alpha", float, "weight of the cache beside the prompts (before the search)", low=0.0),
        Field("cache_beta", float, "how sharply the cache falls off with distance (before the search)", low=0.0),
        Field("cache_search", str, "images that alpha and beta are searched on", words=("val", "test", "none")),
        Field(
            "cache_search_ends",
            tuple,
            "upper ends of the search: of beta, of alpha",
            low=0.1,
            length=2,
            where={"cache_search": ("val", "test")},
        ),
        Field(
            "cache_search_steps",
            tuple,
            "values of beta and of alpha that are tried",
            low=1.0,
            length=2,
            where={"cache_search": ("val", "test")},
        ),
    )

    def setup(self, setting: Setting) -> None:
        """Compute the classifier of the prompts and the cache of the support images."""
        super().setup(setting)
        need, runs = setting.protocol.need, len(setting.seeds)
        templates = templates_of(need("cache_templates"), setting.template)
        mean = mean_text_features(setting.model, setting.classes, templates, normalised=True)
        self.register_buffer("classifier", functional.normalize(mean, dim=-1).expand(runs, -1, -1), persistent=False)
        self.register_buffer("alpha", torch.full((runs,), float(need("cache_alpha"))))
        self.register_buffer("beta", torch.full((runs,), float(need("cache_beta"))))
        passes = int(need("cache_passes"))
        seen = setting.support("train", "train", passes)
        count = seen.labels.shape[1] // passes
        # The features are averaged as they come and normalised afterwards (official utils.py:38-71).
        mean = seen.features.float().view(runs, passes, count, -1).mean(dim=1)
        values = functional.one_hot(seen.labels[:, :count], len(setting.classes)).float()
        self.register_buffer("values", values.to(setting.device), persistent=False)
        self.keep(functional.normalize(mean, dim=-1))

    def keep(self, keys: Tensor) -> None:
        """Register the keys, which nothing trains."""
        self.register_buffer("keys", keys, persistent=False)

    def class_features(self) -> Tensor:
        """The classifier of the prompts, ``[R, C, D]``, normalised."""
        return self.classifier

    def logits(self, features: Tensor) -> Tensor:
        """Logits ``[R, B, C]`` of features ``[R*B, D]``."""
        with torch.autocast(features.device.type, enabled=False):
            near = self._affinity(self._queries(features))
            alpha, beta = self.alpha.view(-1, 1, 1), self.beta.view(-1, 1, 1)
            return self.cosine(features, self.classifier) + alpha * torch.bmm((beta * near - beta).exp(), self.values)

    def finish(self) -> None:
        """Search each run's ``alpha`` and ``beta`` on the images that the protocol names, with the keys as they are."""
        part = self.setting.protocol.need("cache_search")
        if part == "none":
            return
        betas, alphas = self.grid()
        for run, right in enumerate(self.search(part)):
            # Beta is the outer loop, and the first pair with the most right answers wins.
            outer, inner = divmod(int(right.argmax()), len(alphas))
            self.alpha[run], self.beta[run] = alphas[inner], betas[outer]

    def grid(self) -> tuple[list[float], list[float]]:
        """The values of beta and of alpha that are tried; the upper ends are not among them."""
        need = self.setting.protocol.need
        ends, counts = need("cache_search_ends"), need("cache_search_steps")
        beta, alpha = (
            [i * (end - 0.1) / int(count) + 0.1 for i in range(int(count))]
            for end, count in zip(ends, counts, strict=True)
        )
        return beta, alpha

    @torch.no_grad()
    def search(self, part: str) -> list[np.ndarray]:
        """Right answers on a part of the images for every pair, ``[betas, alphas]``, of each run."""
        seen = self.setting.support(part)
        betas, alphas = self.grid()
        features, truth = seen.features.float().flatten(0, 1), seen.labels.to(self.keys.device)
        plain, near = self.cosine(features, self.classifier), self._affinity(self._queries(features))
        found = []
        for run, labels in enumerate(truth):
            right = torch.zeros(len(betas), len(alphas), dtype=torch.long, device=labels.device)
            for i, beta in enumerate(betas):
                cache = (beta * near[run] - beta).exp() @ self.values[run]
                for j, alpha in enumerate(alphas):
                    right[i, j] = ((plain[run] + alpha * cache).argmax(dim=-1) == labels).sum()
            found.append(right.cpu().numpy())
        return found

    def _queries(self, features: Tensor) -> Tensor:
        """Normalised features ``[R, B, D]``."""
        return functional.normalize(features.float(), dim=-1).view(len(self.keys), -1, features.shape[-1])

    def _affinity(self, queries: Tensor) -> Tensor:
        """Cosines ``[R, B, n]`` with the keys, which training does not keep at unit length."""
        return torch.bmm(queries, self.keys.transpose(1, 2))


class TipAdapterF(TipAdapter):
    """The keys are trained, from the features of the support images on."""

    fields: ClassVar[tuple[Field, ...]] = TipAdapter.fields

    def keep(self, keys: Tensor) -> None:
        """Register the keys as what is trained."""
        self.keys = nn.Parameter(keys.clone())

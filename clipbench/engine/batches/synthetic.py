"""Synthetic images of no known class beside the real ones of every step, as many of each source domain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from clipbench.data.images import ImageSet
from clipbench.data.splits import Split
from clipbench.engine.batches.views import EpochPlan
from clipbench.engine.random import stream
from clipbench.errors import UserError
from clipbench.registry import Protocol
from clipbench.registry.budget import budget, synthetic_per_domain


@dataclass(frozen=True)
class Synthetic:
    """Indices of each source domain's synthetic images, and how many of each a step has.

    ``once``: no image comes twice, as if each were generated for its step; else each epoch shuffles every domain's and
    goes round it.
    """

    domains: Sequence[Tensor]
    per_domain: int
    once: bool

    @classmethod
    def of(cls, images: ImageSet, cut: Split, protocol: Protocol) -> Synthetic | None:
        """Those of a split; None where the protocol trains beside none.

        Raises ``UserError`` where a source domain has none, or fewer than a run uses of which each stands in one step.
        """
        if protocol.synthetic_draw is None:
            return None
        sources = list(dict.fromkeys(images.domains[i] for i in cut.train))
        members = {name: [i for i in cut.synthetic if images.domains[i] == name] for name in sources}
        once, due = protocol.need("synthetic_draw") == "per-step", budget(protocol, len(cut.train))
        count = synthetic_per_domain(protocol)
        needed = due.steps * count if once else 1
        few = next((name for name, some in members.items() if len(some) < needed), None)
        if few is not None:
            raise UserError(
                f"{images.dataset}, domain {few}: there are {len(members[few]):,} synthetic images and this run uses "
                f"{needed:,}{', each in one step only' if once else ''}. `clipbench data synthesise {images.dataset} "
                f"--images {needed}` makes more; --assume synthetic-draw=stored uses those that are there again."
            )
        return cls([torch.tensor(some, dtype=torch.long) for some in members.values()], count, once)

    @property
    def index(self) -> Tensor:
        """All of them, ``[s]``."""
        return torch.cat(list(self.domains))

    def beside(self, plan: EpochPlan, seeds: Sequence[int], before: int) -> EpochPlan:
        """The plan of an epoch with synthetic images behind the real ones of every batch, after ``before`` steps."""
        drawn = torch.stack([self._drawn(seed, plan.epoch, before, len(plan.parts)) for seed in seeds])
        rows = [torch.cat([plan.order[:, part], drawn[:, step]], dim=1) for step, part in enumerate(plan.parts)]
        ends = torch.tensor([row.shape[1] for row in rows]).cumsum(0).tolist()
        parts = [slice(end - row.shape[1], end) for end, row in zip(ends, rows, strict=True)]
        return EpochPlan(plan.epoch, torch.cat(rows, dim=1), parts)

    def _drawn(self, seed: int, epoch: int, before: int, steps: int) -> Tensor:
        """Images ``[steps, k]`` of one run's epoch, the same number of each domain in every step."""
        generator = stream(seed, "synthetic", 0 if self.once else epoch)
        first, count = (before if self.once else 0) * self.per_domain, steps * self.per_domain
        columns = []
        for members in self.domains:
            passes = -(-(first + count) // len(members))
            order = torch.cat([members[torch.randperm(len(members), generator=generator)] for _ in range(passes)])
            columns.append(order[first : first + count].view(steps, self.per_domain))
        return torch.cat(columns, dim=1)

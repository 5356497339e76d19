"""Synthetic images beside the real ones of each step: how many, of which domain, and whether they come again."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from clipbench.data.images import ImageSet
from clipbench.data.splits import Split
from clipbench.engine.batches.synthetic import Synthetic
from clipbench.engine.batches.views import EpochPlan, batches
from clipbench.errors import UserError
from clipbench.registry import Protocol

DOMAINS = ("art", "photo", "sketch")


def images(synthetic: int) -> tuple[ImageSet, Split]:
    found = ImageSet("own", Path(), classes=["cat"])
    for number in range(21):
        found.add(f"{number}", 0, domain=DOMAINS[number % 3])
    for number in range(3 * synthetic):
        found.add(f"/{number}", 1, domain=DOMAINS[number % 3])
    return found, Split(range(21), [], "", synthetic=range(21, len(found)))


def protocol(draw: str, **fields: object) -> Protocol:
    values = {"split_rule": "leave-one-domain-out", "batch_size": 4, "epochs": 2, "drop_last": False}
    return Protocol.of({**values, "synthetic_draw": draw, "synthetic_share": 0.1, **fields})


def plan(synthetic: Synthetic, epoch: int, seeds: tuple[int, ...] = (1, 2)) -> EpochPlan:
    order = torch.stack([torch.randperm(21, generator=torch.Generator().manual_seed(seed)) for seed in seeds])
    slices = batches(21, 4, drop_last=False)
    return synthetic.beside(EpochPlan(epoch, order, slices), seeds, epoch * len(slices))


@pytest.mark.parametrize(("share", "each"), [(0.1, 1), (0.5, 2), (1.0, 4)])
def test_every_step_has_its_share_of_each_domain(share: float, each: int) -> None:
    data, cut = images(5)
    synthetic = Synthetic.of(data, cut, protocol("stored", synthetic_share=share))
    assert synthetic is not None
    found = plan(synthetic, 0)
    assert [part.stop - part.start for part in found.parts] == [4 + 3 * each] * 5 + [1 + 3 * each]
    for part in found.parts:
        for row in found.order[:, part]:
            domains = [data.domains[i] for i in row.tolist() if data.labels[i] == 1]
            assert sorted(domains) == sorted(DOMAINS * each)
    # The real images are those of the plan, in its order.
    real = [i for i in found.order[0].tolist() if i < 21]
    assert real == torch.randperm(21, generator=torch.Generator().manual_seed(1)).tolist()
    assert found.order[0].tolist() != found.order[1].tolist()
    assert plan(synthetic, 1).order.tolist() != found.order.tolist()
    assert plan(synthetic, 0).order.tolist() == found.order.tolist()


def test_drawn_for_one_step_none_comes_again() -> None:
    data, cut = images(12)
    synthetic = Synthetic.of(data, cut, protocol("per-step"))
    assert synthetic is not None
    seen = [i for epoch in (0, 1) for i in plan(synthetic, epoch, (3,)).order[0].tolist() if i >= 21]
    assert len(seen) == len(set(seen)) == 36
    with pytest.raises(UserError, match="11 synthetic images and this run uses 12, each in one step only"):
        Synthetic.of(*images(11), protocol("per-step"))
    with pytest.raises(UserError, match="domain art: there are 0 synthetic images"):
        Synthetic.of(*images(0), protocol("stored"))

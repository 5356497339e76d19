"""Views: normalisation and flips against torchvision, and how often which view is drawn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms import functional as reference

from clipbench.engine.batches.views import Images, balanced_order, batches, epoch_order, epoch_views
from clipbench.engine.random import stream, stream_seed
from clipbench.registry import Protocol

CPU = torch.device("cpu")
MEAN, STD = (0.48, 0.46, 0.41), (0.27, 0.26, 0.28)
PIXELS = np.random.default_rng(0).integers(0, 256, (8, 3, 10, 10), dtype=np.uint8)


def plain(index: int, *, horizontal: bool, vertical: bool) -> torch.Tensor:
    """The image as a torchvision user makes it: to_tensor, flips, normalize."""
    image = torch.from_numpy(PIXELS[index]).float() / 255
    image = reference.hflip(image) if horizontal else image
    image = reference.vflip(image) if vertical else image
    return reference.normalize(image, MEAN, STD)


@pytest.mark.parametrize("view", range(4))
def test_a_view_is_torchvisions(view: int) -> None:
    images = Images(PIXELS, MEAN, STD, CPU)
    index = torch.tensor([5, 0, 7])
    found = images.batch(index, torch.full_like(index, view))
    due = torch.stack([plain(int(i), horizontal=bool(view & 1), vertical=bool(view & 2)) for i in index])
    torch.testing.assert_close(found, due, rtol=1e-5, atol=1e-6)


def test_flips_move_pixels_and_change_none() -> None:
    images = Images(PIXELS, MEAN, STD, CPU)
    index = torch.arange(8)
    straight = images.batch(index)
    views = torch.tensor([0, 1, 2, 3, 3, 2, 1, 0])
    found = images.batch(index, views)
    for i, view in enumerate(views.tolist()):
        due = straight[i]
        due = reference.hflip(due) if view & 1 else due
        due = reference.vflip(due) if view & 2 else due
        assert torch.equal(found[i], due)
    assert torch.equal(images.batch(index, torch.zeros_like(index)), straight)


def shares(mode: str, h: float = 0.3, v: float = 0.3) -> list[float]:
    views = epoch_views(3, 0, 200_000, Protocol(hflip=h, vflip=v, flip_mode=mode))
    return (torch.bincount(views, minlength=4) / len(views)).tolist()


def test_independent_flips_leave_49_per_cent_as_they_are() -> None:
    assert shares("independent") == pytest.approx([0.49, 0.21, 0.21, 0.09], abs=0.004)
    assert shares("independent", 0.5, 0.1) == pytest.approx([0.45, 0.45, 0.05, 0.05], abs=0.004)


def test_joint_flips_leave_70_per_cent_as_they_are() -> None:
    assert shares("joint") == pytest.approx([0.7, 0.0, 0.0, 0.3], abs=0.004)


def test_without_flips_nothing_is_flipped() -> None:
    assert shares("independent", 0.0, 0.0) == [1.0, 0.0, 0.0, 0.0]


def test_views_and_orders_depend_on_seed_and_epoch_alone() -> None:
    protocol = Protocol(hflip=0.3, vflip=0.3, flip_mode="independent")
    for draw in (lambda s, e: epoch_order(s, e, 100), lambda s, e: epoch_views(s, e, 100, protocol)):
        assert torch.equal(draw(1, 2), draw(1, 2))
        assert not torch.equal(draw(1, 2), draw(1, 3))
        assert not torch.equal(draw(1, 2), draw(2, 2))
    assert sorted(epoch_order(1, 0, 100).tolist()) == list(range(100))


def test_streams_of_other_purposes_are_others() -> None:
    purposes = ("order", "flips", "adapter", "head", "dropout")
    seeds = [stream_seed(seed, purpose, epoch) for seed in (1, 2) for purpose in purposes for epoch in (0, 1)]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert stream_seed(1, "order") == 7_895_824_605_151_247_553  # frozen: what a seed means may never change
    assert torch.equal(torch.rand(3, generator=stream(1, "order")), torch.rand(3, generator=stream(1, "order")))


@pytest.mark.parametrize(
    ("count", "drop", "sizes"),
    [
        (10, False, [4, 4, 2]),
        (10, True, [4, 4]),
        (8, False, [4, 4]),
        (8, True, [4, 4]),
        (3, True, [3]),
        (3, False, [3]),
    ],
)
def test_batches(count: int, drop: bool, sizes: list[int]) -> None:
    found = batches(count, 4, drop_last=drop)
    assert [s.stop - s.start for s in found] == sizes
    assert [s.start for s in found] == [4 * i for i in range(len(sizes))]


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(1, 30), min_size=2, max_size=4), st.integers(0, 50))
def test_balanced_batches_hold_as_many_of_each_domain(sizes: list[int], seed: int) -> None:
    """Any window of as many images as there are domains has one of each; nothing of a large domain comes twice."""
    groups = torch.cat([torch.full((size,), number) for number, size in enumerate(sizes)])
    order = balanced_order(seed, 3, groups)
    assert len(order) == len(groups)
    for start in range(0, len(order) - len(sizes) + 1, len(sizes)):
        assert sorted(groups[order[start : start + len(sizes)]].tolist()) == list(range(len(sizes)))
    largest = order[groups[order] == sizes.index(max(sizes))]
    assert len(set(largest.tolist())) == len(largest)
    assert torch.equal(order, balanced_order(seed, 3, groups))

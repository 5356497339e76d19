"""Dice and IoU against sets of pixels."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from clipbench.engine.tasks.segmentation_metric import joined, overlap, predicted


def _pixels(mask: Tensor) -> set[tuple[int, int]]:
    return {(i, j) for i, row in enumerate(mask.tolist()) for j, value in enumerate(row) if value}


def _plain(prediction: Tensor, mask: Tensor) -> tuple[float, float]:
    found, true = _pixels(prediction), _pixels(mask)
    if not true:
        return (0.0, 0.0) if found else (100.0, 100.0)
    return 200.0 * len(found & true) / (len(found) + len(true)), 100.0 * len(found & true) / len(found | true)


def _random(seed: int) -> tuple[Tensor, Tensor]:
    """Among them: both empty, one of them empty, both full."""
    draw = torch.Generator().manual_seed(seed)
    prediction, mask = (torch.rand(12, 7, 7, generator=draw) < share for share in (0.4, 0.3))
    prediction[:2], mask[1:3], mask[0] = False, False, False
    prediction[3], mask[3] = True, True
    return prediction, mask


@pytest.mark.parametrize("seed", range(5))
def test_against_sets(seed: int) -> None:
    prediction, mask = _random(seed)
    scores = overlap(prediction, mask)
    due = [_plain(p, m) for p, m in zip(prediction, mask, strict=True)]
    assert scores.dice.tolist() == pytest.approx([dice for dice, _ in due], rel=1e-12)
    assert scores.iou.tolist() == pytest.approx([iou for _, iou in due], rel=1e-12)
    assert scores.mean_dice == pytest.approx(sum(dice for dice, _ in due) / 12)
    assert scores.mean_iou == pytest.approx(sum(iou for _, iou in due) / 12)


def test_empty_masks_are_all_or_nothing() -> None:
    """BUSI's normal images."""
    mask = torch.zeros(2, 5, 5)
    prediction = mask.clone()
    prediction[1, 2, 2] = 1
    assert overlap(prediction, mask).dice.tolist() == [100.0, 0.0]
    assert overlap(prediction, mask).iou.tolist() == [100.0, 0.0]


def test_the_threshold_is_not_met_at_one_half() -> None:
    logits = torch.tensor([[[-1.0, 0.0], [1e-3, 4.0]]])
    assert predicted(logits).tolist() == [[[False, False], [True, True]]]
    assert predicted(logits.half()).tolist() == [[[False, False], [True, True]]]


def test_batches_join() -> None:
    prediction, mask = _random(9)
    cuts = [slice(start, start + 5) for start in (0, 5, 10)]
    whole, parts = overlap(prediction, mask), joined([overlap(prediction[cut], mask[cut]) for cut in cuts])
    assert torch.equal(whole.dice, parts.dice)
    assert torch.equal(whole.iou, parts.iou)

"""Dice and IoU, image by image, of maps cut at a probability of 0.5 (PROTOCOLS 4.3; MONAI's ``ignore_empty=False``)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_THRESHOLD = 0.5


@dataclass(frozen=True)
class Overlap:
    """Dice and IoU ``[N]`` of each image, in percent, in float64 on the CPU."""

    dice: Tensor
    iou: Tensor

    @property
    def mean_dice(self) -> float:
        """Mean over the images."""
        return float(self.dice.mean())

    @property
    def mean_iou(self) -> float:
        """Mean over the images."""
        return float(self.iou.mean())


def predicted(logits: Tensor) -> Tensor:
    """Foreground ``[N, S, S]`` (bool) of logits ``[N, S, S]``: a probability above, not at, one half."""
    return logits.float().sigmoid() > _THRESHOLD


def overlap(prediction: Tensor, masks: Tensor) -> Overlap:
    """Scores of predictions and masks ``[N, S, S]`` (bool, or 0 and 1).

    Where a mask is empty both are 100 for an empty prediction and 0 for any other: BUSI's normal images.
    """
    found, true = prediction.bool(), masks.bool()
    inside, either, sizes = (
        count.sum(dim=(1, 2)).cpu().double() for count in (found & true, found | true, found.int() + true.int())
    )
    empty = either == 0
    dice = torch.where(empty, 1.0, 2.0 * inside / sizes.clamp_min(1.0))
    iou = torch.where(empty, 1.0, inside / either.clamp_min(1.0))
    return Overlap(100.0 * dice, 100.0 * iou)


def joined(parts: list[Overlap]) -> Overlap:
    """The scores of several batches as one."""
    return Overlap(torch.cat([p.dice for p in parts]), torch.cat([p.iou for p in parts]))

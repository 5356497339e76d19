"""Losses of a segmentation with one foreground class, image by image (medvlsm's settings, CLIP-DoRA sec. 4.4).

medvlsm asks for MONAI's ``DiceCELoss`` with weights 1.0 and 0.2 and gives it probabilities. What that amounts to
depends on MONAI's version, hence three readings:

* ``dice``: MONAI 1.1.0, which medvlsm pins. Its cross-entropy is a softmax over the one channel: identically zero.
* ``dice+bce``: what the settings say, Dice and 0.2 times the binary cross-entropy of the logits.
* ``dice+bce-on-sigmoid``: MONAI 1.3 and later, which take the probabilities for logits: a second sigmoid.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional

_SMOOTH = 1e-5
"""MONAI's ``smooth_nr`` and ``smooth_dr``: an empty mask and an empty map have a loss of 0."""
_CROSS_ENTROPY_WEIGHT = 0.2


def dice_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """One minus the soft Dice ``[N]`` of logits and masks (0 or 1) ``[N, S, S]``.

    MONAI's ``DiceLoss(squared_pred=False, batch=False)`` on one channel: sums over the pixels of each image.
    """
    probability = logits.sigmoid()
    inside = (probability * masks).sum(dim=(1, 2))
    return 1.0 - (2.0 * inside + _SMOOTH) / (probability.sum(dim=(1, 2)) + masks.sum(dim=(1, 2)) + _SMOOTH)


def _dice_bce(logits: Tensor, masks: Tensor) -> Tensor:
    return dice_loss(logits, masks) + _CROSS_ENTROPY_WEIGHT * _cross_entropy(logits, masks)


def _dice_bce_on_sigmoid(logits: Tensor, masks: Tensor) -> Tensor:
    return dice_loss(logits, masks) + _CROSS_ENTROPY_WEIGHT * _cross_entropy(logits.sigmoid(), masks)


def _cross_entropy(logits: Tensor, masks: Tensor) -> Tensor:
    return functional.binary_cross_entropy_with_logits(logits, masks, reduction="none").mean(dim=(1, 2))


LOSSES: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "dice": dice_loss,
    "dice+bce": _dice_bce,
    "dice+bce-on-sigmoid": _dice_bce_on_sigmoid,
}
"""Loss ``[N]`` of each image from logits and masks ``[N, S, S]``, by the protocol's word."""


def segmentation_losses(logits: Tensor, masks: Tensor, loss: str, replicas: int = 1) -> Tensor:
    """Mean loss of each replica ``[R]`` from logits and masks (bool or 0 and 1) ``[R*B, S, S]``.

    Taken in float32, under autocast too: a sum over 352 x 352 pixels has no room in float16.
    """
    with torch.autocast(logits.device.type, enabled=False):
        wide = logits if logits.dtype == torch.float64 else logits.float()
        return LOSSES[loss](wide, masks.to(wide.dtype)).view(replicas, -1).mean(dim=1)

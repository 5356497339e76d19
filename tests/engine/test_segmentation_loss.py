"""Losses against plain loops in float64, written from MONAI's definition of DiceCELoss."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from clipbench.engine.tasks.segmentation_loss import LOSSES, dice_loss, segmentation_losses

SMOOTH = 1e-5


def _maps(rows: int, size: int = 9, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Logits from sure to unsure; masks among which one is empty and one is full."""
    draw = torch.Generator().manual_seed(seed)
    logits = 6.0 * torch.randn(rows, size, size, generator=draw, dtype=torch.float64)
    masks = torch.rand(rows, size, size, generator=draw) < 0.3
    masks[0], masks[1] = False, True
    return logits, masks


def _plain(logits: Tensor, masks: Tensor, loss: str) -> float:
    """One image, pixel by pixel."""
    inside = found = true = entropy = 0.0
    for x, y in zip(logits.flatten().tolist(), masks.flatten().tolist(), strict=True):
        p = 1.0 / (1.0 + math.exp(-x))
        inside, found, true = inside + p * y, found + p, true + y
        z = p if loss == "dice+bce-on-sigmoid" else x
        q = 1.0 / (1.0 + math.exp(-z))
        entropy -= (math.log(q) if y else math.log(1.0 - q)) / logits.numel()
    dice = 1.0 - (2.0 * inside + SMOOTH) / (found + true + SMOOTH)
    return dice if loss == "dice" else dice + 0.2 * entropy


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("replicas", [1, 2, 3])
def test_against_a_plain_loop(loss: str, replicas: int) -> None:
    logits, masks = _maps(6, seed=replicas)
    losses = segmentation_losses(logits, masks, loss, replicas)
    due = torch.tensor([_plain(x, y, loss) for x, y in zip(logits, masks, strict=True)], dtype=torch.float64)
    assert torch.allclose(losses, due.view(replicas, -1).mean(dim=1), rtol=1e-12)


@pytest.mark.parametrize("loss", LOSSES)
def test_float16_logits_of_the_full_size(loss: str) -> None:
    """A sum over 352 x 352 pixels overflows in float16; the loss is taken in float32, under autocast too."""
    draw = torch.Generator().manual_seed(3)
    logits = torch.randn(2, 352, 352, generator=draw).half()
    masks = torch.rand(2, 352, 352, generator=draw) < 0.5
    with torch.autocast("cpu", torch.bfloat16):
        losses = segmentation_losses(logits, masks, loss)
    due = segmentation_losses(logits.double(), masks, loss)
    assert losses.dtype == torch.float32
    assert torch.allclose(losses.double(), due, rtol=1e-5)


def test_the_cross_entropy_of_monai_1_1_is_zero() -> None:
    """Why ``dice`` is Dice alone: a softmax over one channel is sure of itself whatever the logit."""
    logits, masks = _maps(3)
    entropy = torch.nn.functional.cross_entropy(logits.unsqueeze(1), masks.long() * 0)
    assert entropy == 0.0


def test_nothing_where_nothing_is() -> None:
    sure = torch.full((1, 8, 8), -40.0, dtype=torch.float64)
    assert dice_loss(sure, torch.zeros_like(sure)).item() == pytest.approx(0.0, abs=1e-9)
    assert dice_loss(-sure, torch.zeros_like(sure)).item() == pytest.approx(1.0, abs=1e-6)


def test_each_replica_gets_its_own_gradient() -> None:
    logits, masks = _maps(4)
    logits.requires_grad_(True)
    segmentation_losses(logits, masks, "dice", 2).sum().backward()
    alone = logits.detach()[2:].clone().requires_grad_(True)
    segmentation_losses(alone, masks[2:], "dice").sum().backward()
    assert logits.grad is not None
    assert alone.grad is not None
    assert torch.allclose(logits.grad[2:], alone.grad)

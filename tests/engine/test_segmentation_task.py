"""The task on a tiny CLIPSeg: from an image set to logits, and training that lowers the loss."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from clipbench.adapters import set_dropout_seeds
from clipbench.data.images import ImageSet
from clipbench.engine.context import Context
from clipbench.engine.tasks.segmentation import Prompted, Segmentation
from clipbench.engine.tasks.segmentation_metric import overlap, predicted
from clipbench.engine.tasks.task import Parts
from clipbench.errors import UserError
from clipbench.models.clipseg.configs import TINY_CLIPSEG
from clipbench.registry import Protocol

CPU = torch.device("cpu")
FULL: dict[str, Any] = {
    "task": "segmentation", "method": "full", "backbone": TINY_CLIPSEG, "weights": "random", "image_size": 96,
    "prompt_type": "p1", "encoder_gradient": True, "loss": "dice", "precision": "fp32", "train_transform": "resize",
    "test_transform": "resize",
}  # fmt: skip
DORA = FULL | {
    "method": "dora", "rank": 2, "alpha": 1.0, "scaling": "alpha", "targets": "qkvo", "towers": "both",
    "adapter_dropout": 0.25, "adapter_init": "kaiming-uniform-sqrt5", "detach_norm": True, "dora_dropout": "official",
    "norm_axis": "output", "also_trained": "up-convolution",
}  # fmt: skip


def _image_set(count: int) -> ImageSet:
    texts = [("bright disc",) if i % 2 else ("a disc",) for i in range(count)]
    return ImageSet(
        "discs", Path("nowhere"), [f"{i}.png" for i in range(count)], [0] * count, ["disc"], True,
        prompts=[{"p1": text} for text in texts],
    )  # fmt: skip


def _task(fields: dict[str, Any], seeds: tuple[int, ...] = (1,), count: int = 12) -> Segmentation:
    pytest.importorskip("transformers")
    rows = torch.arange(count).expand(len(seeds), -1)
    parts = Parts(rows, rows, torch.zeros(count, dtype=torch.long), rows)
    return Segmentation(Protocol(**fields), _image_set(count), parts, seeds, Context(Path(), CPU, Path()))


def _discs(count: int, size: int = 96, seed: int = 0) -> tuple[Tensor, Tensor]:
    """A brighter disc on noise, anywhere; and where it is."""
    draw = torch.Generator().manual_seed(seed)
    grid = torch.arange(size).float()
    centre, radius = 30 + 36 * torch.rand(count, 2, generator=draw), 14 + 12 * torch.rand(count, generator=draw)
    away = (grid[None, :, None] - centre[:, :1, None]) ** 2 + (grid[None, None] - centre[:, 1:, None]) ** 2
    masks = away < radius[:, None, None] ** 2
    return 0.3 * torch.randn(count, 3, size, size, generator=draw) + masks[:, None].float(), masks


def test_training_finds_discs() -> None:
    """A trained decoder beats the all-background prediction (0) and the best centred disc, on unseen images."""
    task = _task(FULL | {"encoder_gradient": False}, count=16)
    images, masks = _discs(16)
    ids, mask = task.prompts.tokens(task.prompts.chosen(1, "train"))
    optimiser = torch.optim.AdamW([p for p in task.parameters() if p.requires_grad], lr=2e-3)
    losses = []
    for _ in range(120):
        loss = task.loss(task(Prompted(images, ids, mask)), masks[None]).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    unseen, truth = _discs(16, seed=1)
    with torch.no_grad():
        dice = overlap(predicted(task.eval()(Prompted(unseen, ids, mask))[0]), truth).mean_dice
    away = (torch.arange(96.0)[:, None] - 48) ** 2 + (torch.arange(96.0)[None] - 48) ** 2
    blob = max(overlap((away < r * r).expand_as(truth), truth).mean_dice for r in range(10, 48, 4))
    assert losses[-1] < 0.6 * losses[0]
    assert dice > blob + 15


def test_two_replicas_learn_as_one_would() -> None:
    """Three steps of DoRA with R = 2: the loss of each replica is that of its own run, dropout included."""
    images, masks = _discs(8)
    seeds = (5, 6)
    together = _losses(_task(DORA, seeds, 8), seeds, images, masks)
    for replica, seed in enumerate(seeds):
        part = slice(4 * replica, 4 * replica + 4)
        alone = _losses(_task(DORA, (seed,), 8), (seed,), images[part], masks[part], part)
        assert torch.allclose(together[:, replica], alone[:, 0], rtol=1e-3, atol=1e-4)


def _losses(
    task: Segmentation, seeds: tuple[int, ...], images: Tensor, masks: Tensor, part: slice = slice(None)
) -> Tensor:
    """Losses ``[3, R]`` of three steps on one batch; every replica has the prompts of the image set in order."""
    ids, mask = task.prompts.tokens(task.prompts.chosen(1, "train")[part])
    optimiser = torch.optim.AdamW([p for p in task.parameters() if p.requires_grad], lr=1e-2)
    set_dropout_seeds(task.model.module, seeds)
    task.train()
    losses = []
    for _ in range(3):
        each = task.loss(task(Prompted(images, ids, mask)), masks.view(len(seeds), -1, *masks.shape[1:]))
        optimiser.zero_grad()
        each.sum().backward()
        optimiser.step()
        losses.append(each.detach())
    return torch.stack(losses)


def test_state_and_counts() -> None:
    task = _task(FULL)
    assert sum(p.numel() for p in task.parameters()) == sum(p.numel() for p in task.model.module.parameters())
    assert len(task.state_dict()) == len(task.model.module.state_dict())


def test_sizes_that_are_no_whole_number_of_patches() -> None:
    with pytest.raises(UserError, match="multiple of 16"):
        _task(FULL | {"image_size": 100})
    _task(FULL | {"image_size": 352})


@pytest.mark.parametrize("fields", [{"hflip": 0.5}, {"train_transform": "random-resized-crop"}])
def test_views_that_would_leave_the_mask_behind(fields: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="whole images"):
        _task(FULL | fields)

"""Batches of a segmentation: which image gets which prompt when, its mask, and masks as bits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from clipbench.data.images import ImageSet
from clipbench.engine.batches.views import EpochPlan, Images
from clipbench.engine.context import Context
from clipbench.engine.tasks.segmentation import Segmentation, pack, unpack
from clipbench.engine.tasks.segmentation_metric import overlap
from clipbench.engine.tasks.segmentation_prompts import PromptBank
from clipbench.engine.tasks.task import Parts
from clipbench.registry import Protocol
from tests.engine.test_segmentation_task import DORA

USED = torch.tensor([1, 3, 4, 5])
SEEDS = (7, 8)


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng().integers(0, 256, (4, 3, 16, 16), dtype=np.uint8)


@pytest.fixture
def masks() -> np.ndarray:
    return (np.random.default_rng().random((4, 16, 16)) > 0.6).astype(np.uint8)


@pytest.fixture
def data(pixels: np.ndarray, masks: np.ndarray) -> Segmentation:
    pytest.importorskip("transformers")
    prompts = [{"p7": tuple(f"image {i} {word}" for word in ("red", "green", "blue", "grey"))} for i in range(6)]
    files = [f"{i}.png" for i in range(6)]
    made = ImageSet("made", Path("nowhere"), files, [0] * 6, ["spot"], True, prompts=prompts)
    rows = USED.expand(2, -1)
    parts, cpu = Parts(rows, rows, torch.zeros(6, dtype=torch.long), rows), torch.device("cpu")
    protocol = Protocol(**DORA | {"prompt_type": "p7", "image_size": 16})
    task = Segmentation(protocol, made, parts, SEEDS, Context(Path(), cpu, Path()))
    task._images = Images(pixels, (0.0,) * 3, (1.0,) * 3, cpu, USED)
    task._masks = torch.from_numpy(masks)
    return task


def test_images_masks_and_prompts_stay_together(data: Segmentation, pixels: np.ndarray, masks: np.ndarray) -> None:
    index = torch.tensor([[5, 1], [3, 5]])
    found = data.inputs(index, "test", 0)
    rows = [3, 0, 1, 3]
    np.testing.assert_allclose(found.images.numpy() * 255, pixels[rows], atol=1e-3)
    np.testing.assert_array_equal(data.truth(index).flatten(0, 1).numpy(), masks[rows])
    bank = PromptBank([{"p": (f"image {i}",)} for i in range(6)], "p")
    numbers = bank.tokens(bank.chosen(0, ""))[0][:, 2]  # the token of the image's number
    assert found.input_ids[:, 2].tolist() == [int(numbers[i]) for i in (5, 1, 3, 5)]


def test_prompts_are_drawn_anew_by_seed_part_and_epoch(data: Segmentation) -> None:
    index = torch.tensor([[1, 3, 4, 5]] * 2)
    draws = {
        (part, epoch): data.inputs(index, part, epoch).input_ids.tolist()
        for part in ("val", "test")
        for epoch in range(4)
    }
    assert len({str(d) for d in draws.values()}) > 5
    assert draws["val", 2] == data.inputs(index, "val", 2).input_ids.tolist()
    assert any(d[:4] != d[4:] for d in draws.values())  # another seed draws another prompt


def test_training_batches_follow_the_plan(data: Segmentation) -> None:
    order = torch.tensor([[1, 3, 4, 5], [5, 4, 3, 1]])
    plan = EpochPlan(2, order, [slice(0, 3), slice(3, 4)])
    batches = list(data.train_batches(SEEDS, [plan]))
    assert [len(b.images) for b in batches] == [6, 2]
    torch.testing.assert_close(batches[1].images, data.inputs(torch.tensor([[5], [1]]), "train", 2).images)
    again = data.inputs(order, "train", 2).input_ids.view(2, 4, -1)
    assert torch.equal(torch.cat([b.input_ids.view(2, -1, again.shape[-1]) for b in batches], dim=1), again)


def test_masks_survive_as_bits() -> None:
    masks = torch.rand(5, 16, 16) > 0.5
    assert pack(masks).shape == (5, 32)
    assert torch.equal(unpack(pack(masks), 16), masks)


def test_scores_are_of_the_bits(data: Segmentation, masks: np.ndarray) -> None:
    index = torch.tensor([[1, 3, 4, 5]] * 2)
    logits = torch.randn(2, 4, 16, 16)
    due = [overlap(each > 0, torch.from_numpy(masks)).mean_dice for each in logits]
    assert data.scores(data.outputs(logits, data.truth(index)), index) == pytest.approx(due)

"""Random resized crops against torchvision: the box's arithmetic to the letter, its distribution, the pixels."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import stats
from torchvision.transforms import RandomResizedCrop
from torchvision.transforms import functional as reference

from clipbench.data.images import ImageSet
from clipbench.engine.batches.crops import Crops, crop_box, epoch_draws
from clipbench.engine.batches.views import EpochPlan
from clipbench.registry import Protocol

CPU = torch.device("cpu")
PROTOCOL = Protocol(crop_scale=(0.08, 1.0), hflip=0.5, train_transform="random-resized-crop")


@settings(deadline=None, max_examples=200)
@given(st.integers(1, 700), st.integers(1, 700), st.integers(0, 2**31), st.sampled_from([(0.08, 1.0), (0.5, 1.0)]))
def test_a_box_lies_in_the_image_and_keeps_its_ranges(
    height: int, width: int, seed: int, scale: tuple[float, float]
) -> None:
    draw = epoch_draws(seed, 0, 1)[0].numpy()
    top, left, h, w = crop_box(draw, height, width, scale)
    assert 0 <= top <= top + h <= height
    assert 0 <= left <= left + w <= width
    assert h > 0
    assert w > 0


def _torchvisions(height: int, width: int, count: int) -> np.ndarray:
    image = torch.empty(3, height, width)
    torch.manual_seed(7)
    return np.array([RandomResizedCrop.get_params(image, [0.08, 1.0], [3 / 4, 4 / 3]) for _ in range(count)])


@pytest.mark.parametrize(("height", "width"), [(120, 90), (64, 64), (20, 300)])
def test_boxes_are_distributed_as_torchvisions(height: int, width: int) -> None:
    """Two-sample Kolmogorov-Smirnov on each side of 4,000 boxes; the seeds are fixed, so that chance has no say."""
    ours = np.array([crop_box(draw, height, width, (0.08, 1.0)) for draw in epoch_draws(5, 0, 4000).numpy()])
    theirs = _torchvisions(height, width, 4000)
    for side in range(4):
        assert stats.ks_2samp(ours[:, side], theirs[:, side]).pvalue > 0.01


@pytest.mark.parametrize(("height", "width"), [(10, 1000), (1000, 10), (7, 7)])
def test_the_box_of_last_resort_is_torchvisions(height: int, width: int) -> None:
    """An area beyond the image fits nothing, ten times over."""
    found = crop_box(epoch_draws(1, 0, 1)[0].numpy(), height, width, (30.0, 31.0))
    assert found == RandomResizedCrop.get_params(torch.empty(3, height, width), [30.0, 31.0], [3 / 4, 4 / 3])


def test_the_first_box_that_fits_is_taken_by_torchvisions_formulas() -> None:
    for draw in epoch_draws(11, 0, 300).numpy():
        top, left, h, w = crop_box(draw, 50, 80, (0.08, 1.0))
        fitting = []
        for i in range(10):
            area = 4000 * (0.08 + 0.92 * draw[i])
            ratio = math.exp(math.log(3 / 4) + (math.log(4 / 3) - math.log(3 / 4)) * draw[10 + i])
            size = round(math.sqrt(area / ratio)), round(math.sqrt(area * ratio))
            fitting += [size] if size[0] <= 50 and size[1] <= 80 else []
        assert (h, w) == fitting[0]
        assert (top, left) == (int(draw[20] * (50 - h + 1)), int(draw[21] * (80 - w + 1)))


@pytest.fixture
def images(tmp_path: Path) -> ImageSet:
    draw = np.random.default_rng(3)
    sizes = [(40, 60), (64, 48), (33, 33), (90, 20), (50, 50)]
    for i, (height, width) in enumerate(sizes):
        Image.fromarray(draw.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(tmp_path / f"{i}.png")
    return ImageSet("made", tmp_path, [f"{i}.png" for i in range(5)], [0] * 5, ["a"], complete=True)


def test_pixels_are_torchvisions_resized_crop_of_the_original(images: ImageSet) -> None:
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
    order, parts = torch.tensor([[3, 0, 1], [2, 2, 0]]), [slice(0, 2), slice(2, 3)]
    plans = [EpochPlan(epoch, order, parts) for epoch in (0, 1)]
    found = list(Crops(images, 24, "bicubic", mean, std, CPU).train_batches(PROTOCOL, (1, 9), plans))
    assert [len(batch) for batch in found] == [4, 2, 4, 2]
    flips = 0
    for epoch in (0, 1):
        draws = torch.stack([epoch_draws(seed, epoch, 3) for seed in (1, 9)]).numpy()
        for number, part in enumerate(parts):
            positions = range(part.start, part.stop)
            rows = [(r, p) for r in range(2) for p in positions]
            for (r, p), pixels in zip(rows, found[2 * epoch + number], strict=True):
                with Image.open(images.root / images.files[int(order[r, p])]) as file:
                    image = file.convert("RGB")
                box = crop_box(draws[r, p], image.height, image.width, (0.08, 1.0))
                due = reference.resized_crop(image, *box, [24, 24], reference.InterpolationMode.BICUBIC)
                if draws[r, p, -1] < 0.5:
                    due, flips = reference.hflip(due), flips + 1
                due = reference.normalize(reference.to_tensor(due), mean, std)
                torch.testing.assert_close(pixels, due, rtol=1e-5, atol=1e-6)
    assert 0 < flips < 12


def test_originals_beyond_the_memory_set_aside_are_read_again(
    images: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    from clipbench.engine.batches import crops

    plans = [EpochPlan(0, torch.tensor([[0, 1, 2, 3, 4]]), [slice(0, 5)])]
    kept = list(Crops(images, 24, "bicubic", (0.5,) * 3, (0.5,) * 3, CPU).train_batches(PROTOCOL, (1,), plans))
    monkeypatch.setattr(crops, "_KEPT_BYTES", 1)
    source = Crops(images, 24, "bicubic", (0.5,) * 3, (0.5,) * 3, CPU)
    again = list(source.train_batches(PROTOCOL, (1,), plans))
    assert all(torch.equal(a, b) for a, b in zip(kept, again, strict=True))
    assert len(source._originals) < 5


def test_draws_depend_on_seed_and_epoch_alone() -> None:
    assert torch.equal(epoch_draws(1, 2, 9), epoch_draws(1, 2, 9))
    assert not torch.equal(epoch_draws(1, 2, 9), epoch_draws(1, 3, 9))
    assert not torch.equal(epoch_draws(1, 2, 9), epoch_draws(2, 2, 9))

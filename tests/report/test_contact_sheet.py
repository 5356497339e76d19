"""The contact sheet of a segmentation: which images it shows, and that what it draws is there."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from clipbench.report.contact_sheet import Segmented, contact_sheet, spread


def _image(seed: int, dice: float = 50.0, empty: bool = False, found: bool = True) -> Segmented:
    grey = np.random.default_rng(seed).integers(150, 256, (40, 40, 1), dtype=np.uint8).repeat(3, axis=2)
    truth, prediction = np.zeros((2, 40, 40), dtype=bool)
    if not empty:
        truth[10:30, 12:28] = True
    if found:
        prediction[8:24, 10:30] = True
    return Segmented(grey, truth, prediction, f"image-{seed}.png", dice)


def _pixels(png: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def _blue(pixels: np.ndarray) -> float:
    """Share of pixels that are plainly bluer than red: only the prediction's area is."""
    return float((pixels[..., 2] - pixels[..., 0] > 50).mean())


def test_scores_are_spread() -> None:
    assert spread([5.0, 1.0, 3.0], 8) == [1, 2, 0]
    scores = [float(x) for x in np.random.default_rng(0).permutation(100)]
    chosen = spread(scores, 5)
    assert [scores[i] for i in chosen] == pytest.approx([0, 25, 50, 74, 99], abs=1)
    assert len(set(chosen)) == 5
    assert spread(scores, 1) == [scores.index(0.0)]
    assert spread([], 3) == []


def test_the_prediction_is_blue_and_the_same_every_time() -> None:
    seen, blind = contact_sheet([_image(1)], "Discs"), contact_sheet([_image(1, found=False)], "Discs")
    assert seen == contact_sheet([_image(1)], "Discs")
    assert _blue(_pixels(seen)) > 0.02
    assert _blue(_pixels(blind)) < 0.001


def test_rows_are_limited() -> None:
    heights = [_pixels(contact_sheet([_image(i) for i in range(n)], "Discs", rows=3)).shape[0] for n in (1, 3, 9)]
    assert heights[0] < heights[1] == heights[2]


def test_empty_masks_and_no_images() -> None:
    for images in ([_image(1, empty=True), _image(2, empty=True, found=False)], []):
        assert _pixels(contact_sheet(images, "Discs", ["a note " * 40])).size

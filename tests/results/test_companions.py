"""The file behind a contact sheet, and which images it holds."""

from __future__ import annotations

import numpy as np
import pytest

from clipbench.results.companions import Sheet, spread


def test_images_are_spread_over_the_list() -> None:
    assert spread(3, 8) == [0, 1, 2]
    assert spread(100, 5) == pytest.approx([0, 25, 50, 74, 99], abs=1)
    assert len(set(spread(9, 8))) == 8
    assert spread(100, 1) == [0]
    assert spread(0, 3) == []


def test_round_trip() -> None:
    draw = np.random.default_rng()
    images = draw.integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)
    masks, predictions = draw.random((2, 3, 16, 16)) > 0.5
    sheet = Sheet(images, masks, predictions, ["a.png", "b (1).png", "ü.jpg"], [1.5, 2.0, 99.0], 61)
    found = Sheet.of(sheet.to_bytes())
    for name in ("images", "masks", "predictions"):
        np.testing.assert_array_equal(getattr(found, name), getattr(sheet, name))
        assert getattr(found, name).dtype == getattr(sheet, name).dtype
    assert (found.names, found.dice, found.total) == (sheet.names, sheet.dice, 61)

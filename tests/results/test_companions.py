"""The file behind a contact sheet, and which images it holds."""

from __future__ import annotations

import numpy as np
import pytest

from clipbench.results.companions import Sheet, spread


def test_scores_are_spread() -> None:
    assert spread([5.0, 1.0, 3.0], 8) == [1, 2, 0]
    scores = [float(x) for x in np.random.default_rng(0).permutation(100)]
    chosen = spread(scores, 5)
    assert [scores[i] for i in chosen] == pytest.approx([0, 25, 50, 74, 99], abs=1)
    assert len(set(chosen)) == 5
    assert spread(scores, 1) == [scores.index(0.0)]
    assert spread([], 3) == []


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

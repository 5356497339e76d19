"""The contact sheet of a segmentation: that what it draws is there, and from which runs."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from clipbench.compare.cells import Library
from clipbench.report.contact_sheet import contact_sheet, draw_sheets
from clipbench.results.companions import SHEET, Sheet
from clipbench.results.store import Draft, Store
from tests.factory import record, table


def _sheet(seed: int, *, empty: bool = False, found: bool = True, count: int = 1) -> Sheet:
    draw = np.random.default_rng(seed)
    grey = draw.integers(150, 256, (count, 40, 40, 1), dtype=np.uint8).repeat(3, axis=3)
    masks, predictions = np.zeros((2, count, 40, 40), dtype=bool)
    masks[:, 10:30, 12:28] = not empty
    predictions[:, 8:24, 10:30] = found
    return Sheet(grey, masks, predictions, [f"image-{i}.png" for i in range(count)], [50.0] * count, 100)


def _pixels(png: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def _blue(pixels: np.ndarray) -> float:
    """Share of pixels that are plainly bluer than red: only the prediction's area is."""
    return float((pixels[..., 2] - pixels[..., 0] > 50).mean())


def test_the_prediction_is_blue_and_the_same_every_time() -> None:
    seen, blind = contact_sheet(_sheet(1), "Discs"), contact_sheet(_sheet(1, found=False), "Discs")
    assert seen == contact_sheet(_sheet(1), "Discs")
    assert _blue(_pixels(seen)) > 0.02
    assert _blue(_pixels(blind)) < 0.001


def test_one_row_an_image() -> None:
    heights = [_pixels(contact_sheet(_sheet(1, count=n), "Discs")).shape[0] for n in (1, 2, 3)]
    assert heights[0] < heights[1] < heights[2]


def test_empty_masks_and_no_images() -> None:
    for sheet in (_sheet(1, empty=True), _sheet(2, empty=True, found=False), _sheet(3, count=0)):
        assert _pixels(contact_sheet(sheet, "Discs", ["a note " * 40])).size


def test_a_sheet_for_every_measured_cell_of_dice(tmp_path: Path) -> None:
    paper, experiment = table("clip-dora/table4")
    store = Store(tmp_path)
    where = ("clip-dora/table4", "kvasir", "clip-dora")
    drafts = [Draft(record(where, seed), {SHEET: _sheet(seed).to_bytes()}) for seed in (2, 1)]
    store.publish([*drafts, Draft(record(("clip-dora/table4", "busi", "clip-dora"), 1), {})])
    found = draw_sheets(paper, experiment, Library(store.scan()[0]), store)
    assert list(found) == ["table4-kvasir-clip-dora"]
    alone = Store(tmp_path / "alone")
    alone.publish(drafts[1:])
    assert draw_sheets(paper, experiment, Library(alone.scan()[0]), alone) == found  # the lowest seed's
    assert not draw_sheets(*table("clip-dora/table1"), Library(store.scan()[0]), store)

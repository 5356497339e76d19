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
    seen, blind = contact_sheet({"dora": _sheet(1)}, "Discs"), contact_sheet({"dora": _sheet(1, found=False)}, "Discs")
    assert seen == contact_sheet({"dora": _sheet(1)}, "Discs")
    assert _blue(_pixels(seen)) > 0.02
    assert _blue(_pixels(blind)) < 0.001


def test_a_column_for_an_image_and_a_row_for_a_method() -> None:
    shapes = {
        (count, methods): _pixels(
            contact_sheet({f"method {i}": _sheet(1, count=count) for i in range(methods)}, "Discs")
        ).shape
        for count, methods in ((4, 1), (8, 1), (8, 3))
    }
    assert shapes[4, 1][1] < shapes[8, 1][1] == shapes[8, 3][1]
    assert shapes[8, 1][0] < shapes[8, 3][0] < shapes[8, 3][1]  # landscape


def test_only_images_that_every_method_has_are_shown() -> None:
    few, many = _sheet(1, count=2), _sheet(1, count=4)
    together = _pixels(contact_sheet({"a": few, "b": many}, "Discs"))
    assert together.shape == _pixels(contact_sheet({"a": few, "b": few}, "Discs")).shape
    assert together.shape[1] < _pixels(contact_sheet({"a": many, "b": many}, "Discs")).shape[1]


def test_empty_masks_and_no_images() -> None:
    for sheet in (_sheet(1, empty=True), _sheet(2, empty=True, found=False), _sheet(3, count=0)):
        assert _pixels(contact_sheet({"dora": sheet}, "Discs", ["a note " * 40])).size


def test_the_file_is_small() -> None:
    """Photographs of full size: 8 images for 4 methods in less than half a megabyte, not in 4 times 1.3."""
    draw = np.random.default_rng(0)
    smooth = draw.integers(60, 200, (8, 8, 8, 3)).repeat(28, axis=1).repeat(28, axis=2)
    pixels = (smooth + draw.integers(-6, 7, smooth.shape)).astype(np.uint8)
    masks = np.zeros((8, 224, 224), dtype=bool)
    masks[:, 60:160, 60:160] = True
    sheet = Sheet(pixels, masks, masks, [f"{i}.jpg" for i in range(8)], [100.0] * 8, 8)
    assert len(contact_sheet(dict.fromkeys("abcd", sheet), "Noise")) < 500_000


def test_a_sheet_for_every_data_set_with_all_of_its_methods(tmp_path: Path) -> None:
    paper, experiment = table("clip-dora/table4")
    store = Store(tmp_path)
    drafts = [
        Draft(record(("clip-dora/table4", "kvasir", method), seed), {SHEET: _sheet(seed).to_bytes()})
        for method, seed in (("clip-dora", 2), ("clip-dora", 1), ("full", 2))
    ]
    store.publish([*drafts, Draft(record(("clip-dora/table4", "busi", "clip-dora"), 1), {})])
    found = draw_sheets(paper, experiment, Library(store.scan()[0]), store)
    assert list(found) == ["table4-kvasir"]
    alone = Store(tmp_path / "alone")
    alone.publish([drafts[0], drafts[2]])
    assert draw_sheets(paper, experiment, Library(alone.scan()[0]), alone) == found  # the seed that both have
    assert not draw_sheets(*table("clip-dora/table1"), Library(store.scan()[0]), store)

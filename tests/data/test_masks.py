"""Masks: what is foreground, which way up it lies, how masks are joined and cached, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageOps

from clipbench.data.cache import decoded_masks
from clipbench.data.catalogue import Entry, entry
from clipbench.data.decode import UPRIGHT, load_rgb
from clipbench.data.images import ImageSet
from clipbench.data.masks import load_mask
from clipbench.data.official import find_images
from clipbench.data.verify import Verified, verify
from clipbench.errors import UserError
from tests.data.data_trees import write


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CLIPBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "images"


def silent(_: str) -> None:
    """Nobody listens."""


def disc(width: int, height: int, x: float, y: float, radius: float) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width]
    return (columns - x * width) ** 2 + (rows - y * height) ** 2 < (radius * min(width, height)) ** 2


def photo(path: Path, width: int, height: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (width, height), "pink").save(path)
    return path


def save(path: Path, levels: np.ndarray, mode: str | None = None, **how: Any) -> Path:
    Image.fromarray(levels).convert(mode).save(path, **how) if mode else Image.fromarray(levels).save(path, **how)
    return path


def masked(root: Path, masks: list[list[str]], width: int, height: int) -> ImageSet:
    names = tuple(photo(root / f"{i}.png", width, height).name for i in range(len(masks)))
    return ImageSet(
        "made", root, names, (0,) * len(names), ("polyp",), True, masks=tuple(tuple(m) for m in masks), decoding=UPRIGHT
    )


def shrunk(mask: np.ndarray, size: int) -> np.ndarray:
    return np.asarray(Image.fromarray(mask.astype(np.uint8)).resize((size, size), Image.Resampling.NEAREST))


# What is foreground


@pytest.mark.parametrize("mode", ["L", "RGB", "1", "P", "RGBA"])
def test_masks_of_every_mode_are_the_same(tmp_path: Path, mode: str) -> None:
    mask = disc(50, 50, 0.5, 0.5, 0.3)
    save(tmp_path / "mask.png", mask.astype(np.uint8) * 255, mode)
    np.testing.assert_array_equal(load_mask([tmp_path / "mask.png"], 50, photo(tmp_path / "a.png", 50, 50)), mask)


@pytest.mark.parametrize(
    "kind", ["uint8", "uint16", "int32", "1 and 2", "RGB", "palette", "black palette", "0 and 255"]
)
def test_a_mask_of_two_low_levels_is_a_mask(tmp_path: Path, kind: str) -> None:
    """Coded 0 and 1, or by a palette whose foreground is darker than grey: half of full scale would leave it empty."""
    mask = disc(50, 50, 0.4, 0.5, 0.3)
    levels = mask.astype(kind if "int" in kind else np.uint8)
    if kind in ("palette", "black palette"):
        image = Image.frombytes("P", (50, 50), levels.tobytes())
        image.putpalette([0, 0, 0, *((128, 0, 0) if kind == "palette" else (0, 0, 0))])
        image.save(tmp_path / "mask.tif")
    else:
        made = {"1 and 2": levels + 1, "0 and 255": mask.astype(np.uint16) * 255}.get(kind, levels)
        save(tmp_path / "mask.tif", made, "RGB" if kind == "RGB" else None)
    np.testing.assert_array_equal(load_mask([tmp_path / "mask.tif"], 50, photo(tmp_path / "a.png", 50, 50)), mask)


def test_sixteen_bits_are_cut_at_half_of_their_full_scale(tmp_path: Path) -> None:
    soft = np.linspace(0, 65535, 64 * 64).astype(np.uint16).reshape(64, 64)
    found = load_mask([save(tmp_path / "mask.png", soft)], 64, photo(tmp_path / "a.png", 64, 64))
    np.testing.assert_array_equal(found, soft > 32767)


@pytest.mark.parametrize("level", [0, 1, 255])
def test_a_mask_of_one_level_is_empty_or_full(tmp_path: Path, level: int) -> None:
    path = save(tmp_path / "mask.png", np.full((30, 30), level, np.uint8))
    assert (load_mask([path], 30, photo(tmp_path / "a.png", 30, 30)) == bool(level)).all()


def test_a_black_jpeg_that_rounding_lifts_stays_empty(tmp_path: Path) -> None:
    path = save(tmp_path / "mask.jpg", np.zeros((30, 30), np.uint8), quality=8)
    with Image.open(path) as black:
        assert np.asarray(black).any()
    assert not load_mask([path], 30, photo(tmp_path / "a.png", 30, 30)).any()


def test_a_picture_of_several_classes_is_refused(tmp_path: Path) -> None:
    labels = np.arange(4, dtype=np.uint8).repeat(100).reshape(20, 20)
    path = save(tmp_path / "labels.png", labels)
    with pytest.raises(UserError, match=r"labels\.png has 4 levels, the highest 3, .*Save it with two levels") as error:
        load_mask([path], 20, photo(tmp_path / "a.png", 20, 20))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("quality", [10, 40, 90])
def test_a_lossy_mask_is_cut_at_half_of_full_scale(tmp_path: Path, quality: int) -> None:
    mask = disc(160, 120, 0.5, 0.5, 0.35)
    path = save(tmp_path / "mask.jpg", mask.astype(np.uint8) * 255, quality=quality)
    with Image.open(path) as lossy:
        levels = np.asarray(lossy)
    assert len(np.unique(levels)) > 2
    found = load_mask([path], 120, photo(tmp_path / "a.png", 160, 120))
    np.testing.assert_array_equal(found, shrunk(levels > 127, 120))


# Which way up


def tag(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return exif


def marked(width: int = 40, height: int = 24) -> np.ndarray:
    """White in one corner of the picture alone: no turn leaves it as it is."""
    mask = np.zeros((height, width), np.uint8)
    mask[:8, :16] = 255
    return mask


def turned_back(upright: np.ndarray, orientation: int) -> np.ndarray:
    """The pixels as a camera stores them under that tag, of the upright ones; found by trying every turn."""
    for way in (None, *Image.Transpose):
        stored = Image.fromarray(upright) if way is None else Image.fromarray(upright).transpose(way)
        stored.getexif()[ExifTags.Base.Orientation] = orientation
        if np.array_equal(np.asarray(ImageOps.exif_transpose(stored)), upright):
            return np.asarray(stored)
    raise AssertionError(orientation)


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("own_tag", [False, True])
def test_a_mask_is_turned_as_its_image_is(tmp_path: Path, suffix: str, orientation: int, own_tag: bool) -> None:
    upright = marked()
    stored = turned_back(upright, orientation)
    image = save(tmp_path / f"a.{suffix}", stored, "RGB", exif=tag(orientation))
    mask = save(tmp_path / "mask.png", stored, exif=tag(orientation if own_tag else 1) if own_tag else None)
    seen = np.asarray(load_rgb(image).resize((60, 60), Image.Resampling.NEAREST))[..., 0] > 127
    np.testing.assert_array_equal(load_mask([mask], 60, image), seen)
    np.testing.assert_array_equal(seen, shrunk(upright > 127, 60))


def test_a_mask_that_is_upright_already_is_not_turned(tmp_path: Path) -> None:
    """By its size, or by a tag of its own that says so."""
    upright = marked()
    on_its_side = save(tmp_path / "a.jpg", turned_back(upright, 6), exif=tag(6))
    upside_down = save(tmp_path / "b.jpg", turned_back(upright, 3), exif=tag(3))
    plain, tagged = save(tmp_path / "p.png", upright), save(tmp_path / "t.png", upright, exif=tag(1))
    for image, mask in ((on_its_side, plain), (on_its_side, tagged), (upside_down, tagged)):
        np.testing.assert_array_equal(load_mask([mask], 60, image), shrunk(upright > 127, 60))


# Which do not fit, and how they are joined


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_mask_of_another_size_than_its_image_is_refused(tmp_path: Path, orientation: int) -> None:
    image = save(tmp_path / "a.jpg", marked(40, 24), exif=tag(orientation))
    masks = [save(tmp_path / "mask.png", marked(40, 25))]
    size = "40 x 24" if orientation == 1 else "24 x 40"
    with pytest.raises(UserError, match=rf"mask\.png is 40 x 25 pixels, its image .*a\.jpg upright {size}") as error:
        load_mask(masks, 20, image)
    assert "\n" not in str(error.value)
    images = replace(masked(tmp_path, [["mask.png"]], 40, 24), files=("a.jpg",))
    with pytest.raises(UserError, match=r"mask\.png is 40 x 25"):
        decoded_masks(images, 20, tell=silent)


def test_several_masks_are_joined_and_none_is_empty(tmp_path: Path) -> None:
    one, two = disc(80, 60, 0.3, 0.4, 0.2), disc(80, 60, 0.7, 0.6, 0.3)
    for name, mask, white in (("one", one, 255), ("two", two, 1), ("empty", one & ~one, 255)):
        save(tmp_path / f"{name}_mask.png", mask.astype(np.uint8) * white)
    named = [["one_mask.png", "two_mask.png"], ["one_mask.png"], ["empty_mask.png"]]
    images = masked(tmp_path, named, 80, 60)
    found = decoded_masks(images, 40, tell=silent)
    assert (found.shape, found.dtype) == ((3, 40, 40), np.uint8)
    for row, due in zip(found, (one | two, one, one & ~one), strict=True):
        np.testing.assert_array_equal(row, shrunk(due, 40))
    assert not found[2].any()
    np.testing.assert_array_equal(decoded_masks(images, 40, [2, 0], silent), found[[2, 0]])


def test_the_images_and_how_masks_are_joined_are_part_of_the_key(tmp_path: Path, folder: Path) -> None:
    for name in "abc":
        save(tmp_path / f"{name}_mask.png", np.zeros((30, 30), np.uint8))
    files = [f"{name}_mask.png" for name in "abc"]
    decoded_masks(masked(tmp_path, [[files[0], files[1]], [files[2]]], 30, 30), 20, tell=silent)
    joined = masked(tmp_path, [[files[0]], [files[1], files[2]]], 30, 30)
    decoded_masks(joined, 20, tell=silent)
    assert len(list(folder.iterdir())) == 2
    save(tmp_path / "0.png", np.zeros((30, 30), np.uint8), exif=tag(3))
    decoded_masks(joined, 20, tell=silent)
    assert len(list(folder.iterdir())) == 3


def test_a_corrupt_mask_is_named_and_a_set_without_masks_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no image")
    images = masked(tmp_path, [["bad.png"]], 30, 30)
    with pytest.raises(UserError, match=r"bad\.png cannot be read"):
        decoded_masks(images, 20, tell=silent)
    with pytest.raises(UserError, match="has no masks"):
        decoded_masks(replace(images, masks=()), 20, tell=silent)


# What `data verify` says


def polyps(root: Path, count: int = 6) -> Entry:
    """Kvasir-SEG's layout with that many images of 40 x 24, each with a mask."""
    names = [f"cju{i}.png" for i in range(count)]
    for part, some in (("train", names[:3]), ("val", names[3:4]), ("test", names[4:])):
        items = [{"img_name": name, "mask_name": name, "prompts": {"p0": ""}} for name in some]
        write(root / f"kvasir_polyp/anns/{part}.json", json.dumps(items))
    for i, name in enumerate(names):
        (root / "kvasir_polyp/masks").mkdir(exist_ok=True)
        photo(root / "kvasir_polyp/images" / name, 40, 24)
        Image.new("RGB", (40, 24), (i, 0, 0)).save(root / "kvasir_polyp/images" / name)
        save(root / "kvasir_polyp/masks" / name, marked())
    parts = {"train": 3, "val": 1, "test": 2}
    return replace(entry("kvasir"), acquisition=None, classes={"polyp": 0}, parts=parts)


def told(found: Verified, *, wrong: bool) -> Sequence[str]:
    return [finding.text for finding in found.findings if finding.wrong == wrong]


def test_verify_names_every_mask_that_cannot_be_used(tmp_path: Path) -> None:
    kvasir, steps, totals = polyps(tmp_path), [], []

    def begin(total: int) -> Any:
        totals.append(total)
        return steps.append

    found = verify(kvasir, tmp_path, begin)
    assert (found.right, told(found, wrong=True), told(found, wrong=False)) == (True, [], [])
    assert (totals, sum(steps)) == ([18], 18)
    masks = tmp_path / "kvasir_polyp/masks"
    save(masks / "cju0.png", marked(40, 25))
    (masks / "cju2.png").write_bytes(b"no image")
    save(masks / "cju3.png", np.arange(4, dtype=np.uint8).repeat(240).reshape(24, 40))
    (tmp_path / "kvasir_polyp/images/cju4.png").write_bytes(b"no image")
    found = verify(kvasir, tmp_path, begin)
    image, size, unread, levels = told(found, wrong=True)
    assert not found.right
    assert image.startswith("The image ")
    assert "images/cju4.png cannot be read" in image
    assert "masks/cju0.png is 40 x 25 pixels" in size
    assert "40 x 24" in size
    assert "masks/cju2.png cannot be read" in unread
    assert "masks/cju3.png has 4 levels" in levels


def test_verify_remarks_on_masks_that_are_turned(tmp_path: Path) -> None:
    kvasir = polyps(tmp_path)
    Image.new("RGB", (40, 24), "blue").save(tmp_path / "kvasir_polyp/images/cju1.png", exif=tag(6))
    found = verify(kvasir, tmp_path, lambda _: lambda _: None)
    assert found.right
    (said,) = told(found, wrong=False)
    assert said.startswith("1 images have an orientation tag (images/cju1.png)")


# Real input


@pytest.mark.parametrize("dataset", ["kvasir", "clinicdb", "busi"])
def test_real_masks_are_lesions(dataset: str, shared: Path) -> None:
    data = shared / "data"
    if not any((data / name).is_dir() for name in entry(dataset).folders):
        pytest.skip(f"no real images of {dataset}")
    images = find_images(entry(dataset), data, partial=True)
    found = decoded_masks(images, 64, tell=silent)
    normal = np.array(["normal" in file for file in images.files])
    covered = found.mean(axis=(1, 2))
    assert not covered[normal].any()
    assert (covered[~normal] > 0).all()
    assert covered[~normal].mean() < 0.5

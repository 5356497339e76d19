"""The cache's other views: centre crop, a choice of images, masks; progress, and the key that earlier arrays have."""

from __future__ import annotations

import hashlib
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL
import pytest
from PIL import Image
from torchvision import transforms

from clipbench.data import cache as module
from clipbench.data.cache import decoded, decoded_masks
from clipbench.data.catalogue import entry
from clipbench.data.decode import load_mask
from clipbench.data.images import ImageSet, find_images
from clipbench.errors import UserError


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CLIPBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "images"


def silent(_: str) -> None:
    """Nobody listens."""


def picture(path: Path, width: int, height: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng().integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def photos(root: Path, count: int = 5) -> ImageSet:
    rng = random.Random()  # noqa: S311
    for i in range(count):
        picture(root / f"{i}.png", rng.randint(20, 90), rng.randint(20, 90))
    names = tuple(f"{i}.png" for i in range(count))
    return ImageSet("made", root, names, tuple(range(count)), names, True)


# Views and choices


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("size", [16, 31, 64])
def test_the_centre_crop_is_torchvisions_bit_for_bit(tmp_path: Path, size: int, interpolation: str) -> None:
    images = photos(tmp_path)
    found = decoded(images, size, interpolation, silent, transform="resize-centre-crop")
    mode = {"bicubic": transforms.InterpolationMode.BICUBIC, "bilinear": transforms.InterpolationMode.BILINEAR}
    view = transforms.Compose(
        [
            transforms.Resize(size, interpolation=mode[interpolation]),
            transforms.CenterCrop(size),
            transforms.PILToTensor(),
        ]
    )
    for row, name in zip(found, images.files, strict=True):
        with Image.open(tmp_path / name) as image:
            np.testing.assert_array_equal(row, view(image).numpy())


def test_a_choice_of_images_is_decoded_in_its_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = photos(tmp_path, 8)
    whole = np.array(decoded(images, 24, "bicubic", silent))
    read: list[str] = []
    load = module.load_rgb
    monkeypatch.setattr(module, "load_rgb", lambda path: read.append(path.name) or load(path))
    chosen = [6, 1, 1, 3]
    np.testing.assert_array_equal(decoded(images, 24, "bicubic", silent, indices=chosen), whole[chosen])
    assert sorted(read) == ["1.png", "1.png", "3.png", "6.png"]


def test_no_image_at_all_is_an_empty_array(tmp_path: Path) -> None:
    found = decoded(photos(tmp_path), 24, "bicubic", silent, transform="resize-centre-crop", indices=[])
    assert found.shape == (0, 3, 24, 24)


def test_each_view_choice_and_order_has_its_own_file(tmp_path: Path, folder: Path) -> None:
    images = photos(tmp_path)
    for transform in ("resize", "resize-centre-crop"):
        for indices in (None, [0, 1], [1, 0]):
            decoded(images, 24, "bicubic", silent, transform=transform, indices=indices)
    assert len(list(folder.iterdir())) == 6
    decoded(images, 24, "bicubic", silent, indices=list(range(5)))
    assert len(list(folder.iterdir())) == 6, "all images in order are the whole set"


def test_arrays_of_the_first_form_stay_valid(tmp_path: Path, folder: Path) -> None:
    """The key as it was when there was one view only: what users have decoded is found again."""
    images = photos(tmp_path)
    decoded(images, 24, "bicubic", silent)
    digest = hashlib.sha256(f"{tmp_path.resolve()} 24 bicubic pillow {PIL.__version__}".encode())
    for name in images.files:
        stat = (tmp_path / name).stat()
        digest.update(f"{name} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    assert [path.name for path in folder.iterdir()] == [f"made-24-{digest.hexdigest()[:16]}.npy"]


def test_long_work_says_how_long_the_rest_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, said = photos(tmp_path, 4), []
    clock = iter(range(0, 1000, 6))
    monkeypatch.setattr(module.time, "monotonic", lambda: float(next(clock)))
    decoded(images, 24, "bicubic", said.append)
    # A tick of six seconds per image, a line every ten at most.
    assert said[1:] == ["decoded 50%, 12 s left", "decoded 100%, 0 s left"]


def test_one_corrupt_image_among_many_is_named(tmp_path: Path, folder: Path) -> None:
    images = photos(tmp_path, 60)
    (tmp_path / "41.png").write_bytes((tmp_path / "41.png").read_bytes()[:40])
    with pytest.raises(UserError, match=r"41\.png cannot be read"):
        decoded(images, 24, "bicubic", silent, transform="resize-centre-crop")
    assert not list(folder.iterdir())


# Masks


def masked(root: Path, masks: list[list[str]]) -> ImageSet:
    images = photos(root, len(masks))
    return replace(images, labels=(0,) * len(masks), classes=("polyp",), masks=tuple(tuple(m) for m in masks))


def disc(width: int, height: int, x: float, y: float, radius: float) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width]
    return (columns - x * width) ** 2 + (rows - y * height) ** 2 < (radius * min(width, height)) ** 2


def test_several_masks_are_joined_and_none_is_empty(tmp_path: Path) -> None:
    one, two = disc(80, 60, 0.3, 0.4, 0.2), disc(80, 60, 0.7, 0.6, 0.3)
    for name, mask in (("one", one), ("two", two), ("empty", one & ~one)):
        Image.fromarray(mask.astype(np.uint8) * 255).save(tmp_path / f"{name}_mask.png")
    images = masked(tmp_path, [["one_mask.png", "two_mask.png"], ["one_mask.png"], ["empty_mask.png"]])
    found = decoded_masks(images, 40, tell=silent)
    assert (found.shape, found.dtype) == ((3, 40, 40), np.uint8)
    for row, due in zip(found, (one | two, one, one & ~one), strict=True):
        expected = Image.fromarray(due.astype(np.uint8)).resize((40, 40), Image.Resampling.NEAREST)
        np.testing.assert_array_equal(row, np.asarray(expected))
    assert not found[2].any()
    np.testing.assert_array_equal(decoded_masks(images, 40, [2, 0], silent), found[[2, 0]])


@pytest.mark.parametrize("mode", ["L", "RGB", "1", "P", "RGBA"])
def test_masks_of_every_mode_are_the_same(tmp_path: Path, mode: str) -> None:
    mask = disc(50, 50, 0.5, 0.5, 0.3)
    Image.fromarray(mask.astype(np.uint8) * 255).convert(mode).save(tmp_path / "mask.png")
    np.testing.assert_array_equal(load_mask([tmp_path / "mask.png"], 50), mask)


def test_a_lossy_mask_is_cut_at_half_of_full_scale(tmp_path: Path) -> None:
    mask = disc(160, 120, 0.5, 0.5, 0.35)
    Image.fromarray(mask.astype(np.uint8) * 255).save(tmp_path / "mask.jpg", quality=40)
    with Image.open(tmp_path / "mask.jpg") as lossy:
        assert len(np.unique(np.asarray(lossy))) > 2
    found = load_mask([tmp_path / "mask.jpg"], 120)
    assert set(np.unique(found)) == {0, 1}
    expected = np.asarray(Image.fromarray(mask.astype(np.uint8)).resize((120, 120), Image.Resampling.NEAREST))
    assert (found != expected).mean() < 0.01


def test_masks_of_different_sizes_are_refused(tmp_path: Path) -> None:
    for name, width in (("a", 30), ("b", 40)):
        Image.new("L", (width, 30)).save(tmp_path / f"{name}.png")
    with pytest.raises(UserError, match=r"b\.png is 40 x 30"):
        load_mask([tmp_path / "a.png", tmp_path / "b.png"], 20)


def test_how_masks_are_joined_is_part_of_the_key(tmp_path: Path, folder: Path) -> None:
    for name in "abc":
        Image.new("L", (30, 30)).save(tmp_path / f"{name}_mask.png")
    files = [f"{name}_mask.png" for name in "abc"]
    decoded_masks(masked(tmp_path, [[files[0], files[1]], [files[2]]]), 20, tell=silent)
    decoded_masks(masked(tmp_path, [[files[0]], [files[1], files[2]]]), 20, tell=silent)
    assert len(list(folder.iterdir())) == 2


def test_a_corrupt_mask_is_named_and_a_set_without_masks_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"bad\.png cannot be read"):
        decoded_masks(masked(tmp_path, [["bad.png"]]), 20, tell=silent)
    with pytest.raises(UserError, match="has no masks"):
        decoded_masks(photos(tmp_path), 20, tell=silent)


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

"""The cache's other views: centre crop, a choice of images; progress, and the key that earlier arrays have."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision import transforms

from clipbench.data import cache as module
from clipbench.data.cache import decoded
from clipbench.data.images import ImageSet
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
    monkeypatch.setattr(module, "load_rgb", lambda path, how: read.append(path.name) or load(path, how))
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

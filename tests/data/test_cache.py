"""The cache of decoded images: exactly Pillow's pixels, written once, whole, keyed by what could change them."""

from __future__ import annotations

import errno
import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from clipbench.data import cache as module
from clipbench.data.cache import decoded
from clipbench.data.decode import UPRIGHT, load_rgb
from clipbench.data.images import ImageSet
from clipbench.errors import UserError

SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CLIPBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "images"


def noise(shape: tuple[int, ...], seed: int = 0, top: int = 256) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, top, shape)


def image_set(root: Path, *names: str) -> ImageSet:
    return ImageSet("made", root, names, tuple(range(len(names))), names, True, decoding=UPRIGHT)


def photo(root: Path, name: str = "a.png", seed: int = 0) -> ImageSet:
    Image.fromarray(noise((30, 50, 3), seed).astype(np.uint8)).save(root / name)
    return image_set(root, name)


def silent(_: str) -> None:
    """Nobody listens."""


def palette(root: Path) -> str:
    image = Image.fromarray(noise((30, 50), top=7).astype(np.uint8), "P")
    image.putpalette(noise((768,)).tolist())
    image.save(root / "a.png")
    return "a.png"


def rotated(root: Path) -> str:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: upright needs a quarter turn
    Image.fromarray(noise((30, 50, 3)).astype(np.uint8)).save(root / "a.jpg", exif=exif)
    return "a.jpg"


def saved(mode: str, name: str) -> Callable[[Path], str]:
    def save(root: Path) -> str:
        Image.fromarray(noise((30, 50, 3)).astype(np.uint8)).convert(mode).save(root / name)
        return name

    return save


KINDS = {
    "tif": saved("RGB", "a.tif"),
    "jpg": saved("RGB", "a.jpg"),
    "png": saved("RGB", "a.png"),
    "grey": saved("L", "a.png"),
    "cmyk": saved("CMYK", "a.jpg"),
    "alpha": saved("RGBA", "a.png"),
    "palette": palette,
    "rotated": rotated,
}


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("kind", KINDS)
def test_is_pillows_plain_resize_bit_for_bit(tmp_path: Path, kind: str, interpolation: str) -> None:
    name = KINDS[kind](tmp_path)
    found = decoded(image_set(tmp_path, name), 24, interpolation, silent)
    with Image.open(tmp_path / name) as image:
        upright = ImageOps.exif_transpose(image)
        resampling = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}[interpolation]
        due = np.asarray(upright.convert("RGB").resize((24, 24), resampling))
    assert (found.shape, found.dtype) == ((1, 3, 24, 24), np.uint8)
    np.testing.assert_array_equal(found[0], due.transpose(2, 0, 1))


def test_a_turned_photograph_is_set_upright(tmp_path: Path) -> None:
    upright = load_rgb(tmp_path / rotated(tmp_path))
    assert upright.size == (30, 50)


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_sixteen_bits_become_eight(tmp_path: Path, name: str) -> None:
    deep = noise((30, 50), top=65536).astype(np.uint16)
    deep[0, :3] = (0, 257, 65535)
    Image.fromarray(deep).save(tmp_path / name)
    found = np.asarray(load_rgb(tmp_path / name))
    np.testing.assert_array_equal(found, np.repeat(np.round(deep / 257)[..., None], 3, axis=2))
    assert found[0, :3, 0].tolist() == [0, 1, 255]


def test_every_image_is_in_its_place(tmp_path: Path) -> None:
    names = [f"{i}.png" for i in range(40)]
    for i, name in enumerate(names):
        Image.new("RGB", (8 + i % 3, 8), (i, 2 * i, 255 - i)).save(tmp_path / name)
    found = decoded(image_set(tmp_path, *names), 8, "bicubic", silent)
    assert found[:, :, 0, 0].tolist() == [[i, 2 * i, 255 - i] for i in range(40)]


def test_the_second_call_reads_the_file_and_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, said = photo(tmp_path), []
    first = decoded(images, 24, "bicubic", said.append)
    monkeypatch.setattr(module, "load_rgb", lambda _: pytest.fail("decoded again"))
    np.testing.assert_array_equal(decoded(images, 24, "bicubic", said.append), first)
    assert len(said) == 1
    assert "decoding the 1 images" in said[0]


@pytest.mark.parametrize(("old", "new"), [(b", }", b", ("), (b"'shape': (", b"'shape': (-"), (b"", b"")])
def test_a_damaged_header_or_a_pipe_is_made_again(tmp_path: Path, folder: Path, old: bytes, new: bytes) -> None:
    images, said = photo(tmp_path), []
    first = np.array(decoded(images, 24, "bicubic", silent))
    (kept,) = folder.iterdir()
    content = kept.read_bytes().replace(old, new, 1)
    kept.unlink()
    if old:
        kept.write_bytes(content)
    else:
        os.mkfifo(kept)
    np.testing.assert_array_equal(decoded(images, 24, "bicubic", said.append), first)
    assert "their cache is damaged" in said[0]


def test_what_could_change_the_pixels_changes_the_file(tmp_path: Path, folder: Path) -> None:
    images = photo(tmp_path)
    first = np.array(decoded(images, 24, "bicubic", silent))
    decoded(images, 24, "bilinear", silent)
    decoded(images, 16, "bicubic", silent)
    assert len(list(folder.iterdir())) == 3
    photo(tmp_path, seed=1)
    os.utime(tmp_path / "a.png", (10**9, 10**9))
    assert not np.array_equal(decoded(images, 24, "bicubic", silent), first)
    photo(tmp_path, "b.png")
    decoded(image_set(tmp_path, "b.png"), 24, "bicubic", silent)
    assert len(list(folder.iterdir())) == 4  # the bytes count, not the name


def test_what_is_done_with_the_pixels_does_not_reach_the_file(tmp_path: Path) -> None:
    images = photo(tmp_path)
    first = decoded(images, 24, "bicubic", silent)
    due = np.array(first)
    first[:] = 0
    np.testing.assert_array_equal(decoded(images, 24, "bicubic", silent), due)


@pytest.mark.parametrize("content", [b"", b"no image at all", "cut", "flipped"])
@pytest.mark.parametrize("kind", ["tif", "jpg", "png"])
def test_a_corrupt_image_is_named_and_leaves_no_cache(
    tmp_path: Path, folder: Path, kind: str, content: bytes | str
) -> None:
    name = KINDS[kind](tmp_path)
    path = tmp_path / name
    whole = path.read_bytes()
    damaged = whole[: len(whole) // 2] if content == "cut" else whole[:60] + bytes(200) + whole[260:]
    path.write_bytes(content if isinstance(content, bytes) else damaged)
    try:
        decoded(image_set(tmp_path, name), 24, "bicubic", silent)
    except UserError as error:
        assert str(path) in str(error)  # noqa: PT017
        assert not list(folder.iterdir())
    else:  # a decoder may read over a few wrong bytes (an uncompressed tif does); a cut file must be refused
        assert content == "flipped"


def test_an_image_that_has_gone_is_named(tmp_path: Path) -> None:
    images = photo(tmp_path)
    (tmp_path / "a.png").unlink()
    with pytest.raises(UserError, match=r"a\.png"):
        decoded(images, 24, "bicubic", silent)


def test_a_full_disk_is_a_plain_message_and_leaves_nothing(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(UserError, match=r"the disk is full.*CLIPBENCH_CACHE"):
        decoded(photo(tmp_path), 24, "bicubic", silent)
    assert not list(folder.iterdir())


def test_a_cache_folder_that_cannot_be_made_is_a_plain_message(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file is in the way")
    with pytest.raises(UserError, match="CLIPBENCH_CACHE"):
        decoded(photo(tmp_path), 24, "bicubic", silent)


def _decode(root: str, names: list[str], out: str) -> None:
    np.save(out, decoded(image_set(Path(root), *names), 24, "bicubic", silent))


def test_two_processes_at_once_make_one_whole_file(tmp_path: Path, folder: Path) -> None:
    names = [f"{i}.png" for i in range(60)]
    for i, name in enumerate(names):
        photo(tmp_path, name, seed=i)
    outs = [str(tmp_path / f"out{i}.npy") for i in range(2)]
    workers = [SPAWN.Process(target=_decode, args=(str(tmp_path), names, out)) for out in outs]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [w.exitcode for w in workers] == [0, 0]
    due = decoded(image_set(tmp_path, *names), 24, "bicubic", silent)
    for out in outs:
        np.testing.assert_array_equal(np.load(out), due)
    assert len(list(folder.iterdir())) == 1

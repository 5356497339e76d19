"""Images and masks of odd pixel modes, and what bears the name of an image and is none."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clipbench.data.cache import decoded
from clipbench.data.decode import load_rgb
from clipbench.data.images import Decoding, ImageSet
from clipbench.data.masks import load_mask
from clipbench.errors import UserError


def png(path: Path, values: np.ndarray) -> Path:
    """A PNG of 16 bits in one channel or three, which Pillow cannot write."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    height, width = values.shape[:2]
    lines = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    head = struct.pack(">IIBBBBB", width, height, 16, 2 if values.ndim == 3 else 0, 0, 0, 0)
    chunks = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)
    return path


def tiff(path: Path, values: np.ndarray, **tags: int) -> Path:
    """A TIFF ``[H, W, channels]`` of any numbers in one strip; ``tags`` say what the numbers do not."""
    height, width, channels = values.shape
    kind = {"u": 1, "i": 2, "f": 3}[values.dtype.kind]
    entries = {256: [width], 257: [height], 258: [8 * values.itemsize] * channels, 259: [1]}
    entries |= {262: [tags.get("photometric", 1)], 273: [0], 277: [channels], 278: [height], 279: [values.nbytes]}
    entries |= {339: [kind] * channels}
    after = 8 + 2 + 12 * len(entries) + 4
    places, extra = b"", b""
    entries[273] = [after + sum(2 * len(v) for v in entries.values() if len(v) > 2)]
    for tag, numbers in entries.items():
        wide = tag in (273, 279)
        content = struct.pack(f"<{len(numbers)}{'I' if wide else 'H'}", *numbers)
        if len(content) > 4:
            content, extra = struct.pack("<I", after + len(extra)), extra + content
        places += struct.pack("<HHI", tag, 4 if wide else 3, len(numbers)) + content.ljust(4, b"\0")
    head = b"II*\0" + struct.pack("<IH", 8, len(entries))
    path.write_bytes(head + places + struct.pack("<I", 0) + extra + values.tobytes())
    return path


@pytest.mark.parametrize("most", [65535, 4095, 255])
@pytest.mark.parametrize("kind", ["png", "tif"])
def test_channels_of_sixteen_bits_are_read_where_their_upper_bytes_are_the_image(
    tmp_path: Path, most: int, kind: str
) -> None:
    """Pillow drops the lower byte of each channel: of 12 bits 16 levels would be left."""
    values = np.random.default_rng(0).integers(0, most + 1, (8, 8, 3)).astype(np.uint16)
    values[0, 0] = most
    path = png(tmp_path / "a.png", values) if kind == "png" else tiff(tmp_path / "a.tif", values, photometric=2)
    np.testing.assert_array_equal(np.asarray(load_rgb(path, Decoding(pixel_range="16-bit"))), values >> 8)
    for choice in ("full-scale", "12-bit", "min-max", "unit"):
        if (choice, most) == ("full-scale", 65535):
            np.testing.assert_array_equal(np.asarray(load_rgb(path, Decoding(pixel_range=choice))), values >> 8)
            continue
        with pytest.raises(UserError, match=r"a\.\w+ has several channels of 16 bits.*upper 8.*pixel_range=16-bit"):
            load_rgb(path, Decoding(pixel_range=choice))


@pytest.mark.parametrize(
    ("dtype", "channels", "photometric", "said"),
    [
        ("i1", 1, 1, "signed integers of 8 bits"),
        ("u2", 1, 0, "0 is white"),
        ("f2", 1, 1, "1 channel of 16-bit floating-point numbers"),
        ("f8", 1, 1, "1 channel of 64-bit floating-point numbers"),
        ("u2", 13, 1, "13 channels of 16-bit unsigned integers"),
    ],
)
def test_tiffs_that_pillow_gives_wrongly_or_not_at_all_are_called_what_they_are(
    tmp_path: Path, dtype: str, channels: int, photometric: int, said: str
) -> None:
    values = np.arange(64 * channels).reshape(8, 8, channels).astype(dtype)
    with pytest.raises(UserError, match=f"a.tif .*{said}") as refused:
        load_rgb(tiff(tmp_path / "a.tif", values, photometric=photometric), Decoding(pixel_range="16-bit"))
    assert "damaged" not in str(refused.value)


def test_unsigned_integers_of_32_bits_do_not_wrap(tmp_path: Path) -> None:
    values = np.linspace(0, 2**32 - 1, 64).reshape(8, 8, 1).astype(np.uint32)
    found = load_rgb(tiff(tmp_path / "a.tif", values), Decoding(pixel_range="min-max"))
    due = (values.astype(np.float64) / values.max() * 255).round()
    np.testing.assert_array_equal(np.asarray(found), np.repeat(due, 3, axis=2))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><title>404</title>", "web page"),
        (b"\0\0\0\x18ftypheic", "pillow-heif"),
        (bytes(128) + b"DICM", "DICOM"),
        (b"version https://git-lfs.github.com/spec/v1", "git-lfs pointer"),
        (bytes(400), "nothing but zeros"),
        (b"PK\x03\x04", "zip archive"),
    ],
)
def test_what_bears_the_name_of_an_image_is_called_what_it_is(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(UserError, match=f"a.jpg cannot be read: it is .*{said}"):
        load_rgb(tmp_path / "a.jpg")


def test_the_first_of_several_frames_is_taken_and_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLIPBENCH_CACHE", str(tmp_path / "cache"))
    pages, said = [Image.new("RGB", (8, 8), colour) for colour in ("red", "green")], []
    for name in ("a.tif", "b.gif", "c.jpg"):
        pages[0].save(tmp_path / name, **({} if name == "c.jpg" else {"save_all": True, "append_images": pages[1:]}))
    images = ImageSet("my", tmp_path, ["a.tif", "b.gif", "c.jpg"], [0] * 3, ["a"])
    assert (decoded(images, 8, "bicubic", said.append)[:, 0] > 250).all()
    assert said[-1] == "my: of 2 files with several frames or pages the first is taken: a.tif, b.gif"


@pytest.mark.parametrize(("levels", "said"), [((128, 255), "both above half"), ((0, 1), "several channels of 16 bits")])
def test_masks_whose_foreground_cannot_be_told_are_refused(tmp_path: Path, levels: tuple[int, int], said: str) -> None:
    """Of the first kind all would be foreground, of the second nothing."""
    Image.new("RGB", (8, 8)).save(tmp_path / "image.png")
    drawn = np.where(np.eye(8, dtype=bool), levels[1], levels[0])
    if levels[1] == 255:
        Image.fromarray(drawn.astype(np.uint8)).save(tmp_path / "mask.png")
    else:
        png(tmp_path / "mask.png", np.repeat(drawn[..., None], 3, axis=2))
    with pytest.raises(UserError, match=rf"mask\.png has .*{said}"):
        load_mask([tmp_path / "mask.png"], 8, tmp_path / "image.png")

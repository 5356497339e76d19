"""The cache of decoded images: every image is decoded and resized once, and shared by all seeds, rows and methods."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from clipbench.data.checksum import append_checksum, checksum_fits
from clipbench.data.decode import TRANSFORMS, frames, load_rgb
from clipbench.data.digests import cache_dir, file_digests
from clipbench.data.images import ImageSet, first_few
from clipbench.data.masks import blank_masks, load_mask
from clipbench.data.progress import duration
from clipbench.errors import UserError
from clipbench.files import beside, sweep

__all__ = ["cache_dir", "decoded", "decoded_masks"]

_SECONDS_BETWEEN_LINES = 10.0
_WITH_FRAMES = (".tif", ".tiff", ".gif", ".png", ".webp", ".avif")
"""Suffixes, in lower case, of files that may hold several frames."""


def decoded(
    images: ImageSet,
    size: int,
    interpolation: str,
    tell: Callable[[str], None] = print,
    *,
    transform: str = "resize",
    indices: Sequence[int] | None = None,
) -> np.ndarray:
    """Images in a test view of ``size`` x ``size``, uint8 ``[n, 3, size, size]``, memory-mapped.

    ``transform`` is ``resize`` (aspect not kept) or ``resize-centre-crop``; ``indices`` picks the images and their
    order (all of them by default). The file is keyed by the bytes of the images, by the view, by how files become
    pixels, and by Pillow's version; it ends with its own checksum, and is made again where that does not fit. Raises
    ``UserError`` that names an unreadable image, or the full disk.
    """
    view = TRANSFORMS[transform]
    files = images.files if indices is None else [images.files[i] for i in indices]
    several: list[str] = []

    def one(index: int) -> np.ndarray:
        if files[index].lower().endswith(_WITH_FRAMES) and frames(images.root / files[index]) > 1:
            several.append(files[index])
        pixels = np.asarray(view(load_rgb(images.root / files[index], images.decoding), size, interpolation))
        return pixels.transpose(2, 0, 1)

    path = _path(images, f"{interpolation} {transform}", size, [[file] for file in files])
    found = _cached(path, (len(files), 3, size, size), one, f"the {len(files):,} images of {images.root}", tell)
    if several:
        tell(
            f"{images.dataset}: of {len(several):,} files with several frames or pages the first is taken: "
            f"{first_few(sorted(several))}"
        )
    return found


def decoded_masks(
    images: ImageSet, size: int, indices: Sequence[int] | None = None, tell: Callable[[str], None] = print
) -> np.ndarray:
    """The masks of the images (all, or ``indices``), uint8 ``[n, size, size]`` of zeros and ones, memory-mapped.

    Several masks of one image are joined; see :func:`clipbench.data.masks.load_mask`. Raises ``UserError`` as
    :func:`decoded` does, for a mask that does not fit its image, and for a data set without masks.
    """
    if not images.masks:
        raise UserError(f"{images.dataset} in {images.root} has no masks; it is no segmentation set.")
    pairs = list(zip(images.files, images.masks, strict=True))
    pairs = pairs if indices is None else [pairs[i] for i in indices]

    def one(index: int) -> np.ndarray:
        image, masks = pairs[index]
        return load_mask([images.root / name for name in masks], size, images.root / image, images.decoding.exif)

    # The image says which way up its masks lie.
    path = _path(images, "masks of images", size, [(image, *masks) for image, masks in pairs])
    what = f"the masks of {len(pairs):,} images of {images.root}"
    found = _cached(path, (len(pairs), size, size), one, what, tell)
    if warning := blank_masks(found.reshape(len(pairs), -1).mean(axis=1)):
        tell(f"{images.dataset}: {warning}")
    return found


def _cached(
    path: Path, shape: tuple[int, ...], one: Callable[[int], np.ndarray], what: str, tell: Callable[[str], None]
) -> np.ndarray:
    """The array in ``path``, made of ``one`` row after the other where it is not there whole."""
    sweep(path.parent)
    pixels = _read(path, shape)
    if pixels is None:
        damaged = path.exists()
        tell(f"decoding {what} {'again: their cache is damaged' if damaged else 'once, for all runs'}")
        size = f"The decoded images need {int(np.prod(shape)) / 1e9:.1f} GB."
        with beside(path, f"{size} Make room there, or name another folder with CLIPBENCH_CACHE.") as partial:
            _write(partial, shape, one, tell)
        pixels = _open(path)
    return pixels


def _read(path: Path, shape: tuple[int, ...]) -> np.ndarray | None:
    """The array of a cache file that is whole; None for one that is absent, cut, damaged or of another shape."""
    if not path.is_file():  # a pipe would be waited for
        return None
    try:
        pixels = _open(path)
        of_form = pixels.dtype == np.uint8 and pixels.shape == shape
        return pixels if of_form and checksum_fits(path) else None
    except Exception:  # numpy raises whatever a damaged header leads its tokeniser to
        return None


def _open(path: Path) -> np.ndarray:
    # Copy-on-write: the file stays as it is, and PyTorch gets memory that it may call writable.
    pixels: np.ndarray = np.load(path, mmap_mode="c", allow_pickle=False)
    return pixels


def _write(path: Path, shape: tuple[int, ...], one: Callable[[int], np.ndarray], tell: Callable[[str], None]) -> None:
    out = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    _allocate(path)

    def fill(index: int) -> None:
        out[index] = one(index)

    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        _watched(pool.map(fill, range(shape[0])), shape[0], tell)
    out.flush()
    append_checksum(path)


def _watched(work: Iterable[None], total: int, tell: Callable[[str], None]) -> None:
    """Wait for the work, and say now and then how much of it is done and how long the rest will take."""
    began = said = time.monotonic()
    for done, _ in enumerate(work, start=1):
        now = time.monotonic()
        if now - said > _SECONDS_BETWEEN_LINES:
            said = now
            tell(f"decoded {100 * done / total:.0f}%, {duration((now - began) * (total - done) / done)} left")


def _allocate(path: Path) -> None:
    """Claim the disk space now: writing into a mapped hole on a full disk would kill the process."""
    size = path.stat().st_size
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, size)
    elif shutil.disk_usage(path.parent).free < size:
        raise OSError(errno.ENOSPC, "No space left on device")


def _path(images: ImageSet, view: str, size: int, groups: Sequence[Sequence[str]]) -> Path:
    """The cache file of a view of groups of files: an image, or an image and its masks."""
    from PIL import __version__ as pillow

    names = [name for group in groups for name in group]
    digests = dict(zip(names, file_digests(images.root, names), strict=True))
    lines = [" ".join(digests[name] for name in group) for group in groups]
    head = f"{view} {size} {images.decoding.exif} {images.decoding.pixel_range} pillow {pillow}"
    digest = hashlib.sha256("\n".join([head, *lines]).encode()).hexdigest()
    return cache_dir() / "images" / f"{images.dataset.partition('@')[0]}-{size}-{digest[:16]}.npy"

"""The cache of decoded images: every image is decoded and resized once, and shared by all seeds, rows and methods."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from clipbench.data.images import ImageSet
from clipbench.errors import UserError

_FILTERS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}


def cache_dir() -> Path:
    """``$CLIPBENCH_CACHE``, else the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("CLIPBENCH_CACHE") or Path(base) / "clipbench")


def decoded(images: ImageSet, size: int, interpolation: str, tell: Callable[[str], None] = print) -> np.ndarray:
    """All images resized to ``size`` x ``size`` (aspect not kept), uint8 ``[N, 3, size, size]``, memory-mapped.

    The file is keyed by paths, sizes and dates of the images, by the resize, and by Pillow's version, written beside
    and renamed into place. Raises ``UserError`` that names an unreadable image, or the full disk.
    """
    path = cache_dir() / "images" / f"{_key(images, size, interpolation)}.npy"
    if not path.exists():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            tell(f"decoding the {len(images):,} images of {images.root} once, for all runs")
            _write(path, images, size, interpolation)
        except OSError as error:
            raise UserError(_no_room(error, path, len(images) * 3 * size * size)) from error
    # Copy-on-write: the file stays as it is, and PyTorch gets memory that it may call writable.
    pixels: np.ndarray = np.load(path, mmap_mode="c")
    return pixels


def load_rgb(path: Path) -> Image.Image:
    """One image as upright RGB, whatever its mode. Raises ``UserError`` that names a file which cannot be read."""
    try:
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(image)
            if upright.mode.startswith("I"):
                upright = Image.fromarray((np.asarray(upright, dtype=np.float64) / 257).round().astype(np.uint8))
            return upright.convert("RGB")
    except FileNotFoundError:
        raise UserError(_gone(path)) from None
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError) as error:
        raise UserError(f"the image {path} cannot be read ({error}). Replace it from the original archive.") from error


def _write(path: Path, images: ImageSet, size: int, interpolation: str) -> None:
    partial = path.with_name(f".{path.stem}-{uuid.uuid4().hex}.npy")
    try:
        out = np.lib.format.open_memmap(partial, mode="w+", dtype=np.uint8, shape=(len(images), 3, size, size))
        _allocate(partial)

        def one(index: int) -> None:
            image = load_rgb(images.root / images.files[index]).resize((size, size), _FILTERS[interpolation])
            out[index] = np.asarray(image).transpose(2, 0, 1)

        with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
            for _ in pool.map(one, range(len(images))):
                pass
        out.flush()
        partial.rename(path)
    finally:
        partial.unlink(missing_ok=True)


def _allocate(path: Path) -> None:
    """Claim the disk space now: writing into a mapped hole on a full disk would kill the process."""
    size = path.stat().st_size
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, size)
    elif shutil.disk_usage(path.parent).free < size:
        raise OSError(errno.ENOSPC, "No space left on device")


def _key(images: ImageSet, size: int, interpolation: str) -> str:
    from PIL import __version__ as pillow

    digest = hashlib.sha256(f"{images.root.resolve()} {size} {interpolation} pillow {pillow}".encode())
    for name in images.files:
        try:
            stat = (images.root / name).stat()
        except FileNotFoundError:
            raise UserError(_gone(images.root / name)) from None
        digest.update(f"{name} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    return f"{images.dataset}-{size}-{digest.hexdigest()[:16]}"


def _gone(path: Path) -> str:
    return f"the image {path} has gone since the folder was read; run the command again."


def _no_room(error: OSError, path: Path, size: int) -> str:
    if error.errno == errno.ENOSPC:
        what = f"the disk is full: the decoded images need {size / 1e9:.1f} GB"
    else:
        what = f"the decoded images cannot be written ({error.strerror})"
    return f"{what} in {path.parent}. Make room there, or name another folder with CLIPBENCH_CACHE."

"""One image file into pixels: upright RGB, resized or cropped; and the masks of one image into one mask."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from clipbench.errors import UserError

FILTERS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}


def load_rgb(path: Path) -> Image.Image:
    """One image as upright RGB, whatever its mode. Raises ``UserError`` that names a file which cannot be read."""
    return _read(path, lambda image: _eight_bits(ImageOps.exif_transpose(image)).convert("RGB"))


def load_mask(paths: Iterable[Path], size: int) -> np.ndarray:
    """The masks of one image joined, uint8 ``[size, size]`` of zeros and ones; all zeros where there is none.

    Each is cut at half of its full scale before it is resized (nearest): JPEG masks have values between the two.
    Raises ``UserError`` that names a file which cannot be read, or masks of different sizes.
    """
    joined: np.ndarray | None = None
    for path in paths:
        mask = np.asarray(_read(path, lambda image: _eight_bits(image).convert("L"))) > 127
        if joined is not None and joined.shape != mask.shape:
            raise UserError(f"the mask {path} is {mask.shape[1]} x {mask.shape[0]}, another of the same image is not.")
        joined = mask if joined is None else joined | mask
    if joined is None:
        return np.zeros((size, size), dtype=np.uint8)
    resized = Image.fromarray(joined.astype(np.uint8)).resize((size, size), Image.Resampling.NEAREST)
    return np.asarray(resized)


def resized(image: Image.Image, size: int, interpolation: str) -> Image.Image:
    """Both sides brought to ``size``; the aspect is not kept."""
    return image.resize((size, size), FILTERS[interpolation])


def resized_and_cropped(image: Image.Image, size: int, interpolation: str) -> Image.Image:
    """The shorter side brought to ``size``, the centre cut out, by torchvision's own functions: CLIP's test view."""
    from torchvision.transforms import functional

    modes = {"bicubic": functional.InterpolationMode.BICUBIC, "bilinear": functional.InterpolationMode.BILINEAR}
    shorter = functional.resize(image, [size], interpolation=modes[interpolation])
    cropped: Image.Image = functional.center_crop(shorter, [size, size])
    return cropped


TRANSFORMS: Mapping[str, Callable[[Image.Image, int, str], Image.Image]] = {
    "resize": resized,
    "resize-centre-crop": resized_and_cropped,
}


def gone(path: Path) -> str:
    """What is said of a file that was there when the folder was read."""
    return f"the image {path} has gone since the folder was read; run the command again."


def _read(path: Path, convert: Callable[[Image.Image], Image.Image]) -> Image.Image:
    try:
        with Image.open(path) as image:
            return convert(image)
    except FileNotFoundError:
        raise UserError(gone(path)) from None
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError) as error:
        raise UserError(f"the image {path} cannot be read ({error}). Replace it from the original archive.") from error


def _eight_bits(image: Image.Image) -> Image.Image:
    """Sixteen bits per pixel brought to eight; any other image as it is."""
    if not image.mode.startswith("I"):
        return image
    return Image.fromarray((np.asarray(image, dtype=np.float64) / 257).round().astype(np.uint8))

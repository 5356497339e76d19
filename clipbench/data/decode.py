"""One image file into pixels: upright RGB, resized or cropped."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from clipbench.errors import UserError

Result = TypeVar("Result")
FILTERS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}


def load_rgb(path: Path) -> Image.Image:
    """One image as upright RGB, whatever its mode. Raises ``UserError`` that names a file which cannot be read."""
    return read(path, lambda image: _eight_bits(ImageOps.exif_transpose(image)).convert("RGB"))


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


def read(path: Path, use: Callable[[Image.Image], Result]) -> Result:
    """What ``use`` makes of the opened file. Raises ``UserError`` that names a file which cannot be read."""
    try:
        with Image.open(path) as image:
            return use(image)
    except FileNotFoundError:
        raise UserError(gone(path)) from None
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError) as error:
        raise UserError(f"the image {path} cannot be read ({error}). Replace it from the original archive.") from error


def _eight_bits(image: Image.Image) -> Image.Image:
    """Sixteen bits per pixel brought to eight; any other image as it is."""
    if not image.mode.startswith("I"):
        return image
    return Image.fromarray((np.asarray(image, dtype=np.float64) / 257).round().astype(np.uint8))

"""One image file into pixels: the gate for file formats and pixel modes, EXIF rotation, RGB, resized or cropped."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from clipbench.data.first_bytes import what_it_is
from clipbench.data.images import Decoding
from clipbench.errors import UserError

Result = TypeVar("Result")
FILTERS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
_FORMATS = ("JPEG", "MPO", "PNG", "TIFF", "BMP", "GIF", "WEBP", "PPM", "AVIF", "HEIF")
"""What image sets consist of. Pillow opens far more, and starts Ghostscript for PostScript under any name."""
MAX_PIXELS = 178_956_970
"""Width times height that is decoded without being asked for: twice Pillow's limit for warnings, 537 MB as RGB."""
_LIMIT = "CLIPBENCH_MAX_PIXELS"
_TWELVE_BITS, _SIXTEEN_BITS = 4095, 65535
_PHOTOMETRIC, _SAMPLE_FORMAT = 262, 339
"""Numbers of TIFF tags."""
_WHITE_IS_ZERO, _SIGNED = 0, 2
"""Values of these tags."""


UPRIGHT = Decoding(exif="rotate")
Image.MAX_IMAGE_PIXELS = None  # the limit below is the one that counts, and its message says what to do


def load_rgb(path: Path, decoding: Decoding = UPRIGHT) -> Image.Image:
    """One image as RGB. Raises ``UserError`` that names a file which cannot be read, or whose pixels have no rule."""

    def decoded(image: Image.Image) -> Image.Image:
        upper, unsigned = upper_bytes_only(image), _is_unsigned(image)  # Pillow forgets both when it turns the image
        turned = ImageOps.exif_transpose(image) if decoding.exif == "rotate" else image
        if upper:
            _check_upper_bytes(path, turned, decoding.pixel_range)
        return _eight_bits(path, turned, decoding.pixel_range, unsigned=unsigned).convert("RGB")

    return read(path, decoded)


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
    """What ``use`` makes of the opened file.

    Raises ``UserError`` that names a file which cannot be read, is of no format that image sets have, has more pixels
    than the limit, or values that Pillow would change.
    """
    limit = pixel_limit()
    try:
        with Image.open(path, formats=_formats()) as image:
            if image.width * image.height > limit:
                raise UserError(_too_large(path, image.size, limit))
            _check_values(path, image)
            return use(image)
    except FileNotFoundError:
        raise UserError(gone(path)) from None
    except UnidentifiedImageError as error:
        found = what_it_is(path) or (
            f"damaged, or of another format than those that are opened ({', '.join(_formats())}). Replace it, or "
            f"convert it to PNG"
        )
        raise UserError(f"the image {path} cannot be read: it is {found}.") from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise UserError(
            f"the image {path} cannot be read ({str(error).rstrip('.')}). It is damaged, or of a kind that Pillow does "
            f"not know: replace it, or save it anew as PNG."
        ) from error


def frames(path: Path) -> int:
    """How many frames an animation has, or pages a TIFF; 1 for photographs, whose further frames are previews."""
    return read(path, lambda image: 1 if image.format in ("JPEG", "MPO") else int(getattr(image, "n_frames", 1)))


def upper_bytes_only(image: Image.Image) -> bool:
    """Whether it has several channels of 16 bits, of which Pillow reads the upper 8. Asked before it is decoded."""
    several = image.mode[0] not in "IF" and image.format in ("PNG", "TIFF")
    return several and any(";16" in str(tile[3]) for tile in getattr(image, "tile", ()))


def pixel_limit() -> int:
    """Width times height of the largest image that is decoded: ``$CLIPBENCH_MAX_PIXELS``, else :data:`MAX_PIXELS`."""
    text = os.environ.get(_LIMIT, "")
    if text and not (text.isascii() and text.isdecimal() and int(text)):
        raise UserError(f"{_LIMIT} = {text!r} should be a number of pixels, such as 400000000.")
    return int(text) if text else MAX_PIXELS


@cache
def _formats() -> tuple[str, ...]:
    """Those of the formats that are installed; HEIF is where pillow-heif is."""
    if find_spec("pillow_heif"):
        import_module("pillow_heif").register_heif_opener()
    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


def _too_large(path: Path, size: tuple[int, int], limit: int) -> str:
    return (
        f"the image {path} has {size[0]:,} x {size[1]:,} pixels, more than the limit of {limit:,}, which is there "
        f"because a file of a few bytes may claim any size. If it is sound, make it smaller, or raise the limit: "
        f"{_LIMIT}={size[0] * size[1]}"
    )


def _check_values(path: Path, image: Image.Image) -> None:
    """Refuse a TIFF whose values Pillow gives as others than are stored."""
    tags, single = getattr(image, "tag_v2", {}), image.mode[0] in "IF"
    wrong = ""
    if single and tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        wrong = "more than 8 bits, of which 0 is white; Pillow takes it for black"
    elif not single and _SIGNED in _sample_format(image):
        wrong = "signed integers of 8 bits; Pillow takes negative ones for large ones"
    if wrong:
        raise UserError(f"the image {path} has {wrong}. Save it with unsigned 8 bits, 0 for black.")


def _sample_format(image: Image.Image) -> tuple[int, ...]:
    """Of a TIFF, for each channel: 1 for unsigned integers, 2 for signed ones, 3 for floats; else empty."""
    return tuple(getattr(image, "tag_v2", {}).get(_SAMPLE_FORMAT, (1,))) if image.format == "TIFF" else ()


def _is_unsigned(image: Image.Image) -> bool:
    """Whether an image of 32-bit integers is one of unsigned ones, which Pillow gives as signed ones."""
    return image.mode == "I" and _sample_format(image) == (1,)


def _check_upper_bytes(path: Path, image: Image.Image, pixel_range: str) -> None:
    """Refuse several channels of 16 bits where their upper 8 are not the image."""
    brightest = int(np.asarray(image.convert("RGB")).max())
    if pixel_range == "16-bit" or (pixel_range == "full-scale" and brightest > _TWELVE_BITS >> 8):
        return
    raise UserError(
        f"the image {path} has several channels of 16 bits, of which Pillow reads the upper 8, and these go to "
        f"{brightest} of 255; pixel_range {pixel_range!r} does not fit that. If white is 65,535, say so for the whole "
        f"data set, --set pixel_range=16-bit; else save the images with 8 bits."
    )


def _eight_bits(path: Path, image: Image.Image, pixel_range: str, *, unsigned: bool) -> Image.Image:
    """An image of 8 bits as it is; any other scaled by the named rule, or refused with its mode and range."""
    if image.mode[0] not in "IF":
        return image
    values = np.asarray(image)
    values = values.view(np.uint32) if unsigned else values
    least, largest = _range(values)
    high = largest if pixel_range == "min-max" else _white(image.mode, least, largest, pixel_range)
    if high is None:
        raise UserError(_no_rule(path, image.mode, (least, largest), pixel_range))
    low = least if pixel_range == "min-max" else 0.0
    scaled = (np.nan_to_num(values.astype(np.float64), nan=low).clip(low, high) - low) / max(high - low, 1e-12)
    return Image.fromarray((scaled * 255).round().astype(np.uint8))


def _white(mode: str, least: float, largest: float, pixel_range: str) -> float | None:
    """The value that becomes 255; None where the rule does not fit these values."""
    if mode == "F":
        return 1.0 if pixel_range == "unit" and largest <= 1.0 else None
    if least < 0 or pixel_range == "unit":
        return None
    if pixel_range == "12-bit":
        return float(_TWELVE_BITS) if largest <= _TWELVE_BITS else None
    # Values of 12 bits or fewer in a file of 16 would leave a few grey levels: their scale is to be named.
    fits = largest <= _SIXTEEN_BITS and (pixel_range == "16-bit" or largest > _TWELVE_BITS or largest == 0)
    return float(_SIXTEEN_BITS) if fits else None


def _range(values: np.ndarray) -> tuple[float, float]:
    finite = values[np.isfinite(values)]
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)


def _no_rule(path: Path, mode: str, found: tuple[float, float], pixel_range: str) -> str:
    kind = {"F": "floating-point numbers", "I": "32-bit integers"}.get(mode, "16-bit integers")
    return (
        f"the image {path} holds {kind} (mode {mode}) from {found[0]:g} to {found[1]:g}, and pixel_range "
        f"{pixel_range!r} does not say what of that is black and white. Name the scale of the whole data set: --set "
        f"pixel_range=12-bit (0 to 4,095), 16-bit (0 to 65,535), unit (floats of 0 to 1; below is black) or min-max "
        f"(each image by its own least and largest value); or save the images with 8 bits."
    )

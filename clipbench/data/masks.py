"""The masks of one image made into one: which pixels are foreground, the same way up as the image."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps

from clipbench.data.decode import read, upper_bytes_only
from clipbench.errors import UserError

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What brings an image with that EXIF orientation upright, as ``ImageOps.exif_transpose`` does it."""
_ON_THEIR_SIDE = (5, 6, 7, 8)
_MOST_BLANK = 0.9
"""Share of blank masks from which on something is wrong with all of them; of BUSI 17 % are empty, rightly."""
_BLACK = {"JPEG": 8}
"""The highest level of a picture that is black throughout: rounding in a coarse JPEG lifts it above 0."""
_LOSSY = ("JPEG", "MPO", "WEBP", "AVIF", "HEIF")
"""Formats in which a picture of one level may have several neighbouring ones."""


@dataclass(frozen=True)
class Frame:
    """How an image lies: its size (width, height) upright and as stored, and the turn from the one to the other."""

    path: Path
    upright: tuple[int, int]
    stored: tuple[int, int]
    turn: Image.Transpose | None


def load_mask(paths: Iterable[Path], size: int, image: Path, exif: str = "rotate") -> np.ndarray:
    """The masks of ``image`` joined, uint8 ``[size, size]`` of zeros and ones; all zeros where there is none.

    They are joined as they are and then resized (nearest). Raises ``UserError`` as :func:`foreground` does.
    """
    lies = frame(image, exif)
    joined = np.zeros(lies.upright[::-1], dtype=bool)
    for path in paths:
        joined |= foreground(path, lies)
    resized = Image.fromarray(joined.astype(np.uint8)).resize((size, size), Image.Resampling.NEAREST)
    return np.asarray(resized)


def frame(path: Path, exif: str = "rotate") -> Frame:
    """How the image lies, by the protocol's ``exif``. Raises ``UserError`` that names a file which cannot be read."""
    return read(path, lambda image: _frame(path, image, exif))


def foreground(path: Path, lies: Frame) -> np.ndarray:
    """One mask as bool ``[height, width]`` of its upright image.

    A pixel above half of full scale is foreground: JPEG masks have values between the two. In a mask without any such
    pixel, the higher of two levels is (0 and 1, or a palette's black and dark red). Raises ``UserError`` that names a
    file which cannot be read, that has another size than its image, two levels above half of full scale and none below,
    or more than two levels, none above it: what is foreground in a picture of several classes is not for us to say.
    """

    def drawn(mask: Image.Image) -> np.ndarray:
        upper, lossy = upper_bytes_only(mask), mask.format in _LOSSY
        bright = _bright(path, _turned(path, mask, lies), _BLACK.get(mask.format or "", 0), lossy=lossy)
        if upper and not bright.any():
            raise UserError(
                f"the mask {path} has several channels of 16 bits, of which Pillow reads the upper 8, and no pixel is "
                f"bright in those. Save it with one channel and two levels, 0 for the background and 255."
            )
        return bright

    return read(path, drawn)


def _frame(path: Path, image: Image.Image, exif: str) -> Frame:
    # The tag is read first: Pillow turns a TIFF when it loads it, whatever anybody asks, and forgets the tag.
    tag = image.getexif().get(ExifTags.Base.Orientation)
    if tag not in _TURNS or (exif == "ignore" and image.format != "TIFF"):
        return Frame(path, image.size, image.size, None)
    width, height = ImageOps.exif_transpose(image).size
    stored = (height, width) if tag in _ON_THEIR_SIDE else (width, height)
    return Frame(path, (width, height), stored, _TURNS[tag])


def _turned(path: Path, mask: Image.Image, lies: Frame) -> Image.Image:
    """The mask the same way up as its image.

    A mask's own orientation tag counts where it leads to the image's size. Masks are drawn on the pixels as stored and
    have no tag as a rule: one that is as large as the stored image is turned as the image is.
    """
    tagged = ExifTags.Base.Orientation in mask.getexif()
    upright = ImageOps.exif_transpose(mask)
    if tagged and upright.size == lies.upright:
        return upright
    if lies.turn is not None and mask.size == lies.stored:
        return mask.transpose(lies.turn)
    if upright.size == lies.upright:
        return upright
    raise UserError(
        f"the mask {path} is {_pixels(upright.size)} pixels, its image {lies.path} upright {_pixels(lies.upright)}: "
        f"the one cannot lie on the other. Replace the wrong one from the original archive, or take the image out of "
        f"the data set's lists; clipbench data verify tells all such pairs."
    )


def _bright(path: Path, mask: Image.Image, black: int, *, lossy: bool) -> np.ndarray:
    if mask.mode == "F":
        raise UserError(
            f"the mask {path} holds floating-point numbers (mode F). Save it with two levels, 0 for the background and "
            f"255."
        )
    deep = mask.mode.startswith("I")
    values = np.asarray(mask) if deep else _levels(path, mask)
    bright: np.ndarray = values > (32767 if deep else 127)
    if bright.all() and not lossy and len(found := np.unique(values)) == 2:
        raise UserError(
            f"the mask {path} has the two levels {found[0]} and {found[1]}, both above half of full scale: it cannot "
            f"be told whether the lower one is background. Save it with 0 for the background and 255."
        )
    if bright.any():
        return bright
    if mask.mode == "P" and not values.any():
        values = np.asarray(mask)  # labels under a palette that is black throughout
    levels = np.unique(values)
    if len(levels) > 2:
        raise UserError(
            f"the mask {path} has {len(levels)} levels, the highest {levels[-1]}, none above half of full scale: it "
            f"cannot be told which of them are foreground. Save it with two levels, 0 for the background and 255."
        )
    higher: np.ndarray = values > black if len(levels) == 1 else values > levels[0]
    return higher


def _levels(path: Path, mask: Image.Image) -> np.ndarray:
    """Grey levels of a mask of 8 bits, or its alpha channel where that is the only one that varies."""
    grey = np.asarray(mask.convert("L"))
    if not mask.has_transparency_data:
        return grey
    alpha = np.asarray(mask.convert("RGBA").getchannel("A"))
    if alpha.min() == alpha.max():
        return grey
    if grey.min() == grey.max():
        return alpha
    if ((grey > 127) & (alpha <= 127)).any():
        raise UserError(
            f"the mask {path} has bright pixels that its alpha channel makes transparent: it cannot be told whether "
            f"they are foreground. Save it with two levels and without an alpha channel."
        )
    return grey


def _pixels(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"


def blank_masks(shares: np.ndarray) -> str:
    """A sentence on masks that are nearly all empty or nearly all full; empty where they are not.

    ``shares`` ``[n]`` holds the share of foreground of each image.
    """
    blank = int(((shares == 0) | (shares == 1)).sum())
    if not len(shares) or blank < _MOST_BLANK * len(shares):
        return ""
    full = int((shares == 1).sum())
    return (
        f"{blank:,} of {len(shares):,} masks are blank ({full:,} all foreground, {blank - full:,} all background). A "
        f"score on them says nothing; look how the masks were exported."
    )

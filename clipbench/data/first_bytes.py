"""What a file is that bears the name of an image and is none that Pillow opens, by its first bytes."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from PIL.TiffImagePlugin import ImageFileDirectory_v2

_AT: tuple[tuple[int, bytes, str], ...] = (
    (4, b"ftyphe", "a HEIC photograph: pip install pillow-heif"),
    (4, b"ftypmif1", "a HEIF photograph: pip install pillow-heif"),
    (4, b"ftypavif", "an AVIF image, which this Pillow was built without. Convert it to PNG"),
    (0, b"\x00\x00\x00\x0cjP  ", "a JPEG 2000 image. Convert it to PNG"),
    (0, b"\x00\x00\x00\x0cJXL ", "a JPEG XL image. Convert it to PNG"),
    (0, b"\xff\x0a", "a JPEG XL image. Convert it to PNG"),
    (0, b"8BPS", "a Photoshop document. Save it as PNG"),
    (0, b"v/1\x01", "an OpenEXR image. Save it as PNG with the range of values that you mean"),
    (0, b"#?RADIANCE", "a Radiance HDR image. Save it as PNG with the range of values that you mean"),
    (0, b"SIMPLE  =", "a FITS image. Save it as PNG with the range of values that you mean"),
    (128, b"DICM", "a DICOM file. Save it as PNG with the window of values that you mean"),
    (0, b"\x93NUMPY", "a NumPy array. Save it as PNG"),
    (0, b"\x89HDF", "an HDF5 file. Take the images out of it"),
    (0, b"\x00\x00\x01\x00", "a Windows icon. Convert it to PNG"),
    (0, b"%PDF", "a PDF document. Convert it to PNG"),
    (0, b"PK\x03\x04", "a zip archive. Unpack it"),
    (0, b"\x1f\x8b", "compressed with gzip. Unpack it"),
    (0, b"version https://git-lfs", "a git-lfs pointer, not the image. Fetch the images with git lfs pull"),
)
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_PAGES = (b"<!doctype", b"<html", b"<?xml", b"<svg")
_BITS, _CHANNELS, _SAMPLE_FORMAT = 258, 277, 339
_NUMBERS = {1: "unsigned integers", 2: "signed integers", 3: "floating-point numbers"}
_HEAD = 256


def what_it_is(path: Path) -> str:
    """What the file is and what helps, behind ``it is``; empty where its first bytes do not tell."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError:
        return ""
    if not head:
        return "empty (0 bytes). Replace it"
    if not head.strip(b"\0") and len(head) == _HEAD:
        return "nothing but zeros at its beginning, as a copy leaves that broke off. Replace it"
    if head.startswith(_TIFF):
        return f"a TIFF of a kind that Pillow does not read{_kind_of_tiff(path)}. Save it as PNG, in 8 bits per channel"
    if head.lstrip(b"\xef\xbb\xbf \r\n\t").lower().startswith(_PAGES):
        return "a web page or a drawing in text (HTML, SVG), no image of pixels. Replace it"
    return next((what for at, start, what in _AT if head[at:].startswith(start)), "")


def _kind_of_tiff(path: Path) -> str:
    """with 13 channels of 16-bit unsigned integers; empty where its tags cannot be read."""
    with suppress(Exception), path.open("rb") as file:
        head = file.read(8)
        tags = ImageFileDirectory_v2(head + (file.read(8) if head[2] in b"+" or head[3] in b"+" else b""))
        file.seek(tags.next)
        tags.load(file)
        channels, numbers = tags.get(_CHANNELS, 1), _NUMBERS.get(tags.get(_SAMPLE_FORMAT, (1,))[0], "other numbers")
        return f" ({channels} channel{'s' * (channels != 1)} of {tags.get(_BITS, (1,))[0]}-bit {numbers})"
    return ""

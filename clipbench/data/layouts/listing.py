"""Names in folders: images without the strangers between them, whatever the case of an extension."""

from __future__ import annotations

import codecs
import os
import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from clipbench.errors import UserError

_ALWAYS = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".tif", ".tiff", ".bmp", ".webp", ".gif", ".ppm", ".pgm", ".pbm")
_WITH_AVIF, _WITH_HEIF = (".avif",), (".heic", ".heif")
_NEVER = (".jp2", ".jxl", ".psd", ".eps", ".ps", ".svg", ".ico", ".tga", ".dng", ".cr2", ".nef", ".arw", ".exr", ".hdr")
"""Pictures of other kinds, which are named where they lie between the images of a user."""
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_NO_CLASSES = ("@eaDir", "#recycle", "lost+found", "$RECYCLE.BIN", "System Volume Information")
"""Folders that file servers and operating systems put beside a user's."""


@cache
def suffixes() -> tuple[str, ...]:
    """Suffixes of the images that this Pillow opens, in lower case."""
    from PIL import features

    avif = _WITH_AVIF if features.check("avif") else ()
    return (*_ALWAYS, *avif, *(_WITH_HEIF if find_spec("pillow_heif") else ()))


def images_in(folder: Path) -> list[str]:
    """The image files of one folder in natural order; hidden files, ``Thumbs.db`` and the like are passed over."""
    return sorted(image_names(folder), key=natural)


def image_names(folder: Path) -> list[str]:
    """The image files of one folder, in no order."""
    names = (entry.name for entry in os.scandir(folder) if not entry.name.startswith(".") and entry.is_file())
    return [name for name in names if suffix(name) in suffixes()]


def hidden_with_images(folder: Path) -> list[str]:
    """Folders in one folder that are passed over by their names (``.net``, ``__background__``) and hold images."""
    hidden = (e.name for e in os.scandir(folder) if e.is_dir() and e.name.startswith((".", "__")))
    return sorted(name for name in hidden if image_names(folder / name))


def unreadable_images(folder: Path) -> list[str]:
    """Files of one folder that are images by their name and cannot be opened here, and links to nothing."""
    known = (*_ALWAYS, *_WITH_AVIF, *_WITH_HEIF)
    files = [entry for entry in os.scandir(folder) if not entry.name.startswith(".") and not entry.is_dir()]
    kinds = [entry.name for entry in files if suffix(entry.name) in {*known, *_NEVER} - {*suffixes()}]
    dangling = [entry.name for entry in files if suffix(entry.name) in suffixes() and not entry.is_file()]
    return sorted(kinds) + sorted(dangling)


def suffix(name: str) -> str:
    """``.jpg`` of ``a.JPG``."""
    return name[name.rfind(".") :].lower() if "." in name else ""


def folders_in(folder: Path) -> list[str]:
    """The folders in one folder, sorted by name; hidden ones and archive debris are passed over."""
    names = (entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith((".", "__")))
    return sorted(name for name in names if name not in _NO_CLASSES)


def text_of(path: Path) -> str:
    """The text of a list, without the byte order mark that Windows programs put first; Excel's UTF-16 too.

    Raises ``UserError`` for a file that is no UTF-8 text, or cannot be read.
    """
    try:
        content = path.read_bytes()
        text = content.decode("utf-16" if content.startswith(_UTF16) else "utf-8-sig")
        return text.replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is no UTF-8 text file ({error}). Save it as UTF-8, or download it again.") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from error


def lines_of(path: Path) -> list[str]:
    """The lines of a list, stripped; empty ones stay, so that numbers are right. Raises ``UserError`` if no text."""
    return [line.strip() for line in text_of(path).splitlines()]


def natural(name: str) -> tuple[list[int], str]:
    """beach_2 before beach_10, on every file system."""
    return [int(digits) for digits in re.findall(r"\d+", name)], name


def key(name: str) -> str:
    """``Dense Residential`` and ``denseresidential`` are one name, as are ``real_world`` and ``Real World``."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def same_names(some: Iterable[str], others: Iterable[str]) -> bool:
    """Whether both are the same names, none missing and none besides, in whatever order and spelling."""
    return {key(name) for name in some} == {key(name) for name in others}


class Listing:
    """Looks up listed files below a root. Each folder is read once: a hundred thousand look-ups stay quick.

    Names match whatever their case and Unicode form (macOS writes an accent as a sign of its own), exact ones first.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._names: dict[str, dict[str, str]] = {}
        self._folders: dict[str, str | None] = {"": ""}

    def find(self, path: str) -> str | None:
        """The path as it is spelled on disk (``a.jpg`` may be ``a.JPG``), or None where it is not there."""
        folder, _, name = path.rpartition("/")
        if folder not in self._folders:
            self._folders[folder] = folder if (self._root / folder).is_dir() else self._spelled(folder)
        inside = self._folders[folder]
        if inside is None:
            return None
        if inside not in self._names:
            self._names[inside] = _by_name(self._root / inside, folders=False)
        actual = self._names[inside].get(name) or self._names[inside].get(_folded(name))
        return None if actual is None else f"{inside}/{actual}" if inside else actual

    def _spelled(self, folder: str) -> str | None:
        """The path of a folder as it is spelled on disk."""
        above, _, name = folder.rpartition("/")
        if above not in self._folders:
            self._folders[above] = above if (self._root / above).is_dir() else self._spelled(above)
        inside = self._folders[above]
        actual = None if inside is None else _by_name(self._root / inside, folders=True).get(_folded(name))
        return None if actual is None else f"{inside}/{actual}" if inside else actual


def _by_name(folder: Path, *, folders: bool) -> dict[str, str]:
    """The names of the files, or folders, in a folder by themselves and in one spelling."""
    if not folder.is_dir():
        return {}
    names = [entry.name for entry in os.scandir(folder) if (entry.is_dir() if folders else entry.is_file())]
    return {_folded(name): name for name in names} | {name: name for name in names}


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).lower()


def first_file(folders: Iterable[Path], names: Sequence[str]) -> Path | None:
    """The first of those files that is in one of those folders, folder by folder."""
    return next((folder / name for folder in folders for name in names if (folder / name).is_file()), None)

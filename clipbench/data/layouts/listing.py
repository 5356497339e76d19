"""Names in folders: images without the strangers between them, whatever the case of an extension."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from clipbench.errors import UserError

SUFFIXES = (".tif", ".tiff", ".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif")


def images_in(folder: Path) -> list[str]:
    """The image files of one folder in natural order; hidden files, ``Thumbs.db`` and the like are passed over."""
    return sorted(image_names(folder), key=natural)


def image_names(folder: Path) -> list[str]:
    """The image files of one folder, in no order."""
    names = (entry.name for entry in os.scandir(folder) if not entry.name.startswith(".") and entry.is_file())
    return [name for name in names if name[name.rfind(".") :].lower() in SUFFIXES]


def folders_in(folder: Path) -> list[str]:
    """The folders in one folder, sorted by name; hidden ones and archive debris are passed over."""
    names = (entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith((".", "__")))
    return sorted(names)


def lines_of(path: Path) -> list[str]:
    """The lines of a list, stripped; empty ones stay, so that numbers are right. Raises ``UserError`` if no text."""
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is no text file ({error}). Download it again.") from None


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
    """Looks up listed files below a root. Each folder is read once: a hundred thousand look-ups stay quick."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._names: dict[str, dict[str, str]] = {}

    def find(self, path: str) -> str | None:
        """The path as it is spelled on disk (``a.jpg`` may be ``a.JPG``), or None where it is not there."""
        folder, _, name = path.rpartition("/")
        if folder not in self._names:
            self._names[folder] = self._read(self._root / folder)
        actual = self._names[folder].get(name) or self._names[folder].get(name.lower())
        return None if actual is None else f"{folder}/{actual}" if folder else actual

    @staticmethod
    def _read(folder: Path) -> dict[str, str]:
        if not folder.is_dir():
            return {}
        names = [entry.name for entry in os.scandir(folder) if entry.is_file()]
        return {name.lower(): name for name in names} | {name: name for name in names}

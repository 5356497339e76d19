"""Finding a data set's images on disk, and checking that all of them are there."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from clipbench.data.catalogue import Entry
from clipbench.errors import UserError


@dataclass(frozen=True)
class ImageSet:
    """The images of one data set, in an order that every machine agrees on (class by class, then by file name)."""

    dataset: str
    root: Path
    files: Sequence[str]
    labels: Sequence[int]
    classes: Sequence[str]
    complete: bool
    shortfall: str = ""

    def __len__(self) -> int:
        return len(self.files)


SUFFIXES = (".tif", ".tiff", ".jpg", ".jpeg", ".png")


def default_data_root() -> Path:
    """``$CLIPBENCH_DATA``, else ``./data``."""
    return Path(os.environ.get("CLIPBENCH_DATA", "data"))


def locate(entry: Entry, data_root: Path) -> Path:
    """The folder that holds the class folders. Raises ``UserError`` that says where it looked and how to get them."""
    candidates = [data_root / name for name in entry.folders]
    for folder in [*candidates, data_root]:
        # Half of the classes make it this data set (some names are common to several); what is missing is said later.
        if folder.is_dir() and 2 * len(_class_folders(folder, entry)) >= len(entry.classes):
            return folder
    looked = ", ".join(str(c) for c in candidates)
    raise UserError(
        f"the data set {entry.name} is missing: no class folders ({_listed(list(entry.classes), 3)}) in {looked}. "
        f"{entry.how} Home page: {entry.home}. Then name the folder above it with --data DIR or CLIPBENCH_DATA. "
        f"To see the command work on tiny generated images instead, add --smoke."
    )


def find_images(entry: Entry, data_root: Path, *, partial: bool = False) -> ImageSet:
    """Every image of the data set below ``data_root``.

    Hidden files, ``Thumbs.db`` and the like are passed over; extensions and class names match whatever their case.
    Raises ``UserError`` where a class has no image or more than the official number (then it is another data set),
    or (unless ``partial``) where a count is not the official one.
    """
    root = locate(entry, data_root)
    folders = _class_folders(root, entry)
    files: list[str] = []
    labels: list[int] = []
    for label, name in enumerate(entry.classes):
        images = _images(folders[name]) if name in folders else []
        files += [f"{folders[name].name}/{image}" for image in images]
        labels += [label] * len(images)
    counts = Counter(labels)
    shortfall = _shortfall(entry, counts)
    surplus = any(counts[label] > due for label, due in enumerate(entry.classes.values()))
    if empty := [name for label, name in enumerate(entry.classes) if label not in labels]:
        raise UserError(f"{entry.name} in {root}: no image at all of {_listed(empty)}. {shortfall} {entry.how}")
    if surplus or (shortfall and not partial):
        way_out = "." if surplus else ", or pass --limit N to run on a part of it, marked as such."
        raise UserError(
            f"{entry.name} in {root} is not the official data set. {shortfall} A number measured on it could not be "
            f"compared. {'Replace' if surplus else 'Complete'} it ({entry.how.rstrip('.')}){way_out}"
        )
    return ImageSet(entry.id, root, tuple(files), tuple(labels), tuple(entry.classes), not shortfall, shortfall)


def _class_folders(root: Path, entry: Entry) -> dict[str, Path]:
    """The folder of each class that has one; ``Dense Residential`` and ``denseresidential`` are one class."""
    by_key = {_key(name): name for name in entry.classes}
    found: dict[str, Path] = {}
    for path in sorted(root.iterdir()):
        name = by_key.get(_key(path.name))
        if name and path.is_dir():
            found.setdefault(name, path)
    return found


def _images(folder: Path) -> list[str]:
    names = (entry.name for entry in os.scandir(folder) if not entry.name.startswith(".") and entry.is_file())
    return sorted((n for n in names if Path(n).suffix.lower() in SUFFIXES), key=_natural)


def _natural(name: str) -> tuple[list[int], str]:
    """beach_2 before beach_10, on every file system."""
    return [int(digits) for digits in re.findall(r"\d+", name)], name


def _shortfall(entry: Entry, counts: Mapping[int, int]) -> str:
    """What differs from the official counts, in one sentence; empty if nothing does."""
    wrong = [(n, counts.get(i, 0), due) for i, (n, due) in enumerate(entry.classes.items()) if counts.get(i, 0) != due]
    if not wrong:
        return ""
    total = sum(counts.values())
    shown = _listed([f"{name} {got} of {due}" for name, got, due in wrong])
    return f"It has {total:,} of {entry.images:,} images; {len(wrong)} of {len(entry.classes)} classes differ: {shown}."


def _listed(names: Sequence[str], most: int = 4) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _key(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())

"""One folder per class, of the class's name, with its images in it."""

from __future__ import annotations

from pathlib import Path

from clipbench.data.catalogue import Entry
from clipbench.data.layouts.found import Found, listed, missing
from clipbench.data.layouts.listing import folders_in, images_in, key


def read(entry: Entry, data_root: Path) -> Found:
    """Every image, class by class, then by file name. Raises ``UserError`` where there are no class folders."""
    root = locate(entry, data_root)
    folders = _class_folders(root, entry)
    found = Found(root, tuple(entry.classes))
    for label, name in enumerate(entry.classes):
        for image in images_in(root / folders[name]) if name in folders else []:
            found.add(f"{folders[name]}/{image}", label)
    return found


def locate(entry: Entry, data_root: Path) -> Path:
    """The folder that holds the class folders. Raises ``UserError`` that says where it looked and how to get them."""
    for folder in [*(data_root / name for name in entry.folders), data_root]:
        # Half of the classes make it this data set (some names are common to several); what is missing is said later.
        if folder.is_dir() and 2 * len(_class_folders(folder, entry)) >= len(entry.classes):
            return folder
    raise missing(entry, data_root, f"class folders ({listed(list(entry.classes), 3)})")


def _class_folders(root: Path, entry: Entry) -> dict[str, str]:
    """The folder of each class that has one, however it is spelled."""
    by_key = {key(name): name for name in entry.classes}
    found: dict[str, str] = {}
    for folder in folders_in(root):
        if name := by_key.get(key(folder)):
            found.setdefault(name, folder)
    return found

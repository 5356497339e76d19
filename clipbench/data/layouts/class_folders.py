"""One folder per class, of the class's name, with its images in it."""

from __future__ import annotations

from pathlib import Path

from clipbench.data.catalogue import Entry
from clipbench.data.images import ImageSet, first_few
from clipbench.data.layouts.listing import folders_in, image_names, images_in, key
from clipbench.data.layouts.locations import locations, missing


def read(entry: Entry, data_root: Path) -> ImageSet:
    """Every image, class by class, then by file name. Raises ``UserError`` where there are no class folders."""
    root = locate(entry, data_root)
    folders = _class_folders(root, entry)
    found = ImageSet(entry.id, root, classes=tuple(entry.classes))
    for label, name in enumerate(entry.classes):
        for image in images_in(root / folders[name]) if name in folders else []:
            found.add(f"{folders[name]}/{image}", label)
    return found


def locate(entry: Entry, data_root: Path) -> Path:
    """The folder that holds the class folders. Raises ``UserError`` that says where it looked and how to get them."""
    for folder in locations(entry, data_root):
        # Half of the classes make it this data set (some names are common to several); what is missing is said later.
        if 2 * len(_class_folders(folder, entry)) >= len(entry.classes):
            return folder
    if data_root.is_dir() and _is_exactly(data_root, entry):
        return data_root
    raise missing(entry, data_root, f"class folders ({first_few(list(entry.classes), 3)})")


def _is_exactly(root: Path, entry: Entry) -> bool:
    """Whether the classes are the entry's, none missing and none besides; a folder of any name is then this set.

    OPTIMAL-31's classes are among RESISC45's: no further folder may hold images. Other sets' folders may lie beside.
    """
    by_key = {key(name) for name in entry.classes}
    others = [folder for folder in folders_in(root) if key(folder) not in by_key]
    return len(_class_folders(root, entry)) == len(by_key) and not any(image_names(root / name) for name in others)


def _class_folders(root: Path, entry: Entry) -> dict[str, str]:
    """The folder of each class that has one, however it is spelled; of several the one of the exact name."""
    by_key = {key(name): name for name in entry.classes}
    found: dict[str, str] = {}
    for folder in folders_in(root):
        name = by_key.get(key(folder))
        if name and (folder == name or name not in found):
            found[name] = folder
    return found

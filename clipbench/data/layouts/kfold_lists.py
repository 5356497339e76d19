"""PACS: ``<domain>/<class>/`` folders and official lists ``<domain>_{train,crossval}_kfold.txt``, labels from 1.

[KaiyangZhou/Dassl.pytorch c61a1b5 dassl/data/datasets/dg/pacs.py:22-26, 51-93]
"""

from __future__ import annotations

from pathlib import Path

from clipbench.data.catalogue import Entry
from clipbench.data.images import ImageSet
from clipbench.data.layouts.domains import add_class_folders, domain_folders
from clipbench.data.layouts.listing import Listing, lines_of
from clipbench.data.layouts.locations import locations
from clipbench.errors import UserError

_LISTS = {"train": "train", "val": "crossval"}


def read(entry: Entry, data_root: Path) -> ImageSet:
    """Domain by domain in the order of the lists; by class and file name, without parts, where the lists are absent.

    The layout's options name folders that may hold the domains (``images``) or the lists (``lists``), and broken images
    that are passed over (``skip``). Raises ``UserError`` where a domain's folder is missing.
    """
    folders = domain_folders(entry, data_root, entry.layout_options["images"])
    root = next(iter(folders.values())).parent
    found = ImageSet(
        entry.id, root, classes=tuple(entry.classes), lists="the lists <domain>_{train,crossval}_kfold.txt"
    )
    lists = _lists_folder(entry, data_root, root)
    for domain, folder in folders.items():
        if lists is None:
            add_class_folders(found, entry, domain, folder)
        else:
            _add_listed(found, entry, domain, folder, lists)
    if lists is not None:
        found.list_files = [lists / f"{domain}_{kind}_kfold.txt" for domain in folders for kind in _LISTS.values()]
    return found


def _add_listed(found: ImageSet, entry: Entry, domain: str, folder: Path, lists: Path) -> None:
    names, listing = list(entry.classes), Listing(found.root)
    for part, kind in _LISTS.items():
        path = lists / f"{domain}_{kind}_kfold.txt"
        for number, line in enumerate(lines_of(path), start=1):
            if not line:
                continue
            file, label = _item(line, f"{path}, line {number}", names)
            if file in entry.layout_options.get("skip", ()):
                continue
            actual = listing.find(f"{folder.name}/{file.partition('/')[2]}")
            if actual is None:
                found.lacks(file, part)
            else:
                found.add(actual, label, part=part, domain=domain)


def _item(line: str, where: str, names: list[str]) -> tuple[str, int]:
    """A line ``art_painting/dog/pic_001.jpg 1``: image and label from 1. Raises ``UserError`` with the place."""
    file, _, number = line.rpartition(" ")
    label = int(number) - 1 if number.isdecimal() else -1
    if not 0 <= label < len(names) or file.split("/")[1:2] != [names[label]]:
        raise UserError(f"{where}: {line!r} should be domain/class/image and the number of the class from 1.")
    return file, label


def _lists_folder(entry: Entry, data_root: Path, root: Path) -> Path | None:
    """Where the lists of all domains are; None where there are none."""
    beside = [root, root.parent, *locations(entry, data_root)]
    folders = [folder / inside for folder in beside for inside in entry.layout_options["lists"]]
    needed = [f"{domain}_{kind}_kfold.txt" for domain in entry.domains for kind in _LISTS.values()]
    return next((folder for folder in folders if all((folder / name).is_file() for name in needed)), None)

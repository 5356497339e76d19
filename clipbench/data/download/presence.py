"""How a data set stands below a data root: missing, in part, or complete, without opening an image; what is no set."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from clipbench.data import catalogue
from clipbench.data.catalogue import Entry
from clipbench.data.layouts import reader
from clipbench.data.layouts.listing import folders_in, image_names
from clipbench.data.layouts.locations import owned
from clipbench.data.official import find_images
from clipbench.data.synthetic.folder import FOLDER as SYNTHETIC
from clipbench.errors import UserError

_DEPTH = 3
"""Folders below a stranger that are looked into for an image: domain, part and class at most."""


@dataclass(frozen=True)
class Presence:
    """``state`` is missing, incomplete or complete; ``message`` is the sentence of the reader about what is lacking."""

    dataset: str
    state: str
    where: Path | None
    images: int
    official: int
    message: str = ""
    rebuilt: str = ""


def look(entry: Entry, data_root: Path) -> Presence:
    """Ask the data set's reader, which counts files and opens none.

    What the reader finds but the counts do not admit (a class without an image, more images than there are) is
    incomplete: something is there, and it is not the data set.
    """
    try:
        found = find_images(entry, data_root, partial=True)
    except UserError as error:
        return _not_admitted(entry, data_root, str(error))
    state = "complete" if found.complete else "incomplete"
    return Presence(entry.id, state, found.root, len(found), entry.images, found.shortfall, found.rebuilt)


def _not_admitted(entry: Entry, data_root: Path, message: str) -> Presence:
    try:
        found = reader(entry.layout)(entry, data_root)
    except UserError:
        return Presence(entry.id, "missing", None, 0, entry.images, message)
    return Presence(entry.id, "incomplete", found.root, len(found.files), entry.images, message, found.rebuilt)


def strangers(data_root: Path, here: Iterable[Presence]) -> list[str]:
    """Folders of the data root that hold images, hold none of the data sets ``here`` and bear no known set's name.

    The folder of synthetic images stands beside data sets, and is no stranger.
    """
    found = [presence.where.resolve() for presence in here if presence.where is not None]
    if not data_root.is_dir() or data_root.resolve() in found:
        return []
    entries = [catalogue.entry(name) for name in catalogue.known()]
    unknown = [name for name in folders_in(data_root) if not any(owned(entry, name) for entry in entries)]
    unknown = [name for name in unknown if name != SYNTHETIC]
    free = [name for name in unknown if not any(w.is_relative_to((data_root / name).resolve()) for w in found)]
    return [name for name in free if _holds_images(data_root / name, _DEPTH)]


def _holds_images(folder: Path, depth: int) -> bool:
    if image_names(folder):
        return True
    return depth > 0 and any(_holds_images(folder / name, depth - 1) for name in folders_in(folder))

"""How a data set stands below a data root: missing, in part, or complete, without opening an image."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from clipbench.data.catalogue import Entry
from clipbench.data.images import find_images
from clipbench.data.layouts import reader
from clipbench.errors import UserError


@dataclass(frozen=True)
class Presence:
    """``state`` is missing, incomplete or complete; ``told`` is the sentence of the reader about what is lacking."""

    dataset: str
    state: str
    where: Path | None
    images: int
    official: int
    told: str = ""
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


def _not_admitted(entry: Entry, data_root: Path, told: str) -> Presence:
    try:
        found = reader(entry.layout)(entry, data_root)
    except UserError:
        return Presence(entry.id, "missing", None, 0, entry.images, told)
    return Presence(entry.id, "incomplete", found.root, len(found.files), entry.images, told, found.rebuilt)

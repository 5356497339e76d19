"""CoOp's split files: three lists (train, val, test) of image, label and class name, beside the images.

[KaiyangZhou/CoOp ff61507 datasets/oxford_pets.py:100-138]
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from clipbench.data.catalogue import Entry
from clipbench.data.layouts.found import Found, first_file
from clipbench.data.layouts.listing import Listing
from clipbench.data.layouts.places import missing, places
from clipbench.data.layouts.rebuild import SENTENCE, Lists, rebuilt_lists
from clipbench.errors import UserError

_PARTS = ("train", "val", "test")
_PROBES = 200
"""Listed images that are looked for to tell in which of several folders the images lie."""


def read(entry: Entry, data_root: Path) -> Found:
    """The images in the order of the split file, or of a split rebuilt by CoOp's rule where the file is absent.

    ``entry.reading`` names the ``split_file`` and the folders that may hold the ``images``. Raises ``UserError`` where
    there are no images, or neither a split file nor what the rule needs to rebuild it.
    """
    inside = entry.reading["images"]
    # The split file's name is the data set's own: it may lie in the root, whatever that is called.
    path = first_file([*places(entry, data_root, (".", *inside)), data_root], [entry.reading["split_file"]])
    if path is not None:
        lists, rebuilt, name = read_split(path), "", path.name
        root = _images_root(entry, data_root, lists, inside)
    else:
        root, lists = rebuilt_lists(entry, data_root)
        rebuilt, name = SENTENCE.format(rule=entry.reading["rule"]), "the rebuilt split"
    return found_of(root, lists, name, rebuilt)


def read_split(path: Path) -> Lists:
    """The file's three lists. Raises ``UserError`` that names the file where it is not of that form."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {part: [(str(file), int(label), str(name)) for file, label, name in content[part]] for part in _PARTS}
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} is not a split file of CoOp's form (train, val and test, each a list of [image, label, class "
            f"name]): {type(error).__name__} {error}. Download it again."
        ) from error


def found_of(root: Path, lists: Lists, name: str, rebuilt: str = "") -> Found:
    """The listed images that are below ``root``, and those that are not."""
    found = Found(root, _classes(lists, name), lists=name, rebuilt=rebuilt)
    listing = Listing(root)
    for part, items in lists.items():
        for file, label, _ in items:
            actual = listing.find(file)
            if actual is None:
                found.lacks(file, part)
            else:
                found.add(actual, label, part=part)
    return found


def _classes(lists: Lists, where: str) -> tuple[str, ...]:
    """Class names by label. Raises ``UserError`` where a label has two names or labels are not 0, 1, 2 ..."""
    names: dict[int, str] = {}
    for items in lists.values():
        for file, label, name in items:
            if names.setdefault(label, name) != name:
                raise UserError(f"{where}: the label {label} is both {names[label]!r} and {name!r} (at {file}).")
    if sorted(names) != list(range(len(names))):
        raise UserError(f"{where}: the labels should be 0 to {len(names) - 1}, but {max(names, default=0)} is one.")
    return tuple(names[label] for label in sorted(names))


def _images_root(
    entry: Entry, data_root: Path, lists: Mapping[str, Sequence[tuple[str, int, str]]], inside: Sequence[str]
) -> Path:
    """The folder below which most of a sample of the listed images lie."""
    files = [file for items in lists.values() for file, _, _ in items]
    probes = files[:: max(len(files) // _PROBES, 1)]

    def hits(folder: Path) -> int:
        listing = Listing(folder)
        return sum(listing.find(file) is not None for file in probes)

    best = max(places(entry, data_root, inside), key=hits, default=None)
    if best is None or not hits(best):  # in a root of another name most of the listed images tell that it is this set
        best = next((f for f in (data_root / sub for sub in inside) if 2 * hits(f) > len(probes)), None)
    if best is None:
        raise missing(entry, data_root, f"images ({files[0]} and {len(files) - 1:,} more that its split file lists)")
    return best

"""CoOp's split files: three lists (train, val, test) of image, label and class name, beside the images.

[KaiyangZhou/CoOp ff61507 datasets/oxford_pets.py:100-138]
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from clipbench.data.catalogue import Entry
from clipbench.data.images import ImageSet, first_few
from clipbench.data.layouts.listing import Listing, first_file, text_of
from clipbench.data.layouts.locations import locations, missing
from clipbench.data.layouts.rebuild import SENTENCE, Lists, rebuilt_lists
from clipbench.errors import UserError

PARTS = ("train", "val", "test")
_ABSOLUTE = re.compile(r"/|[A-Za-z]:/")
"""How a path begins that starts at the root of a file system, of Linux or of Windows."""
_PROBES = 200
"""Listed images that are looked for to tell in which of several folders the images lie."""


def read(entry: Entry, data_root: Path) -> ImageSet:
    """The images in the order of the split file, or of a split rebuilt by CoOp's rule where the file is absent.

    The layout's options name the ``split_file`` and the folders that may hold the ``images``.

    Raises ``UserError`` where there are no images, or neither a split file nor what the rule needs to rebuild it.
    """
    inside = entry.layout_options["images"]
    # The split file's name is the data set's own: it may lie in the root, whatever that is called.
    path = first_file([*locations(entry, data_root, (".", *inside)), data_root], [entry.layout_options["split_file"]])
    if path is not None:
        lists, rebuilt, name = read_split(path), "", path.name
        root = _images_root(entry, data_root, path, lists)
    else:
        root, lists = rebuilt_lists(entry, data_root)
        rebuilt, name = SENTENCE.format(rule=entry.layout_options["rule"]), "the rebuilt split"
    images = images_of(entry.id, root, lists, name, rebuilt)
    images.list_files = () if path is None else (path,)
    return images


def read_split(path: Path) -> Lists:
    """The file's three lists, with paths below the folder of the images whatever machine wrote them.

    Backslashes are read as slashes; of absolute paths the part that all have in common is cut off. Raises ``UserError``
    that names the file where it is not of that form, or where a path leaves the folder of the images.
    """
    try:
        content = json.loads(text_of(path))
        lists = {part: [(str(file), int(label), str(name)) for file, label, name in content[part]] for part in PARTS}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(
            f"{path} is not a split file of CoOp's form (train, val and test, each a list of [image, label, class "
            f"name]): {type(error).__name__} {error}. Download it again."
        ) from error
    return relative_lists(lists, path)


def relative_lists(lists: Lists, path: Path) -> Lists:
    """The lists with relative paths; ``path`` is the file that they come from."""
    slashed = {
        part: [(file.replace("\\", "/"), label, name) for file, label, name in items] for part, items in lists.items()
    }
    above = len(_common_folder([file for items in slashed.values() for file, _, _ in items]))
    cut = {part: [(file[above:], label, name) for file, label, name in items] for part, items in slashed.items()}
    files = [file for items in cut.values() for file, _, _ in items]
    outside = [file for file in files if _ABSOLUTE.match(file) or ".." in file.split("/")]
    if outside:
        raise UserError(
            f"{path} names images outside of the data set ({first_few(outside)}). Its paths must be relative to the "
            f"folder of the images, without '..'; mend them, or take the published file."
        )
    return cut


def _common_folder(files: Sequence[str]) -> str:
    """The folder, with its final slash, that all files share if all paths are absolute; empty otherwise."""
    if not files or not all(_ABSOLUTE.match(file) for file in files):
        return ""
    first, last = min(files), max(files)
    shared = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    return first[: first.rfind("/", 0, shared) + 1]


def images_of(dataset: str, root: Path, lists: Lists, name: str, rebuilt: str = "") -> ImageSet:
    """The listed images that are below ``root``, and those that are not."""
    found = ImageSet(dataset, root, classes=_classes(lists, name), lists=name, rebuilt=rebuilt)
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


def _images_root(entry: Entry, data_root: Path, path: Path, lists: Lists) -> Path:
    """The folder below which most of a sample of the listed images lie."""
    inside = entry.layout_options["images"]
    files = [file for items in lists.values() for file, _, _ in items]
    if not files:
        raise UserError(f"{path} lists no image at all. Download it again.")
    probes = files[:: max(len(files) // _PROBES, 1)]

    def hits(folder: Path) -> int:
        listing = Listing(folder)
        return sum(listing.find(file) is not None for file in probes)

    best = max(locations(entry, data_root, inside), key=hits, default=None)
    if best is None or not hits(best):  # in a root of another name most of the listed images tell that it is this set
        best = next((f for f in (data_root / sub for sub in inside) if 2 * hits(f) > len(probes)), None)
    if best is None:
        raise missing(entry, data_root, f"images ({files[0]} and {len(files) - 1:,} more that {path} lists)")
    return best

"""CoOp's split files: three lists (train, val, test) of image, label and class name, beside the images.

[KaiyangZhou/CoOp ff61507 datasets/oxford_pets.py:100-138]
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from posixpath import normpath
from typing import Any

from clipbench.data.catalogue import Entry
from clipbench.data.images import ImageSet, first_few
from clipbench.data.layouts.label_files import Item
from clipbench.data.layouts.listing import Listing, first_file, text_of
from clipbench.data.layouts.locations import locations, missing
from clipbench.data.layouts.rebuild import SENTENCE, Lists, rebuilt_lists
from clipbench.errors import UserError

PARTS = ("train", "val", "test")
FORM = "CoOp's form (train, val and test, each a list of [image, label, class name])"
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
        return relative_lists({part: entries(content[part], part) for part in PARTS}, path)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"{path} is not a split file of {FORM}: {in_words(error)}. Download it again.") from error


def entries(content: Any, part: str) -> list[Item]:
    """The (image, label, class name) of one part of a split file.

    Raises ``ValueError`` with the part and number of the first entry that is not of that form.
    """
    if not isinstance(content, list):
        raise ValueError(f"{part} is no list")
    return [_entry(entry, f"entry {number} of {part}") for number, entry in enumerate(content, start=1)]


def in_words(error: Exception) -> str:
    """What is wrong with a JSON file, as a clause."""
    if isinstance(error, KeyError):
        return f"it has no {error.args[0]}"
    if isinstance(error, json.JSONDecodeError):
        return f"it is no JSON, or cut ({error})"
    return "it is no table of train, val and test" if isinstance(error, TypeError) else str(error)


def _entry(entry: Any, where: str) -> Item:
    said = json.dumps(entry)[:100]
    if not isinstance(entry, list) or len(entry) != 3:
        raise ValueError(f"{where} is {said}")
    file, label, name = entry
    whole = str(label).removesuffix(".0") if isinstance(label, str | float) else label
    if isinstance(label, bool) or not str(whole).lstrip("-").isdecimal():
        raise ValueError(f"{where} is {said}, and its label is no whole number")
    if not isinstance(file, str) or not file or not isinstance(name, str | int) or not str(name).strip():
        raise ValueError(f"{where} is {said}, without an image or a class name")
    return file, int(whole), str(name)


def relative_lists(lists: Lists, path: Path, root: Path | None = None) -> Lists:
    """The lists with relative paths; ``path`` is the file that they come from, ``root`` the images' folder if known."""
    slashed = {
        part: [(file.replace("\\", "/"), label, name) for file, label, name in items] for part, items in lists.items()
    }
    files = [file for items in slashed.values() for file, _, _ in items]
    above = 0 if root is None else _above(root, files)
    above = above or len(_common_folder(files))
    cut = {part: [(file[above:], label, name) for file, label, name in items] for part, items in slashed.items()}
    listed = [file for items in cut.values() for file, _, _ in items]
    outside = [file for file in listed if _ABSOLUTE.match(file)] + [file for file in files if ".." in file.split("/")]
    if outside:
        raise UserError(
            f"{path} names images outside of the data set ({first_few(outside)}). Its paths must be relative to the "
            f"folder of the images, without '..'; mend them, or take the published file."
        )
    return {part: [(normpath(file), label, name) for file, label, name in items] for part, items in cut.items()}


def _above(root: Path, files: Sequence[str]) -> int:
    """How many characters, the same in front of all paths, do not belong to the path of the first below ``root``."""
    listing, first = Listing(root), files[0] if files else ""
    starts = [0, *(at + 1 for at, sign in enumerate(first) if sign == "/")]
    start = next((at for at in starts if listing.find(first[at:].lstrip("/"))), 0)
    return start if all(file.startswith(first[:start]) for file in files) else 0


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
        found = first_few([str(label) for label in sorted(names)], 8)
        raise UserError(
            f"{where}: the labels should be 0 to {len(names) - 1}, one for each class, and they are {found}. Number "
            f"the classes from 0, without a gap."
        )
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

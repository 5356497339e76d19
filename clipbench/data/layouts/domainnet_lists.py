"""Mini-DomainNet: DomainNet's ``<domain>/<class>/`` folders and the lists ``splits_mini/<domain>_{train,test}.txt``.

[KaiyangZhou/Dassl.pytorch c61a1b5 dassl/data/datasets/da/mini_domainnet.py:17-58]
"""

from __future__ import annotations

from pathlib import Path

from clipbench.data.catalogue import Entry
from clipbench.data.images import ImageSet
from clipbench.data.layouts.listing import Listing, lines_of
from clipbench.data.layouts.locations import locations, missing
from clipbench.errors import UserError

_PARTS = ("train", "test")
_FOLDER = "splits_mini"


def read(entry: Entry, data_root: Path) -> ImageSet:
    """Domain by domain in the order of the lists; the class names are the folders'.

    Raises ``UserError`` where the lists are missing, or a label stands for two classes.
    """
    needed = [f"{_FOLDER}/{domain}_{part}.txt" for domain in entry.domains for part in _PARTS]
    root = next(
        (f for f in (*locations(entry, data_root), data_root) if all((f / name).is_file() for name in needed)), None
    )
    if root is None:
        raise missing(entry, data_root, f"lists {_FOLDER}/<domain>_{{train,test}}.txt ({', '.join(entry.domains)})")
    names: dict[int, str] = {}
    found, listing = ImageSet(entry.id, root, lists=f"{_FOLDER}/<domain>_{{train,test}}.txt"), Listing(root)
    found.list_files = [root / name for name in needed]
    for domain in entry.domains:
        for part in _PARTS:
            _add(found, listing, names, domain, part)
    found.classes = tuple(names[label] for label in sorted(names))
    if sorted(names) != list(range(len(names))):
        raise UserError(f"{root / _FOLDER}: the labels should be 0 to {len(names) - 1}, and are not.")
    return found


def _add(found: ImageSet, listing: Listing, names: dict[int, str], domain: str, part: str) -> None:
    path = found.root / _FOLDER / f"{domain}_{part}.txt"
    for number, line in enumerate(lines_of(path), start=1):
        if not line:
            continue
        file, _, word = line.rpartition(" ")
        label = int(word) if word.isdecimal() else -1
        name = (*file.split("/"), "", "")[1]
        if label < 0 or not name or names.setdefault(label, name) != name:
            raise UserError(f"{path}, line {number}: {line!r} should be domain/class/image and the class's label.")
        actual = listing.find(file)
        if actual is None:
            found.lacks(file, part)
        else:
            found.add(actual, label, part=part, domain=domain)

"""FGVC-Aircraft's own lists: ``images_variant_{train,val,test}.txt``, ``variants.txt`` and a folder of images.

[KaiyangZhou/CoOp ff61507 datasets/fgvc_aircraft.py:22-31]
"""

from __future__ import annotations

from pathlib import Path

from clipbench.data.catalogue import Entry
from clipbench.data.images import ImageSet
from clipbench.data.layouts.coop_split import images_of
from clipbench.data.layouts.listing import lines_of
from clipbench.data.layouts.locations import locations, missing
from clipbench.errors import UserError

_LISTS = {part: f"images_variant_{part}.txt" for part in ("train", "val", "test")}


def read(entry: Entry, data_root: Path) -> ImageSet:
    """The images in the order of the lists. Raises ``UserError`` where one is missing or names an unknown variant."""
    needed = ["variants.txt", *_LISTS.values()]
    folder = next(
        (f for f in (*locations(entry, data_root), data_root) if all((f / name).is_file() for name in needed)), None
    )
    if folder is None:
        raise missing(entry, data_root, f"lists ({', '.join(needed)})")
    variants = {name: label for label, name in enumerate(filter(None, lines_of(folder / "variants.txt")))}
    lists = {part: _items(folder / name, variants) for part, name in _LISTS.items()}
    return images_of(entry.id, folder / "images", lists, "images_variant_{train,val,test}.txt")


def _items(path: Path, variants: dict[str, int]) -> list[tuple[str, int, str]]:
    """Lines ``1025794 707-320``: image and variant, which may have spaces."""
    items = []
    for number, line in enumerate(lines_of(path), start=1):
        image, _, name = line.partition(" ")
        if not line:
            continue
        if name not in variants:
            raise UserError(f"{path}, line {number}: the variant {name!r} is not in variants.txt.")
        items.append((f"{image}.jpg", variants[name], name))
    return items

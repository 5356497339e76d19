"""Splits made again where CoOp's split file is absent: the same rules, but not the same draw.

[KaiyangZhou/CoOp ff61507 datasets/dtd.py:54-95, oxford_flowers.py:57-89, oxford_pets.py:77-97, stanford_cars.py,
sun397.py, ucf101.py]
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from clipbench.data.catalogue import Entry
from clipbench.data.layouts.label_files import Item, NotHereError, cars, flowers, pets, sun, ucf
from clipbench.data.layouts.listing import folders_in, images_in, key, same_names
from clipbench.data.layouts.locations import locations, missing
from clipbench.errors import UserError

Lists = Mapping[str, Sequence[Item]]

SEED = 1
"""Of every rebuilt split: it is drawn once, whatever the seed of the run."""

SENTENCE = f"split rebuilt by CoOp's rule ({{rule}}, drawn with seed {SEED}), for want of CoOp's own split file"

_TRAIN, _VAL = 0.5, 0.2
_VAL_OF_TRAINVAL = 0.2


@dataclass(frozen=True)
class Site:
    """Where a split is rebuilt: the data set's folder, and the folder of its images."""

    entry: Entry
    folder: Path
    images: Path


def rebuilt_lists(entry: Entry, data_root: Path) -> tuple[Path, Lists]:
    """The folder below which the images lie, and the three lists.

    Raises ``UserError`` where nothing can be rebuilt, with what it would need.
    """
    rule, needs = RULES[entry.layout_options["rebuild"]]
    named = locations(entry, data_root)
    for folder in dict.fromkeys([*named, data_root]):
        for inside in entry.layout_options["images"]:
            try:
                lists = rule(Site(entry, folder, folder / inside)) if (folder / inside).is_dir() else {}
                if lists and (folder in named or _is_exactly(entry, lists)):
                    return folder / inside, lists
            except NotHereError:
                continue
            except (LookupError, TypeError, ValueError) as error:
                if folder not in named:
                    continue
                raise UserError(
                    f"{entry.name} in {folder}: its own label files ({needs}) are not of their usual form: "
                    f"{type(error).__name__} {error}. Download them again."
                ) from error
    what = f"split file {entry.layout_options['split_file']}, nor what the split can be rebuilt from ({needs}),"
    raise missing(entry, data_root, what)


def _is_exactly(entry: Entry, lists: Lists) -> bool:
    """Whether the classes are the entry's, none missing and none besides; a folder of any name is then this set."""
    names = {name for items in lists.values() for _, _, name in items}
    return same_names(names, entry.classes) if entry.classes else len(names) == entry.class_count


def by_fractions(items: Sequence[Item], seed: int = SEED) -> Lists:
    """Of every class 50% train, 20% val, the rest test, shuffled; classes in the order in which they come first."""
    draw = random.Random(seed)  # noqa: S311 - a reproducible split, not a secret
    lists: dict[str, list[Item]] = {"train": [], "val": [], "test": []}
    for members in _by_class(items):
        draw.shuffle(members)
        train, val, _ = fraction_counts(len(members))
        lists["train"] += members[:train]
        lists["val"] += members[train : train + val]
        lists["test"] += members[train + val :]
    return lists


def fraction_counts(members: int) -> tuple[int, int, int]:
    """Train, val and test of a class of that many under :func:`by_fractions`."""
    train, val = round(members * _TRAIN), round(members * _VAL)
    return train, val, members - train - val


def from_trainval(trainval: Sequence[Item], test: Sequence[Item]) -> Lists:
    """The official training list cut 80 to 20 per class, shuffled, and the official test list as it is."""
    draw = random.Random(SEED)  # noqa: S311 - a reproducible split, not a secret
    train: list[Item] = []
    val: list[Item] = []
    for members in _by_class(trainval):
        draw.shuffle(members)
        count = round(len(members) * _VAL_OF_TRAINVAL)
        val += members[:count]
        train += members[count:]
    return {"train": train, "val": val, "test": list(test)}


def _by_class(items: Sequence[Item]) -> list[list[Item]]:
    members: dict[int, list[Item]] = {}
    for item in items:
        members.setdefault(item[1], []).append(item)
    return list(members.values())


def _class_folders(site: Site) -> Lists:
    """Folders of images, some passed over and some renamed; labels in the order of the sorted folder names."""
    options = site.entry.layout_options
    skipped, names = set(options.get("skip", [])), options.get("names", {})
    folders = [name for name in folders_in(site.images) if name not in skipped]
    if not _is_this_set(site.entry, [names.get(name, name) for name in folders]):
        raise NotHereError
    items = [
        (f"{folder}/{image}", label, names.get(folder, folder))
        for label, folder in enumerate(folders)
        for image in images_in(site.images / folder)
    ]
    return by_fractions(items) if items else {}


def _is_this_set(entry: Entry, names: Sequence[str]) -> bool:
    """Half of the classes make it this data set; where their names are not known, their exact number does."""
    if not entry.classes:
        return len(names) == entry.class_count
    return 2 * len({key(n) for n in names} & {key(n) for n in entry.classes}) >= len(entry.classes)


Rule = Callable[[Site], Lists]

RULES: Mapping[str, tuple[Rule, str]] = {
    "class-folders": (_class_folders, "one folder of images per class"),
    "flowers-labels": (
        lambda site: by_fractions(flowers(site.folder)),
        "imagelabels.mat and cat_to_name.json beside the images",
    ),
    "pets-lists": (
        lambda site: from_trainval(*pets(site.folder)),
        "annotations/trainval.txt and test.txt",
    ),
    "cars-annotations": (
        lambda site: from_trainval(*cars(site.folder)),
        "devkit/cars_train_annos.mat, devkit/cars_meta.mat and cars_test_annos_withlabels.mat",
    ),
    "sun-lists": (
        lambda site: from_trainval(*sun(site.folder)),
        "ClassName.txt, Training_01.txt and Testing_01.txt",
    ),
    "ucf-lists": (
        lambda site: from_trainval(*ucf(site.folder)),
        "ucfTrainTestlist/classInd.txt, trainlist01.txt and testlist01.txt",
    ),
}

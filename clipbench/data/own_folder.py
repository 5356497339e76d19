"""A user's own images: one folder per class, cut into train, val and test as CoOp cuts a data set without lists."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from clipbench.data.images import ImageSet
from clipbench.data.layouts.found import listed
from clipbench.data.layouts.listing import folders_in, images_in
from clipbench.data.layouts.rebuild import SEED, by_fractions, fraction_counts
from clipbench.errors import UserError

_RULE = f"50% train, 20% val, 30% test of each class, drawn with seed {SEED}"


def own_images(folder: Path, template: str = "a photo of a {}.") -> ImageSet:
    """The images of a folder of class folders, with parts; the folders' names are the class names.

    Raises ``UserError`` where there are fewer than two classes, or one has too few images for three parts.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder; name one that holds a folder of images per class.")
    members = {name: images_in(folder / name) for name in folders_in(folder)}
    members = {name: images for name, images in members.items() if images}
    if len(members) < 2:
        raise UserError(
            f"{folder} holds {len(members)} folders with images; it should hold one folder of images per class, and "
            f"two classes at least."
        )
    if small := [name for name, images in members.items() if 0 in fraction_counts(len(images))]:
        raise UserError(f"{folder}: too few images of {listed(small)}; four make one each for train, val and test.")
    classes = tuple(members)
    files = [(f"{name}/{image}", label) for label, name in enumerate(classes) for image in members[name]]
    return with_parts(
        ImageSet(
            dataset=folder.resolve().name,
            root=folder,
            files=tuple(file for file, _ in files),
            labels=tuple(label for _, label in files),
            classes=classes,
            complete=True,
            template=template,
            prompt_names=tuple(name.replace("_", " ") for name in classes),
        )
    )


def with_parts(images: ImageSet) -> ImageSet:
    """The images in train, val and test, where they have no official parts: the same cut for every seed."""
    lists = by_fractions([(file, label, "") for file, label in zip(images.files, images.labels, strict=True)])
    items = [(file, label, part) for part, members in lists.items() for file, label, _ in members]
    return replace(
        images,
        files=tuple(file for file, _, _ in items),
        labels=tuple(label for _, label, _ in items),
        parts=tuple(part for _, _, part in items),
        rebuilt=f"no official parts: {_RULE}",
    )

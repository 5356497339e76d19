"""A user's own images: one folder per class, cut into train, val and test as CoOp cuts a data set without lists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from clipbench.data.images import ImageSet
from clipbench.data.layouts.found import listed
from clipbench.data.layouts.listing import folders_in, image_names, images_in
from clipbench.data.layouts.rebuild import SEED, by_fractions, fraction_counts
from clipbench.errors import UserError

_RULE = f"50% train, 20% val, 30% test of each class, drawn with seed {SEED}"


@dataclass(frozen=True)
class ClassFolders:
    """The images of each class folder in order, and what lies beside, below or between them and is not read."""

    images: Mapping[str, Sequence[str]]
    loose: Sequence[str]
    empty: Sequence[str]
    with_more_below: Sequence[str]

    @property
    def passed_over(self) -> str:
        """What is not read, in one line; empty where everything is."""
        said = []
        if self.loose:
            said.append(f"images beside the class folders ({listed(self.loose)})")
        if self.empty:
            said.append(f"folders without an image ({listed(self.empty)})")
        if self.with_more_below:
            said.append(f"images in folders inside a class folder ({listed(self.with_more_below)})")
        return "; ".join(said)


def class_folders(folder: Path) -> ClassFolders:
    """Look through a folder of class folders, linked ones too: the one list that names and reads a data set.

    Raises ``UserError`` where it cannot be read, or a class has its images in folders of its own only.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder; name one that holds a folder of images per class.")
    try:
        loose = images_in(folder)
        found = {name: images_in(folder / name) for name in folders_in(folder)}
        deeper = [name for name in found if _images_below(folder / name)]
    except OSError as error:
        raise UserError(f"{folder} cannot be read: {error.strerror} ({error.filename}).") from error
    if nested := [name for name in deeper if not found[name]]:
        raise UserError(
            f"{folder}: all images of {listed(nested)} lie in folders inside it, and those are not read. Put them into "
            f"the class folder itself, or name the folder whose folders are the classes."
        )
    images = {name: members for name, members in found.items() if members}
    empty = [name for name in found if name not in images]
    return ClassFolders(images, loose, empty, deeper)


def own_images(folder: Path, template: str = "a photo of a {}.") -> ImageSet:
    """The images of a folder of class folders, with parts; the folders' names are the class names.

    Raises ``UserError`` where there are fewer than two classes, two have one name in the prompt, or one has too few
    images for three parts.
    """
    members = class_folders(folder).images
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
            prompt_names=_prompt_names(folder, classes),
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


def _images_below(folder: Path, above: frozenset[Path] = frozenset()) -> bool:
    """Whether a folder in this one holds an image, however deep; a link back to a folder above is not followed."""
    above |= {folder.resolve()}
    inside = [folder / name for name in folders_in(folder)]
    return any(sub.resolve() not in above and (image_names(sub) or _images_below(sub, above)) for sub in inside)


def _prompt_names(folder: Path, classes: Sequence[str]) -> tuple[str, ...]:
    """Underscores become spaces. Raises ``UserError`` for two classes that no prompt tells apart."""
    names = tuple(name.replace("_", " ") for name in classes)
    read: dict[str, str] = {}
    for name, prompt in zip(classes, names, strict=True):
        # CLIP's tokeniser lowers letters and joins white space.
        first = read.setdefault(" ".join(prompt.lower().split()), name)
        if first != name:
            raise UserError(
                f"{folder}: the folders {first!r} and {name!r} are one name in the prompt, so that no model could tell "
                f"the classes apart. Rename one, or put their images into one folder."
            )
    return names

"""A user's own images: one folder per class, with their own parts, or cut as CoOp cuts a data set without lists."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from clipbench.data.images import ImageSet, first_few
from clipbench.data.layouts.coop_split import PARTS, images_of
from clipbench.data.layouts.rebuild import SEED, by_fractions, fraction_counts
from clipbench.data.user.folders import ClassFolders, are_parts, class_folders, not_read, part_folders
from clipbench.data.user.prompt_names import prompt_names
from clipbench.data.user.split_file import read_split_file
from clipbench.errors import UserError

_RULE = f"50% train, 20% val, 30% test of each class, drawn with seed {SEED}"
_AS_GIVEN = "the user's own"


@dataclass(frozen=True)
class UserData:
    """Where a user's own data set lies: its folder, and the file that says how it is split, where there is one."""

    folder: Path
    split_file: Path | None = None

    @cached_property
    def has_parts(self) -> bool:
        """Whether it says itself what trains and what tests."""
        return self.split_file is not None or bool(part_folders(self.folder))

    @cached_property
    def images(self) -> ImageSet:
        """Its images, listed once; see :func:`user_images`."""
        return user_images(self)


def user_images(data: UserData) -> ImageSet:
    """The images of a user's own data set, in train, val and test.

    The parts are those of its split file, or of its folders train, val and test; a folder of class folders is cut as
    CoOp cuts a data set without lists. Without a test part the val part is tested. The names of the class folders are
    the class names.

    Raises:
        UserError: there are fewer than two classes, two have one name in the prompt, one has too few images for three
            parts, or the split file names images that are not there.
    """
    folder = data.folder
    if data.split_file is not None:
        images = _from_lists(data.folder, data.split_file)
    elif parts := part_folders(folder):
        images = _from_parts(folder, {part: class_folders(path) for part, path in parts.items()})
    else:
        images = _from_class_folders(folder)
    images.dataset = folder.resolve().name
    images.prompt_names = prompt_names(folder, images.classes)
    return images if images.parts else with_parts(images)


def with_parts(images: ImageSet) -> ImageSet:
    """The images in train, val and test, where they have no official parts: the same cut for every seed."""
    lists = by_fractions([(file, label, "") for file, label in zip(images.files, images.labels, strict=True)])
    items = [(file, label, part) for part, members in lists.items() for file, label, _ in members]
    return replace(
        images,
        files=[file for file, _, _ in items],
        labels=[label for _, label, _ in items],
        parts=[part for _, _, part in items],
        rebuilt=f"no official parts: {_RULE}",
    )


def left_out(data: UserData) -> str:
    """What lies in the folder and is not read, in one line; empty where everything is read."""
    if data.split_file is not None:
        return ""
    parts = part_folders(data.folder)
    return not_read([class_folders(path) for path in parts.values()] or [class_folders(data.folder)])


def _from_class_folders(folder: Path) -> ImageSet:
    found = class_folders(folder)
    members = found.images
    if not members:
        what = f"its {len(found.loose)} images lie in no class folder" if found.loose else "no image in it or below"
        raise UserError(f"{folder}: {what}. It should hold one folder of images per class.")
    if are_parts(members):
        raise UserError(
            f"{folder}: its folders {', '.join(members)} are called like the parts of a data set, and their images lie "
            f"in no class folders. Make a folder per class in each, or name image, class and part with --split-file."
        )
    if len(members) < 2:
        raise UserError(
            f"{folder} holds {len(members)} folders with images; it should hold one folder of images per class, and "
            f"two classes at least."
        )
    if small := [name for name, files in members.items() if 0 in fraction_counts(len(files))]:
        raise UserError(f"{folder}: too few images of {first_few(small)}; four make one each for train, val and test.")
    images = ImageSet("", folder, classes=tuple(members))
    for label, (name, files) in enumerate(members.items()):
        for file in files:
            images.add(f"{name}/{file}", label)
    return images


def _from_parts(folder: Path, found: Mapping[str, ClassFolders]) -> ImageSet:
    names = sorted({name for part in found.values() for name in part.images})
    lists = {
        part: [
            ((path.folder / name / file).relative_to(folder).as_posix(), label, name)
            for label, name in enumerate(names)
            for file in path.images.get(name, ())
        ]
        for part, path in found.items()
    }
    return _in_parts(folder, names, lists, f"its folders {', '.join(p.folder.name for p in found.values())}")


def _from_lists(folder: Path, split_file: Path) -> ImageSet:
    lists = read_split_file(split_file, folder)
    images = images_of("", folder, lists, str(split_file))
    if images.absent:
        raise UserError(
            f"{split_file} lists {len(images.absent):,} images that are not in {folder} ({first_few(images.absent)}). "
            f"Its paths should lead from that folder to the images, as cat/1.jpg does."
        )
    actual = iter(images.files)  # as they are spelled on disk
    lists = {part: [(next(actual), label, name) for _, label, name in items] for part, items in lists.items()}
    images = _in_parts(folder, images.classes, lists, split_file.name)
    images.list_files = (split_file,)
    return images


def _in_parts(
    folder: Path, classes: Sequence[str], lists: Mapping[str, Sequence[tuple[str, int, str]]], where: str
) -> ImageSet:
    """The images of those lists. Raises ``UserError`` where a part or a class lacks what training or a test needs."""
    filled = {part: items for part, items in lists.items() if items}
    if "train" not in filled or len(filled) < 2:
        raise UserError(f"{folder}: its split ({where}) needs images to train on, and others to test on.")
    prompt_names(folder, classes)  # before Cat is said to lack the images of cat
    if len(classes) < 2:
        raise UserError(f"{folder}: its split ({where}) has one class; two classes at least can be told apart.")
    untrained = [name for name in classes if name not in {item[2] for item in filled["train"]}]
    if untrained:
        raise UserError(f"{folder}: its split ({where}) has no training image of {first_few(untrained)}.")
    tested = "" if "test" in filled else "; there is no test part: val is tested"
    said = f"parts: {_AS_GIVEN} ({where}){tested}{_oddities(filled, where)}"
    images = ImageSet("", folder, classes=tuple(classes), rebuilt=said)
    for part in PARTS:
        for file, label, _ in filled.get(part, ()):
            images.add(file, label, part="test" if tested and part == "val" else part)
    return images


def _oddities(filled: Mapping[str, Sequence[tuple[str, int, str]]], where: str) -> str:
    """What a list may mean and mostly does not. Raises ``UserError`` for an image of two classes."""
    items = [item for part in filled.values() for item in part]
    class_of: dict[str, str] = {}
    for file, _, name in items:
        if class_of.setdefault(file, name) != name:
            raise UserError(f"{where}: the image {file} is both {class_of[file]!r} and {name!r}; it has one class.")
    counts = Counter(file for file, _, _ in items)
    repeated = [file for file, count in counts.items() if count > 1]
    untested = sorted(
        {name for _, _, name in items} - {name for _, _, name in filled.get("test", filled.get("val", ()))}
    )
    return "".join(
        f"; {what} ({first_few(names)})"
        for what, names in (("listed more than once", repeated), ("classes without a test image", untested))
        if names
    )

"""A folder of class folders, or of train, val and test folders that hold them: what is read, and what is not."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from clipbench.data.images import first_few
from clipbench.data.layouts.listing import folders_in, hidden_with_images, image_names, images_in, unreadable_images
from clipbench.errors import UserError

PART_FOLDERS: Mapping[str, Sequence[str]] = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
"""Names of the folders that are taken as the parts of a data set."""


@dataclass(frozen=True)
class ClassFolders:
    """The images of each class folder in order, and what lies beside, below or between them and is not read.

    Attributes:
        images: file names by class folder.
        loose: images beside the class folders.
        empty: folders without an image.
        with_more_below: class folders that have images in folders inside.
        hidden: folders with images that are passed over, for their names begin with a dot or two underscores.
        unreadable: images of a kind that cannot be read here, and links to nothing, below ``folder``.
    """

    folder: Path
    images: Mapping[str, Sequence[str]]
    loose: Sequence[str]
    empty: Sequence[str]
    with_more_below: Sequence[str]
    hidden: Sequence[str]
    unreadable: Sequence[str]


def not_read(found: Iterable[ClassFolders]) -> str:
    """What is not read of the folders, in one line; empty where everything is."""
    kinds: dict[str, list[str]] = {}
    for folders in found:
        for what, names in (
            ("images beside the class folders", folders.loose),
            ("folders without an image", folders.empty),
            ("images in folders inside a class folder", folders.with_more_below),
            ("folders whose names begin with . or __", folders.hidden),
            ("files of a kind that this Pillow cannot open, or links to nothing", folders.unreadable),
        ):
            kinds.setdefault(what, []).extend(names)
    return "; ".join(f"{what} ({first_few(names)})" for what, names in kinds.items() if names)


def part_folders(folder: Path) -> dict[str, Path]:
    """The train, val and test folders of class folders inside a folder, by part; empty where it has none.

    They are the parts where there is one to train on and another one, both hold class folders, and no other folder
    beside them holds images.
    """
    _check_is_folder(folder)
    try:
        names = folders_in(folder)
        by_name = {name.lower(): name for name in names}
        found = {
            part: folder / by_name[word]
            for part, words in PART_FOLDERS.items()
            for word in [next((w for w in words if w in by_name), "")]
            if word
        }
        others = [name for name in names if folder / name not in found.values()]
        alone = not any(image_names(folder / name) or _images_below(folder / name) for name in others)
        nested = all(_images_below(path) for path in found.values())
    except OSError as error:
        raise _cannot_read(folder, error) from error
    return found if "train" in found and len(found) > 1 and alone and nested else {}


def class_folders(folder: Path) -> ClassFolders:
    """Look through a folder of class folders, linked ones too: the one list that names and reads a data set.

    Raises ``UserError`` where it cannot be read, a class has its images in folders of its own only, or the name of a
    folder is not UTF-8.
    """
    _check_is_folder(folder)
    try:
        loose = images_in(folder)
        found = {name: images_in(folder / name) for name in folders_in(folder)}
        deeper = [name for name in found if _images_below(folder / name)]
        hidden = hidden_with_images(folder)
        unreadable = [f"{name}/{file}" for name in found for file in unreadable_images(folder / name)]
    except OSError as error:
        raise _cannot_read(folder, error) from error
    _check_names(folder, [name for name, images in found.items() if images])
    if nested := [name for name in deeper if not found[name]]:
        raise UserError(_too_deep(folder, nested, [name for name in found if found[name] or name in nested]))
    images = {name: members for name, members in found.items() if members}
    empty = [name for name in found if name not in images]
    return ClassFolders(folder, images, loose, empty, deeper, hidden, unreadable)


def are_parts(names: Collection[str]) -> bool:
    """Whether folders are all called like parts, one of them to train on: ``train`` beside ``bus`` is a class."""
    parts = [part for name in names for part, words in PART_FOLDERS.items() if name.lower() in words]
    return len(parts) == len(names) > 1 and "train" in parts


def _too_deep(folder: Path, nested: Sequence[str], filled: Sequence[str]) -> str:
    """Why folders of folders of images are neither classes nor parts; ``filled`` are all that hold images."""
    words = [word for names in PART_FOLDERS.values() for word in names]
    parts = [name for name in nested if name.lower() in words]
    if not parts:
        return (
            f"{folder}: all images of {first_few(nested)} lie in folders inside it, and those are not read. Put them "
            f"into the class folder itself, name the folder whose folders are the classes, or call the folders of a "
            f"data set that is split already train, val and test."
        )
    others = [name for name in filled if name not in parts]
    if others:
        why = f"{first_few(others)} beside them should hold no images; move them elsewhere"
    else:
        why = "there should be one folder to train on (train) and one or two others (val, test), each with images"
    return f"{folder}: folders like {first_few(parts)} are the parts of a data set, but cannot be here: {why}."


def _check_is_folder(folder: Path) -> None:
    if not folder.is_dir():
        what = "it is a file; unpack an archive first" if folder.exists() else "there is no such folder"
        raise UserError(f"{folder}: {what}. It should be a folder that holds one folder of images per class.")


def _check_names(folder: Path, names: Iterable[str]) -> None:
    """A class name goes into prompts and records, so that it must be text."""
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError:
            escaped = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
            raise UserError(
                f"{folder}: the name of the class folder {escaped!r} is not UTF-8 (archives that were made on Windows "
                f"often have such names). Rename the folder; its name is the class name in the prompts."
            ) from None


def _cannot_read(folder: Path, error: OSError) -> UserError:
    return UserError(f"{folder} cannot be read: {error.strerror} ({error.filename}).")


def _images_below(folder: Path, above: frozenset[Path] = frozenset()) -> bool:
    """Whether a folder in this one holds an image, however deep; a link back to a folder above is not followed."""
    above |= {folder.resolve()}
    inside = [folder / name for name in folders_in(folder)]
    return any(sub.resolve() not in above and (image_names(sub) or _images_below(sub, above)) for sub in inside)

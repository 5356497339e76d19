"""Segmentation sets with medvlsm's annotation files: ``anns/{train,val,test}.json`` name image, mask and prompts.

[naamiinepal/medvlsm dc36a3a data/*/anns, src/datamodules/datasets/image_text_mask.py:144-158] The images lie in
medvlsm's ``images/`` and ``masks/``, or as the data set's own archive unpacks.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from clipbench.data.catalogue import Entry
from clipbench.data.images import ImageSet
from clipbench.data.layouts.listing import images_in, text_of
from clipbench.data.layouts.locations import locations, missing
from clipbench.errors import UserError

_PARTS = ("train", "val", "test")
_MASK = re.compile(r"^(?P<stem>.*?)_mask(_\d+)?$", re.IGNORECASE)
"""BUSI's ``benign (1)_mask.png``, and ``benign (1)_mask_1.png`` where an image has more lesions than one."""


def read(entry: Entry, data_root: Path) -> ImageSet:
    """The images in the order of the annotation files, each with its masks and prompts.

    The layout's options name folders that may hold the ``annotations``, the ``sources`` (folders of ``images`` and of
    ``masks`` that belong together), the ``rename`` from medvlsm's file names to the archive's, and the form of its
    images' names (``image_names``), where that is like no other data set's: a data root of another name is taken for it
    only by that. Raises ``UserError`` where annotations or images are missing.
    """
    options = entry.layout_options
    folder = _annotations_folder(entry, data_root)
    annotations = {part: _items(folder / f"{part}.json") for part in _PARTS}
    root, images, masks = _files(entry, data_root)
    found = ImageSet(entry.id, root, classes=tuple(entry.classes), lists="medvlsm's annotation files")
    found.list_files = [folder / f"{part}.json" for part in _PARTS]
    for part in _PARTS:
        for item in annotations[part]:
            image = _look_up(images, item["img_name"], options)
            joined = _look_up(masks, item["mask_name"], options)
            if not image or not joined:
                found.lacks(item["img_name"] if not image else f"mask {item['mask_name']}", part)
                continue
            found.add(image[0], 0, part=part)
            found.masks.append(tuple(joined))
            found.prompts.append(_prompts(item["prompts"]))
    return found


def _annotations_folder(entry: Entry, data_root: Path) -> Path:
    """The folder that holds the three files. Raises ``UserError`` where there is none."""
    names = entry.layout_options["annotations"]
    folders = [*locations(entry, data_root, ("anns", ".")), *(data_root / name for name in names)]
    if folder := _with_annotations(folders):
        return folder
    if (folder := _with_annotations([data_root / "anns", data_root])) and _are_own(entry, folder):
        return folder
    raise missing(entry, data_root, "annotation files (anns/train.json, val.json and test.json of medvlsm)")


def _with_annotations(folders: Iterable[Path]) -> Path | None:
    return next((f for f in folders if all((f / f"{part}.json").is_file() for part in _PARTS)), None)


def _are_own(entry: Entry, folder: Path) -> bool:
    """Whether annotation files in a folder of no name that we know are this data set's: by the images they name."""
    try:
        items = [item for part in _PARTS for item in _items(folder / f"{part}.json")]
    except UserError:
        return False
    return _all_of_this_set(entry, [PurePosixPath(item["img_name"]).stem for item in items])


def _all_of_this_set(entry: Entry, stems: Collection[str]) -> bool:
    """Whether all of these images bear names that this data set alone gives."""
    form = entry.layout_options.get("image_names", "$^")
    return bool(stems) and all(re.fullmatch(form, stem, re.IGNORECASE) for stem in stems)


def _items(path: Path) -> list[dict[str, Any]]:
    try:
        items: list[dict[str, Any]] = json.loads(text_of(path))
        for item in items:
            _prompts(item["prompts"]), str(item["img_name"]), str(item["mask_name"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path} is not one of medvlsm's annotation files (a list of img_name, mask_name and prompts): "
            f"{type(error).__name__} {error}. Download it again."
        ) from error
    return items


def _prompts(prompts: Mapping[str, Any]) -> dict[str, Sequence[str]]:
    """Each prompt as its choices: medvlsm draws one of a list at every access."""
    return {name: tuple(text) if isinstance(text, list) else (str(text),) for name, text in prompts.items()}


Files = Mapping[str, Sequence[str]]
"""File names below the root by stem, in lower case and without ``_mask``."""


def _files(entry: Entry, data_root: Path) -> tuple[Path, Files, Files]:
    """The folder below which the images lie, and images and masks in it. Raises ``UserError`` where there are none."""
    named = locations(entry, data_root)
    for place in dict.fromkeys([*named, data_root]):
        for source in entry.layout_options["sources"]:
            images = _by_stem(place, source["images"], source["images"], masks=False)
            masks = _by_stem(place, source["masks"], source["images"], masks=True)
            if images and masks and (place in named or _all_of_this_set(entry, images)):
                return place, images, masks
    folders = [" and ".join(source["images"][:1] + source["masks"][:1]) for source in entry.layout_options["sources"]]
    raise missing(entry, data_root, f"images and masks (in {', or '.join(folders)})")


def _by_stem(root: Path, folders: Iterable[str], images: Sequence[str], *, masks: bool) -> Files:
    """The images or the masks of the folders; in a folder of images the name tells a mask."""
    found: dict[str, list[str]] = {}
    for folder in folders:
        for name in images_in(root / folder) if (root / folder).is_dir() else []:
            path = PurePosixPath(folder, name)
            match = _MASK.match(path.stem)
            if masks == (bool(match) or folder not in images):
                found.setdefault((match["stem"] if match else path.stem).lower(), []).append(path.as_posix())
    return found


def _look_up(files: Files, name: str, options: Mapping[str, Any]) -> Sequence[str]:
    """The files of an annotated name: under that name, else under the archive's."""
    stem = PurePosixPath(name).stem.lower()
    pattern, replacement = options.get("rename", ("$^", ""))
    return files.get(stem) or files.get(re.sub(pattern, replacement, stem), ())

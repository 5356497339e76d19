"""ImageNet: ``train/<wnid>/`` and ``val/<wnid>/``, with CoOp's ``classnames.txt`` beside or above them.

[KaiyangZhou/CoOp ff61507 datasets/imagenet.py; MaxZanella/CLIP-LoRA 358f0d7 datasets/imagenet.py:192, 210-212]
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from clipbench.data.catalogue import Entry
from clipbench.data.images import ImageSet
from clipbench.data.layouts.listing import first_file, image_names, lines_of
from clipbench.data.layouts.locations import locations, missing
from clipbench.errors import UserError

_NAMES = "classnames.txt"
_WNID = re.compile(r"n\d{8}")
_FOLDERS = {"train": "train", "test": "val"}
"""The validation images are the test set, as in CoOp; there is no validation set of its own."""


def read(entry: Entry, data_root: Path) -> ImageSet:
    """The training images, then the validation images as test set, each by class and then by plain file name.

    A class is numbered by its place among the sorted wnids, as the folders are. The training folder may be absent (a
    zero-shot run does without). Raises ``UserError`` where the folders or the class names are missing.
    """
    # Many data sets have a folder val; with the class names beside it, it is ImageNet's whatever the root is called.
    folders = [*locations(entry, data_root), *([data_root] if (data_root / _NAMES).is_file() else [])]
    root = next((f for f in folders if (f / "val").is_dir()), None)
    if root is None:
        raise missing(entry, data_root, "folder val/ with one folder of images per class")
    names_file, names = _class_names(entry, root, folders)
    found = ImageSet(entry.id, root, classes=tuple(names.values()), lists=_NAMES, list_files=(names_file,))
    for part, folder in _FOLDERS.items():
        for label, wnid in enumerate(names):
            path = root / folder / wnid
            # Plain order, not natural: it is ImageFolder's, from which CLIP-LoRA draws.
            for image in sorted(image_names(path)) if path.is_dir() else []:
                found.add(f"{folder}/{wnid}/{image}", label, part=part)
    if not found.files and image_names(root / "val"):
        raise UserError(
            f"{root / 'val'} holds its images side by side; they must lie in one folder per class. "
            f"Sort them there (the script valprep.sh that is commonly used does), and run the command again."
        )
    return found


def _class_names(entry: Entry, root: Path, folders: Sequence[Path]) -> tuple[Path, dict[str, str]]:
    """The file of class names, and class name by wnid, sorted by wnid.

    Raises ``UserError`` that says where the file is to be had, or which line is at fault.
    """
    path = first_file([root, root.parent, *folders], [_NAMES])
    if path is None:
        raise UserError(
            f"{entry.name} in {root}: {_NAMES} is missing, which gives the folders their class names. CoOp's "
            f"DATASETS.md (github.com/KaiyangZhou/CoOp) links it; put it into {root} or the folder above."
        )
    lines = (line.split(maxsplit=1) for line in lines_of(path) if line)
    names = {words[0]: words[1] if len(words) > 1 else words[0] for words in lines}
    if strange := [wnid for wnid in names if not _WNID.fullmatch(wnid)]:
        raise UserError(
            f"{path}: lines should be a WordNet id and a class name (n01440764 tench); {strange[0]!r} is no such id. "
            f"The images are not at fault: mend this file, or take CoOp's."
        )
    return path, {wnid: names[wnid] for wnid in sorted(names)}

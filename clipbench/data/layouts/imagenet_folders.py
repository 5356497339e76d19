"""ImageNet: ``train/<wnid>/`` and ``val/<wnid>/``, named by a ``classnames.txt`` beside them, or by CLIP's own list.

[KaiyangZhou/CoOp ff61507 datasets/imagenet.py; MaxZanella/CLIP-LoRA 358f0d7 datasets/imagenet.py:192, 210-212]
"""

from __future__ import annotations

import hashlib
import re
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import cast

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
    zero-shot run does without). The layout's option ``class_list = "clip"`` passes a ``classnames.txt`` over. Raises
    ``UserError`` where the folders are missing or a line of the class names is at fault.
    """
    # Many data sets have a folder val; with the class names beside it, it is ImageNet's whatever the root is called.
    folders = [*locations(entry, data_root), *([data_root] if (data_root / _NAMES).is_file() else [])]
    root = next((f for f in folders if (f / "val").is_dir()), None)
    if root is None:
        raise missing(entry, data_root, "folder val/ with one folder of images per class")
    names_file = first_file([root, root.parent, *folders], [_NAMES])
    if names_file is None or entry.layout_options.get("class_list") == "clip":
        names = clips_own_names()
        found = ImageSet(entry.id, root, classes=tuple(names.values()), lists=_NAMES)
        found.split_file_sha256 = _digest(names)
    else:
        names = _names_in(names_file)
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


def clips_own_names() -> dict[str, str]:
    """CLIP's own 1,000 class names by wnid, which CLIP-LoRA's and Tip-Adapter's code carry too.

    [openai/CLIP notebooks/Prompt_Engineering_for_ImageNet.ipynb], as open_clip has them; timm has the wnids. Both are
    read without importing their packages, which import torch: commands that only look at data do without it.
    """
    ids = (_package("timm") / "data/_info/imagenet_synsets.txt").read_text(encoding="utf-8").split()
    spec = spec_from_file_location("_zero_shot_metadata", _package("open_clip") / "zero_shot_metadata.py")
    if spec is None or spec.loader is None:  # the type allows it; a file that ends in .py has a loader
        raise ImportError("open_clip's class names cannot be read")
    metadata = module_from_spec(spec)
    spec.loader.exec_module(metadata)
    return dict(zip(ids, metadata.IMAGENET_CLASSNAMES, strict=True))


def _package(name: str) -> Path:
    spec = find_spec(name)
    return Path(cast(str, spec and spec.origin)).parent


def _digest(names: dict[str, str]) -> str:
    """That of a ``classnames.txt`` with these names; see :func:`clipbench.data.published.content_digest`."""
    return hashlib.sha256("\n".join(f"{wnid} {name}" for wnid, name in names.items()).encode()).hexdigest()


def _names_in(path: Path) -> dict[str, str]:
    """Class name by wnid, sorted by wnid. Raises ``UserError`` that says which line is at fault."""
    lines = (line.split(maxsplit=1) for line in lines_of(path) if line)
    names = {words[0]: words[1] if len(words) > 1 else words[0] for words in lines}
    if strange := [wnid for wnid in names if not _WNID.fullmatch(wnid)]:
        raise UserError(
            f"{path}: lines should be a WordNet id and a class name (n01440764 tench); {strange[0]!r} is no such id. "
            f"The images are not at fault: mend this file, or remove it for CLIP's own names."
        )
    return {wnid: names[wnid] for wnid in sorted(names)}

"""Readers by layout: one small module per way in which a data set lies on disk.

Adding one: write a module with a ``read(entry, data_root) -> ImageSet``, and add its line to the mapping.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path

from clipbench.data.catalogue import Entry
from clipbench.data.images import ImageSet
from clipbench.errors import UserError

LAYOUTS: Mapping[str, str] = {
    "class-folders": "clipbench.data.layouts.class_folders",
    "coop-split": "clipbench.data.layouts.coop_split",
    "fgvc-lists": "clipbench.data.layouts.fgvc_lists",
    "imagenet-folders": "clipbench.data.layouts.imagenet_folders",
    "kfold-lists": "clipbench.data.layouts.kfold_lists",
    "domain-folders": "clipbench.data.layouts.domain_folders",
    "domainnet-lists": "clipbench.data.layouts.domainnet_lists",
    "masked": "clipbench.data.layouts.masked",
}


def reader(layout: str) -> Callable[[Entry, Path], ImageSet]:
    """The reader of that layout. Raises ``UserError`` that lists the names."""
    if layout not in LAYOUTS:
        raise UserError(f"no layout {layout!r}; there are {', '.join(LAYOUTS)}.")
    read: Callable[[Entry, Path], ImageSet] = import_module(LAYOUTS[layout]).read
    return read

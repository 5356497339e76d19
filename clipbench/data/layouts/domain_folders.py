"""Domains as folders: ``<domain>/{train,val}/<class>/`` (Dassl's packages) or ``<Domain>/<Class>/`` (Office-Home).

[KaiyangZhou/Dassl.pytorch c61a1b5 dassl/data/datasets/dg/digits_dg.py:31-97, office_home_dg.py:23-47]
"""

from __future__ import annotations

from pathlib import Path

from clipbench.data.catalogue import Entry
from clipbench.data.images import ImageSet
from clipbench.data.layouts.domains import add_class_folders, domain_folders

_PARTS = ("train", "val", "test")


def read(entry: Entry, data_root: Path) -> ImageSet:
    """Domain by domain, part by part, class by class; without parts where a domain holds its class folders itself.

    Raises ``UserError`` where the domains' folders are missing.
    """
    folders = domain_folders(entry, data_root)
    found = ImageSet(entry.id, next(iter(folders.values())).parent, classes=tuple(entry.classes))
    for domain, folder in folders.items():
        parts = [part for part in _PARTS if (folder / part).is_dir()]
        for part in parts:
            add_class_folders(found, entry, domain, folder / part, part)
        if not parts:
            add_class_folders(found, entry, domain, folder)
    return found

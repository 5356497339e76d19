"""What the readers of several domains share: finding each domain's folder, and its class folders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from clipbench.data.catalogue import Entry
from clipbench.data.images import ImageSet
from clipbench.data.layouts.listing import folders_in, images_in, key, same_names
from clipbench.data.layouts.locations import locations, missing


def domain_folders(entry: Entry, data_root: Path, inside: Sequence[str] = (".",)) -> dict[str, Path]:
    """The folder of each domain, by the catalogue's name and in its order; ``Real World`` is found as ``real_world``.

    Raises ``UserError`` where no place has folders of two domains at least; that others lack is said later, by count.
    """
    here = [_domains_in(place, entry) for place in locations(entry, data_root, inside)]
    best = max(here, key=len, default={})
    if len(best) < 2:
        roots = (_domains_in(data_root / sub, entry) for sub in inside if (data_root / sub).is_dir())
        best = next((folders for folders in roots if _is_whole(folders, entry)), {})
    if not best:
        raise missing(entry, data_root, f"folders of its domains ({', '.join(entry.domains)})")
    return {name: best[name] for name in entry.domains if name in best}


def _domains_in(place: Path, entry: Entry) -> dict[str, Path]:
    by_key = {key(name): name for name in entry.domains}
    return {by_key[key(name)]: place / name for name in folders_in(place) if key(name) in by_key}


def _is_whole(folders: Mapping[str, Path], entry: Entry) -> bool:
    """Whether all domains are there with the entry's very classes, which makes a folder of any name this data set."""
    if len(folders) < len(entry.domains):
        return False
    return all(
        any(same_names(folders_in(f), entry.classes) for f in (folder, *map(folder.joinpath, folders_in(folder))))
        for folder in folders.values()
    )


def add_class_folders(found: ImageSet, entry: Entry, domain: str, folder: Path, part: str = "") -> None:
    """The images of a folder of class folders, by class and then by file name; paths start at ``found.root``."""
    by_key = {key(name): name for name in folders_in(folder)}
    for label, name in enumerate(entry.classes):
        actual = by_key.get(key(name))
        for image in images_in(folder / actual) if actual else []:
            file = (folder / actual / image).relative_to(found.root).as_posix() if actual else ""
            if file not in entry.layout_options.get("skip", ()):
                found.add(file, label, part=part, domain=domain)

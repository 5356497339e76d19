"""From a protocol's data set to its images on disk: the real ones below the data root, or the embedded subset."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from clipbench.data.cache import cache_dir
from clipbench.data.catalogue import Entry, entry
from clipbench.data.images import ImageSet, find_images
from clipbench.data.splits import train_count
from clipbench.errors import UserError
from clipbench.spec import Protocol


def image_set(protocol: Protocol, data_root: Path) -> ImageSet:
    """The protocol's images. Raises ``UserError`` where they are missing or (without ``limit``) not all there."""
    official = entry(protocol.dataset or "")
    if protocol.profile == "smoke":
        return _embedded(official)
    return find_images(official, data_root, partial=protocol.limit is not None)


def check_data(protocols: Iterable[Protocol], data_root: Path) -> dict[str, str]:
    """For every data set that is missing or incomplete, the paragraph that says so."""
    missing: dict[str, str] = {}
    for protocol in protocols:
        if protocol.profile != "smoke":
            try:
                image_set(protocol, data_root)
            except UserError as error:
                missing[protocol.dataset or ""] = str(error)
    return missing


def part_sizes(protocol: Protocol) -> tuple[int, int]:
    """Training and test images of one run, from the counts of the catalogue (or of the embedded subset)."""
    official = entry(protocol.dataset or "")
    classes = (_smoke_entry(official) if protocol.profile == "smoke" else official).classes
    train = sum(train_count(n, protocol) for n in classes.values())
    test = sum(min(n - train_count(n, protocol, limited=False), protocol.limit or n) for n in classes.values())
    return train, test


def _embedded(official: Entry) -> ImageSet:
    """The generated subset, in the genuine layout, read by the same reader as the real data."""
    from clipbench.smoke import write_subset

    return find_images(_smoke_entry(official), write_subset(official.id, cache_dir() / "smoke").parent)


def _smoke_entry(official: Entry) -> Entry:
    from clipbench.smoke import SUBSETS

    subset = SUBSETS[official.id]
    return replace(official, classes=dict.fromkeys(subset.classes, subset.images_per_class))

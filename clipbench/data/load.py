"""From a protocol's data set to its images on disk: the real ones below the data root, or the embedded subset."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from clipbench.data.cache import cache_dir
from clipbench.data.catalogue import Entry, entry
from clipbench.data.images import ImageSet, find_images
from clipbench.spec import Protocol


def image_set(protocol: Protocol, data_root: Path) -> ImageSet:
    """The protocol's images. Raises ``UserError`` where they are missing or (without ``limit``) not all there."""
    official = entry(protocol.dataset or "")
    if protocol.profile == "smoke":
        return _embedded(official)
    return find_images(official, data_root, partial=protocol.limit is not None)


def expected_entry(protocol: Protocol) -> Entry:
    """The catalogue entry with the classes and counts that the profile works on."""
    official = entry(protocol.dataset or "")
    return _smoke_entry(official) if protocol.profile == "smoke" else official


def _embedded(official: Entry) -> ImageSet:
    """The generated subset, in the genuine layout, read by the same reader as the real data."""
    from clipbench.smoke import write_subset

    return find_images(_smoke_entry(official), write_subset(official.id, cache_dir() / "smoke"))


def _smoke_entry(official: Entry) -> Entry:
    from clipbench.smoke import SUBSETS

    subset = SUBSETS[official.id]
    return replace(official, classes=dict.fromkeys(subset.classes, subset.images_per_class))

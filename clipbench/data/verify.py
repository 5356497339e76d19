"""Is this the data set? Its counts, its images one by one, copies across the split, class names and split files."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from clipbench.data.catalogue import Entry
from clipbench.data.download.presence import Presence, look
from clipbench.data.images import ImageSet, first_few
from clipbench.data.layouts import reader
from clipbench.data.layouts.listing import folders_in, images_in
from clipbench.data.published import ABSENT, PUBLISHED, content_digest, list_files, publication
from clipbench.data.verify_images import Step, copies, empty_files, in_words, opened
from clipbench.data.verify_masks import laid

_ONE_SIZE = re.compile(r"(\d+) x (\d+)( \(.*\))?")
_STRAY = 0.1
"""Share of images whose size may differ from the one that a data set is said to have."""


@dataclass(frozen=True)
class Count:
    """Images of one class, part or domain; ``official`` is None where no official number is known."""

    axis: str
    name: str
    found: int
    official: int | None

    @property
    def differs(self) -> bool:
        """Whether an official number is known and is another."""
        return self.official is not None and self.found != self.official


@dataclass(frozen=True)
class Finding:
    """One sentence; ``wrong`` where the data are not what they should be, else a remark."""

    wrong: bool
    text: str


@dataclass(frozen=True)
class Verified:
    """All that was looked at."""

    presence: Presence
    counts: Sequence[Count] = ()
    findings: Sequence[Finding] = ()

    @property
    def right(self) -> bool:
        """Whether nothing is wrong."""
        return self.presence.state == "complete" and not any(finding.wrong for finding in self.findings)


def verify(entry: Entry, data_root: Path, begin: Callable[[int], Step], *, quick: bool = False) -> Verified:
    """Look at everything; ``quick`` counts files and opens none. A data set that is missing has no findings.

    ``begin`` is told how many files will be opened or hashed, and gives who is told of each.
    """
    presence = look(entry, data_root)
    if presence.state == "missing":
        return Verified(presence)
    found = reader(entry.layout)(entry, data_root)
    findings = [*_whole(presence), *_names(entry, found), *_splits(entry, data_root, found), *_empty(found, quick)]
    if not quick:
        step = begin(2 * len(found.files) + sum(map(len, found.masks)))
        findings += [*_opened(entry, found, step), *_laid(found, step), *_copied(entry, found, step)]
    return Verified(presence, tuple(_counts(entry, found)), tuple(findings))


def _counts(entry: Entry, found: ImageSet) -> Iterator[Count]:
    """Parts and domains that there are or should be, then classes."""
    classes = Counter(found.classes[label] for label in found.labels)
    official = {name: number or None for name, number in entry.classes.items()}
    axes = (("part", Counter(found.parts), entry.parts), ("domain", Counter(found.domains), entry.domains))
    for axis, got, due in axes:
        yield from (Count(axis, name, got[name], due.get(name)) for name in dict.fromkeys((*due, *got)))
    yield from (Count("class", name, classes[name], official.get(name)) for name in found.classes)


def _whole(presence: Presence) -> Iterator[Finding]:
    if presence.state != "complete":
        yield Finding(True, presence.message)
    if presence.rebuilt:
        yield Finding(False, f"The split file is absent: {presence.rebuilt}")


def _names(entry: Entry, found: ImageSet) -> Iterator[Finding]:
    """Class names against the catalogue's, and folders of images that belong to no class."""
    unknown = [name for name in found.classes if entry.classes and name not in entry.classes]
    lacking = [name for name in entry.classes if name not in found.classes]
    if unknown:
        yield Finding(True, f"Class names that the catalogue does not have: {first_few(unknown)}.")
    if lacking:
        yield Finding(True, f"Classes of the catalogue that are not there: {first_few(lacking)}.")
    if entry.class_count and len(found.classes) != entry.class_count:
        yield Finding(True, f"It has {len(found.classes):,} classes, not {entry.class_count:,}.")
    read = {name.partition("/")[0] for name in (*found.files, *found.absent)}
    read |= {name.partition("/")[0] for masks in found.masks for name in masks}
    strangers = [f for f in folders_in(found.root) if f not in read and images_in(found.root / f)]
    if strangers:
        yield Finding(False, f"Folders of images that are no class of it, passed over: {first_few(strangers)}.")


def _splits(entry: Entry, data_root: Path, found: ImageSet) -> Iterator[Finding]:
    paths = list_files(entry, data_root, found)
    verdict = publication(entry, paths, content_digest(paths))
    if verdict == PUBLISHED:
        yield Finding(False, f"The split is the published one ({first_few([path.name for path in paths])}).")
    elif verdict and not (verdict == ABSENT and found.rebuilt):
        where = f" in {paths[0].parent}" if paths else ""
        yield Finding(True, f"Split files{where}: {verdict}.")


def _empty(found: ImageSet, quick: bool) -> Iterator[Finding]:
    """Zero bytes, which opening the images would tell too, with more words."""
    empty = empty_files(found) if quick else []
    if empty:
        yield Finding(True, f"{len(empty):,} images have zero bytes: {first_few(empty)}.")


def _opened(entry: Entry, found: ImageSet, step: Step) -> Iterator[Finding]:
    looked = opened(found, step)
    yield from (Finding(True, f"{said[0].upper()}{said[1:]}") for said in looked.unreadable)
    official = _ONE_SIZE.fullmatch(entry.image_size)
    if official and looked.sizes:
        due = (int(official[1]), int(official[2]))
        total, other = sum(looked.sizes.values()), sum(n for size, n in looked.sizes.items() if size != due)
        width, height = max(looked.sizes, key=lambda size: looked.sizes[size])
        if other > _STRAY * total:
            told = f"{other:,} of {total:,} images are not {entry.image_size} but mostly {width} x {height}: scaled."
            yield Finding(True, f"{told} Accuracies on them are not those of the data set.")


def _laid(found: ImageSet, step: Step) -> Iterator[Finding]:
    """Masks that cannot be read, that do not fit their image, and images whose masks are turned with them."""
    masks = laid(found, step)
    yield from (Finding(True, f"{said[0].upper()}{said[1:]}") for said in masks.faults)
    if masks.blank:
        yield Finding(True, masks.blank)
    if masks.turned:
        told = f"{len(masks.turned):,} images have an orientation tag ({first_few(masks.turned)})"
        yield Finding(False, f"{told}; images and masks are read as stored, or turned by it with exif=rotate.")


def _copied(entry: Entry, found: ImageSet, step: Step) -> Iterator[Finding]:
    same = copies(found, step)
    between = "in two domains, or in train and test" if found.domains else "in both train and test"
    if same.shared:
        known = entry.acquisition.known_duplicates if entry.acquisition else 0
        of_old = f" The official set is known to have {known}." if known else ""
        told = f"{len(same.shared):,} images are {between}, byte by byte: {in_words(same.shared)}.{of_old}"
        yield Finding(len(same.shared) > known, told)
    if same.repeated:
        yield Finding(False, f"{len(same.repeated):,} images are there more than once: {in_words(same.repeated)}.")

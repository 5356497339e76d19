"""The official images of a data set on disk: found by its reader, then held against the catalogue's counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from clipbench.data.catalogue import Entry
from clipbench.data.images import ImageSet, first_few
from clipbench.data.layouts import reader
from clipbench.data.published import note_publication
from clipbench.errors import UserError


def find_images(
    entry: Entry,
    data_root: Path,
    *,
    partial: bool = False,
    official: bool = True,
    needs: Sequence[str] = (),
) -> ImageSet:
    """Every image of the data set below ``data_root``.

    Hidden files, ``Thumbs.db`` and the like are passed over; extensions and class names match whatever their case.

    Args:
        partial: accept a data set of which images are absent.
        official: compare with the official counts and split files; generated subsets have counts of their own.
        needs: the parts that are wanted (all of them by default): a zero-shot run does without the training images.

    Raises:
        UserError: a class or a domain has no image; there are more than the official number (then it is another data
            set); or, unless ``partial``, images that the split lists are absent or a count is not the official one.
    """
    images = reader(entry.layout)(entry, data_root)
    wanted = [part for part in entry.parts if not needs or part in needs]
    _check_none_empty(entry, images)
    shortfall, surplus = _compared(entry, images, wanted) if official else ("", False)
    absent = _absent(images, wanted)
    if surplus or ((shortfall or absent) and not partial):
        raise UserError(_refusal(entry, images, f"{shortfall} {absent}".strip(), surplus=surplus))
    images.complete = not (shortfall or absent)
    images.shortfall = f"{shortfall} {absent}".strip()
    images.template = entry.template
    images.prompt_names = tuple(entry.prompt_name(name) for name in images.classes)
    images.tested_parts = tuple(entry.tested_parts)
    note_publication(entry, data_root, images, official=official)
    return images


def _check_none_empty(entry: Entry, images: ImageSet) -> None:
    present, domains = set(images.labels), set(images.domains)
    empty = [name for label, name in enumerate(images.classes) if label not in present]
    empty += [f"the domain {name}" for name in entry.domains if name not in domains] if entry.domains else []
    if empty:
        counts, _ = _compared(entry, images, list(entry.parts))
        absent = _absent(images, list(entry.parts))
        said = f"{entry.name} in {images.root}: no image at all of {first_few(empty)}. {counts} {absent} {entry.how}"
        raise UserError(" ".join(said.split()))


def _compared(entry: Entry, images: ImageSet, wanted: Sequence[str]) -> tuple[str, bool]:
    """What differs from the official counts, in one sentence (empty if nothing does), and whether there are too many.

    Compared are the parts, the domains and the classes, as far as their official numbers are known; the first that
    differ are told.
    """
    checks = [
        ("parts", {part: entry.parts[part] for part in wanted}, images.parts),
        ("domains", entry.domains, images.domains),
    ]
    if set(wanted) == set(entry.parts) and all(entry.classes.values()):
        checks.append(("classes", entry.classes, [images.classes[label] for label in images.labels]))
    for axis, due, each in checks:
        counts = Counter(each)
        sentence, surplus = _differences(axis, due, {name: counts[name] for name in due})
        if sentence:
            return sentence, surplus
    return "", False


def _differences(axis: str, due: Mapping[str, int], got: Mapping[str, int]) -> tuple[str, bool]:
    wrong = [name for name, number in due.items() if got[name] != number]
    if not wrong:
        return "", False
    shown = first_few([f"{name} {got[name]:,} of {due[name]:,}" for name in wrong])
    total = f"{sum(got.values()):,} of {sum(due.values()):,} images"
    sentence = f"It has {total}; {len(wrong)} of {len(due)} {axis} differ: {shown}."
    return sentence, any(got[name] > due[name] for name in wrong)


def _absent(images: ImageSet, wanted: Iterable[str]) -> str:
    """How many images the split lists that are not there, in one sentence; empty if none."""
    parts = set(wanted)
    absent = [file for file, part in zip(images.absent, images.absent_parts, strict=True) if not parts or part in parts]
    if not absent:
        return ""
    return f"Listed in {images.lists}, but not there: {len(absent):,} images ({first_few(absent)})."


def _refusal(entry: Entry, images: ImageSet, faults: str, *, surplus: bool) -> str:
    way_out = "." if surplus else ", or pass --limit N to run on a part of it, marked as such."
    return (
        f"{entry.name} in {images.root} is not the official data set. {faults} A number measured on it could not be "
        f"compared. {'Replace' if surplus else 'Complete'} it ({entry.how.rstrip('.')}){way_out}"
    )

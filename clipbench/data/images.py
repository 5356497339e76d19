"""The images of a data set on disk, and checking that all of them are there."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from clipbench.data.catalogue import Entry
from clipbench.data.layouts import reader
from clipbench.data.layouts.found import Found, listed
from clipbench.errors import UserError


@dataclass(frozen=True)
class ImageSet:
    """The images of one data set, in an order that every machine agrees on.

    That is the order of the split file (train, then val, then test) where there is one, else class by class and then by
    file name. ``labels`` index ``classes``; ``prompt_names`` is what goes into the template for each class. ``parts``
    (train, val, test) and ``domains`` are per image, empty where the data set has none; so are ``masks`` (files that
    are joined to one mask) and ``prompts`` (medvlsm's, by name). ``tested_parts`` are those of a held-out domain that
    its official test list covers (all of it where empty). ``rebuilt`` says how the split came about where the official
    one was absent.
    """

    dataset: str
    root: Path
    files: Sequence[str]
    labels: Sequence[int]
    classes: Sequence[str]
    complete: bool
    shortfall: str = ""
    parts: Sequence[str] = ()
    domains: Sequence[str] = ()
    masks: Sequence[Sequence[str]] = ()
    prompts: Sequence[Mapping[str, Sequence[str]]] = ()
    template: str = "a photo of a {}."
    rebuilt: str = ""
    prompt_names: Sequence[str] = ()
    tested_parts: Sequence[str] = ("test",)

    def __len__(self) -> int:
        return len(self.files)


def default_data_root() -> Path:
    """``$CLIPBENCH_DATA``, else ``./data``."""
    return Path(os.environ.get("CLIPBENCH_DATA", "data"))


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
    Raises ``UserError`` where a class (or a domain) has no image or there are more than the official number (then it is
    another data set), or (unless ``partial``) where images that the split lists are absent or a count is not the
    official one. Not ``official`` are the generated subsets, whose counts are their own. ``needs`` names the parts that
    are wanted (all of them by default): a zero-shot run does without the training images.
    """
    found = reader(entry.layout)(entry, data_root)
    wanted = [part for part in entry.parts if not needs or part in needs]
    _check_none_empty(entry, found)
    shortfall, surplus = _compared(entry, found, wanted) if official else ("", False)
    absent = _absent(found, wanted)
    if surplus or ((shortfall or absent) and not partial):
        raise UserError(_refusal(entry, found, f"{shortfall} {absent}".strip(), surplus=surplus))
    return ImageSet(
        dataset=entry.id,
        root=found.root,
        files=tuple(found.files),
        labels=tuple(found.labels),
        classes=tuple(found.classes),
        complete=not (shortfall or absent),
        shortfall=f"{shortfall} {absent}".strip(),
        parts=tuple(found.parts),
        domains=tuple(found.domains),
        masks=tuple(found.masks),
        prompts=tuple(found.prompts),
        template=entry.template,
        rebuilt=found.rebuilt,
        prompt_names=tuple(entry.prompt_name(name) for name in found.classes),
        tested_parts=tuple(entry.tested_parts),
    )


def _check_none_empty(entry: Entry, found: Found) -> None:
    present, domains = set(found.labels), set(found.domains)
    empty = [name for label, name in enumerate(found.classes) if label not in present]
    empty += [f"the domain {name}" for name in entry.domains if name not in domains] if entry.domains else []
    if empty:
        counts, _ = _compared(entry, found, list(entry.parts))
        absent = _absent(found, list(entry.parts))
        said = f"{entry.name} in {found.root}: no image at all of {listed(empty)}. {counts} {absent} {entry.how}"
        raise UserError(" ".join(said.split()))


def _compared(entry: Entry, found: Found, wanted: Sequence[str]) -> tuple[str, bool]:
    """What differs from the official counts, in one sentence (empty if nothing does), and whether there are too many.

    Compared are the parts, the domains and the classes, as far as their official numbers are known; the first that
    differ are told.
    """
    checks = [
        ("parts", {part: entry.parts[part] for part in wanted}, found.parts),
        ("domains", entry.domains, found.domains),
    ]
    if set(wanted) == set(entry.parts) and all(entry.classes.values()):
        checks.append(("classes", entry.classes, [found.classes[label] for label in found.labels]))
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
    shown = listed([f"{name} {got[name]:,} of {due[name]:,}" for name in wrong])
    total = f"{sum(got.values()):,} of {sum(due.values()):,} images"
    sentence = f"It has {total}; {len(wrong)} of {len(due)} {axis} differ: {shown}."
    return sentence, any(got[name] > due[name] for name in wrong)


def _absent(found: Found, wanted: Iterable[str]) -> str:
    """How many images the split lists that are not there, in one sentence; empty if none."""
    parts = set(wanted)
    absent = [file for file, part in zip(found.absent, found.absent_parts, strict=True) if not parts or part in parts]
    if not absent:
        return ""
    return f"Listed in {found.lists}, but not there: {len(absent):,} images ({listed(absent)})."


def _refusal(entry: Entry, found: Found, faults: str, *, surplus: bool) -> str:
    way_out = "." if surplus else ", or pass --limit N to run on a part of it, marked as such."
    return (
        f"{entry.name} in {found.root} is not the official data set. {faults} A number measured on it could not be "
        f"compared. {'Replace' if surplus else 'Complete'} it ({entry.how.rstrip('.')}){way_out}"
    )

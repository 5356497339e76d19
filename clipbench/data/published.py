"""Split files and class lists on disk against the published ones, by content: spaces and line ends do not matter."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from clipbench.data.catalogue import Entry
from clipbench.data.images import ImageSet, first_few
from clipbench.data.layouts.coop_split import PARTS, read_split
from clipbench.data.layouts.listing import text_of
from clipbench.data.layouts.locations import locations

_INSIDE = (".", "anns", "splits", "images")
"""Where lists lie inside a data set's folder."""
PUBLISHED, ABSENT = "published", "absent"


def note_publication(entry: Entry, data_root: Path, images: ImageSet, *, official: bool) -> None:
    """Note the digest of the data set's lists in ``images``, and a sentence for what is not the published one."""
    paths = list_files(entry, data_root, images)
    if not paths:
        return
    images.split_file_sha256 = content_digest(paths)
    verdict = publication(entry, paths, images.split_file_sha256) if official else ""
    if verdict not in ("", PUBLISHED, ABSENT):
        names = first_few([path.name for path in paths])
        images.unpublished = (f"{images.dataset}: {names} in {paths[0].parent}: {verdict}",)


def list_files(entry: Entry, data_root: Path, images: ImageSet) -> list[Path]:
    """The published split files and class lists of a data set that are there, in the catalogue's order.

    Those that its reader read come first; else of several copies the first that a reader would take. A data set of
    which none is published gives what its reader read.
    """
    read = {path.name: path for path in images.list_files}
    if entry.acquisition is None or not entry.acquisition.split_files:
        return list(images.list_files)
    folders = [
        *locations(entry, data_root, _INSIDE),
        *(data_root / name for name in entry.layout_options.get("annotations", ())),
    ]
    folders += [data_root / name for name in _INSIDE]  # a reader has found the data set, so the root may be it
    copies = (
        read.get(name) or next((f / name for f in folders if (f / name).is_file()), None)
        for name in entry.acquisition.split_files
    )
    return [path for path in copies if path is not None]


def content_digest(paths: Iterable[Path]) -> str:
    """SHA-256 of what the files say: JSON in one spelling, lists as their lines without blank space around them.

    Raises ``UserError`` for a file that is not of the form that its name promises, or not text.
    """
    return hashlib.sha256("\n".join(_canonical(path) for path in paths).encode()).hexdigest()


def publication(entry: Entry, paths: Sequence[Path], digest: str) -> str:
    """What the lists are: ``published``, ``absent``, or how they differ; empty where no published digest is known."""
    plan = entry.acquisition
    if plan is None or not plan.split_content:
        return ""
    if not paths:
        return ABSENT
    if len(paths) < len(plan.split_files):
        missing = [name for name in plan.split_files if name not in {path.name for path in paths}]
        return f"not all there, {first_few(missing)} missing"
    if digest == plan.split_content:
        return PUBLISHED
    known = plan.other_contents.get(digest, "")
    return f"other content than the published ({known or f'SHA-256 {digest[:12]}, not {plan.split_content[:12]}'})"


def _canonical(path: Path) -> str:
    text = text_of(path)
    if path.suffix != ".json":
        return "\n".join(" ".join(line.split()) for line in text.splitlines() if line.strip())
    content = json.loads(text)
    if isinstance(content, dict) and set(content) == set(PARTS):
        content = read_split(path)
    return json.dumps(content, sort_keys=True, separators=(",", ":"))

"""Split files on disk against the published ones, by content: spaces and line ends do not matter, the images do."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from clipbench.data.catalogue import Entry
from clipbench.data.layouts.found import listed
from clipbench.data.layouts.places import places

_INSIDE = (".", "anns", "splits", "images")
"""Where lists lie inside a data set's folder."""


def split_files(entry: Entry, data_root: Path) -> list[Path]:
    """Those of the data set's published split files that are there; of several copies the first that a reader takes."""
    if entry.acquisition is None:
        return []
    folders = [*places(entry, data_root, _INSIDE), *(data_root / name for name in entry.reading.get("annotations", ()))]
    folders += [data_root / name for name in _INSIDE]  # a reader has found the data set, so the root may be it
    found = (next((f / name for f in folders if (f / name).is_file()), None) for name in entry.acquisition.split_files)
    return [path for path in found if path is not None]


def content_digest(paths: Iterable[Path]) -> str:
    """SHA-256 of what the files say: JSON in one spelling, lists as their lines without blank space around them.

    Raises ``ValueError`` for a file that is not JSON though its name says so, or not text.
    """
    return hashlib.sha256("\n".join(_canonical(path) for path in paths).encode()).hexdigest()


def published(entry: Entry, paths: Sequence[Path]) -> str:
    """What the split files are, in a few words: ``published``, or how they differ; empty where nothing is known."""
    plan = entry.acquisition
    if plan is None or not plan.split_content:
        return ""
    if len(paths) < len(plan.split_files):
        missing = [name for name in plan.split_files if name not in {path.name for path in paths}]
        return f"not all there: {listed(missing)} missing" if paths else "absent"
    try:
        same = content_digest(paths) == plan.split_content
    except ValueError as error:
        return f"unreadable: {error}"
    return "published" if same else "other content than the published"


def _canonical(path: Path) -> str:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".json":
        return json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"))
    return "\n".join(line.strip() for line in text.splitlines() if line.strip())

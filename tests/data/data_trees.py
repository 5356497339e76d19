"""Tiny data sets on disk, in the genuine layouts, for the tests of the readers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from clipbench.data.catalogue import Entry, entry

Lists = Mapping[str, Sequence[tuple[str, int, str]]]


def touch(root: Path, files: Iterable[str]) -> None:
    """Empty files of those names below the root."""
    paths = [root / name for name in files]
    for folder in {path.parent for path in paths}:
        folder.mkdir(parents=True, exist_ok=True)
    for path in paths:
        path.touch()


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def small(dataset: str, **changes: Any) -> Entry:
    """The data set's entry with official counts taken away, but for those in ``changes``."""
    bare: dict[str, Any] = {"classes": {}, "class_parts": {}, "parts": {}, "class_count": 0}
    return replace(entry(dataset), **(bare | changes))


def split_lists(classes: Mapping[str, str], train: int = 4, val: int = 2, test: int = 3) -> dict[str, Any]:
    """A split of ``folder/image_0001.jpg`` images, as many of each part per class; ``classes`` maps folder to name."""
    lists: dict[str, list[list[Any]]] = {"train": [], "val": [], "test": []}
    for label, (folder, name) in enumerate(classes.items()):
        files = iter(range(1, train + val + test + 1))
        for part, count in (("train", train), ("val", val), ("test", test)):
            lists[part] += [[f"{folder}/image_{next(files):04d}.jpg", label, name] for _ in range(count)]
    return lists


def files_of(lists: Mapping[str, Iterable[Sequence[Any]]]) -> list[str]:
    return [item[0] for items in lists.values() for item in items]


def write_split(path: Path, lists: Mapping[str, Any]) -> None:
    write(path, json.dumps(lists))

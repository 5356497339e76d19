"""A user's own split: CoOp's JSON, or CSV with a line per image."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from clipbench.data.images import first_few
from clipbench.data.layouts.coop_split import PARTS, read_split, relative_lists
from clipbench.data.layouts.listing import text_of
from clipbench.data.layouts.rebuild import Lists
from clipbench.data.user.folders import PART_FOLDERS
from clipbench.errors import UserError

_COLUMNS = {
    "file": ("file", "image", "path", "filename", "filepath", "image_path", "img"),
    "class": ("class", "classname", "class_name", "label", "label_name", "category"),
    "part": ("part", "split", "set", "subset", "fold"),
}
"""Names of the columns of a CSV file, in any case."""


def read_split_file(path: Path) -> Lists:
    """The train, val and test lists of (image, label, class name).

    A CSV file names image, class and part (train, val, test) of each line in its columns; classes are numbered in the
    order of their sorted names. Raises ``UserError`` that names the file and the line.
    """
    return read_split(path) if path.suffix.lower() == ".json" else _read_csv(path)


def _read_csv(path: Path) -> Lists:
    text = text_of(path)
    first_line = text.partition("\n")[0]
    delimiter = max(",;\t", key=first_line.count)
    rows = list(csv.DictReader(io.StringIO(text), delimiter=delimiter))
    columns = _columns(path, list(rows[0]) if rows else [])
    if not rows:
        raise UserError(f"{path} lists no image.")
    cells = [tuple((row[columns[kind]] or "").strip() for kind in _COLUMNS) for row in rows]
    labels = {name: label for label, name in enumerate(sorted({name for _, name, _ in cells}))}
    lists: dict[str, list[tuple[str, int, str]]] = {part: [] for part in PARTS}
    for number, (file, name, part) in enumerate(cells, start=2):
        known = next((p for p, words in PART_FOLDERS.items() if part.lower() in words), None)
        if not file or not name or known is None:
            raise UserError(
                f"{path}, line {number}: it should name an image, its class, and train, val or test; it says "
                f"{file!r}, {name!r}, {part!r}."
            )
        lists[known].append((file, labels[name], name))
    return relative_lists(lists, path)


def _columns(path: Path, header: Sequence[str]) -> dict[str, str]:
    """The name of the column of each kind."""
    by_name = {(name or "").strip().lower(): name for name in header}
    found = {kind: next((by_name[w] for w in words if w in by_name), None) for kind, words in _COLUMNS.items()}
    if missing := [kind for kind, name in found.items() if name is None]:
        raise UserError(
            f"{path}: it has no column for {' and '.join(missing)}; its columns are {first_few(list(header), 8)}. A "
            f"split file is CoOp's JSON (train, val, test: lists of [image, label, class name]), or CSV with the "
            f"columns file, class and part."
        )
    return {kind: name for kind, name in found.items() if name is not None}

"""A user's own split: CoOp's JSON, or CSV with a line per image."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from clipbench.data.images import first_few
from clipbench.data.layouts.coop_split import FORM, PARTS, entries, in_words, relative_lists
from clipbench.data.layouts.listing import text_of
from clipbench.data.layouts.rebuild import Lists
from clipbench.data.user.folders import PART_FOLDERS
from clipbench.errors import UserError

_COLUMNS = {
    "file": ("file", "image", "path", "filename", "filepath", "image_path", "img"),
    "class": ("classname", "class_name", "label_name", "category_name", "class", "label", "category"),
    "part": ("part", "split", "set", "subset", "fold"),
}
"""Names of the columns of a CSV file, in any case; of several the first: ``label`` may hold the names' numbers."""


def read_split_file(path: Path, root: Path) -> Lists:
    """The train, val and test lists of (image, label, class name), with paths below the images' folder ``root``.

    A CSV file names image, class and part (train, val, test) of each line in its columns; classes are numbered in the
    order of their sorted names. In JSON and CSV the parts may be called as their folders may, and val or test may be
    absent. Raises ``UserError`` that names the file and the line.
    """
    text = text_of(path)
    lists = _read_json(path, text) if text.lstrip().startswith(("{", "[")) else _read_csv(path, text)
    return relative_lists(lists, path, root)


def _read_json(path: Path, text: str) -> Lists:
    try:
        content = json.loads(text)
        if not isinstance(content, dict):
            raise TypeError
        named = {part: next((k for k in content if k.lower() in words), "") for part, words in PART_FOLDERS.items()}
        return {part: entries(content[key] or [], key) if key else [] for part, key in named.items()}
    except (ValueError, AttributeError, TypeError, RecursionError) as error:
        raise UserError(f"{path} is not a split file of {FORM}: {in_words(error)}.") from error


def _read_csv(path: Path, text: str) -> Lists:
    first_line = text.partition("\n")[0]
    delimiter = max(",;\t|", key=first_line.count)
    try:
        rows = list(csv.DictReader(io.StringIO(text), delimiter=delimiter))
    except csv.Error as error:
        raise UserError(f"{path} is no CSV file ({error}); look for a quotation mark that is not closed.") from None
    columns = _columns(path, first_line.split(delimiter) if first_line.strip() else [], rows)
    cells = [tuple((row[columns[kind]] or "").strip() for kind in _COLUMNS) for row in rows]
    labels = {name: label for label, name in enumerate(sorted({name for _, name, _ in cells}))}
    lists: dict[str, list[tuple[str, int, str]]] = {part: [] for part in PARTS}
    for number, (file, name, part) in enumerate(cells, start=2):
        known = next((p for p, words in PART_FOLDERS.items() if part.lower() in words), None)
        if not file or not name or known is None:
            raise UserError(
                f"{path}, line {number}: it should name an image, its class, and train, val or test; it says "
                f"{file[:80]!r}, {name[:80]!r}, {part[:80]!r}."
            )
        lists[known].append((file, labels[name], name))
    return lists


def _columns(path: Path, header: Sequence[str], rows: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """The name of the column of each kind. Raises ``UserError`` where one is missing, or there is no line below."""
    by_name = {(name or "").strip().lower(): name for name in (rows[0] if rows else header)}
    found = {kind: next((by_name[w] for w in words if w in by_name), None) for kind, words in _COLUMNS.items()}
    if missing := [kind for kind, name in found.items() if name is None]:
        raise UserError(
            f"{path}: it has no column for {' and '.join(missing)}; its columns are "
            f"{first_few(list(header), 8) or 'none'}. A split file is CoOp's JSON (train, val, test: lists of [image, "
            f"label, class name]), or CSV with the columns file, class and part."
        )
    if not rows:
        raise UserError(f"{path} lists no image: it ends behind the names of its columns.")
    return {kind: name for kind, name in found.items() if name is not None}

"""The catalogue: one entry per data set with its layout, classes, official counts, licence, citation and source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from clipbench.errors import UserError
from clipbench.spec.reading import read_toml, strict

_FOLDER = Path(__file__).parent
_KEYS = {
    "name": str,
    "family": str,
    "folders": list,
    "format": str,
    "image_size": str,
    "licence": str,
    "home": str,
    "how": str,
    "citation": str,
    "classes": dict,
}


@dataclass(frozen=True)
class Entry:
    """One data set. ``classes`` maps each class name, spelled as on disk, to its official number of images.

    ``folders`` are the places below the data root where the class folders are looked for, the genuine one first;
    ``gone`` says why the data can no longer be had, where that is so.
    """

    id: str
    name: str
    family: str
    folders: Sequence[str]
    format: str
    image_size: str
    licence: str
    home: str
    how: str
    citation: str
    classes: Mapping[str, int]
    gone: str = ""

    @property
    def images(self) -> int:
        """Official number of images."""
        return sum(self.classes.values())


def known() -> tuple[str, ...]:
    """Ids of the data sets that have an entry."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.toml")))


@cache
def entry(dataset: str) -> Entry:
    """The entry of a data set. Raises ``UserError`` that lists the known ones."""
    if dataset not in known():
        raise UserError(f"no data set {dataset!r} in the catalogue; it knows {', '.join(known())}.")
    path = _FOLDER / f"{dataset}.toml"
    return Entry(id=dataset, **strict(read_toml(path), str(path), _KEYS, {"gone": str}))

"""The catalogue: one entry per data set with its layout, classes, official counts, licence, citation and source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from clipbench.data.catalogue.acquisition import Acquisition, read_acquisition
from clipbench.errors import UserError
from clipbench.registry.toml_files import read_toml, strict

_FOLDER = Path(__file__).parent
_PARTS = ("train", "val", "test")
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
}
_OPTIONAL: dict[str, type | tuple[type, ...]] = {
    "gone": str,
    "layout": str,
    "template": str,
    "class_count": int,
    "classes": (dict, list),
    "prompt_names": dict,
    "parts": dict,
    "domains": dict,
    "tested_parts": list,
    "layout_options": dict,
    "acquisition": dict,
}


@dataclass(frozen=True)
class Entry:
    """One data set. ``classes`` maps each class name to its official number of images.

    The names are spelled as on disk or, where a split file brings names, as that file spells them; the number is 0
    where it is not officially known, and the mapping is empty where the names come with the data (ImageNet).

    ``folders`` are the folders below the data root where the data set is looked for, the genuine one first; ``layout``
    names the reader in ``clipbench.data.layouts`` and ``layout_options`` what that reader wants to know. ``parts`` are
    official counts of train, val and test, ``domains`` those of each domain, ``class_parts`` those of each class and
    part; each is empty where it does not apply or is not known. ``tested_parts`` are the parts of a held-out domain
    that its official test list covers, empty for the whole. ``gone`` says why the data can no longer be had, where that
    is so.
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
    layout: str = "class-folders"
    template: str = "a photo of a {}."
    class_count: int = 0
    prompt_names: Mapping[str, str] = field(default_factory=dict)
    parts: Mapping[str, int] = field(default_factory=dict)
    class_parts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    domains: Mapping[str, int] = field(default_factory=dict)
    tested_parts: Sequence[str] = ("test",)
    layout_options: Mapping[str, Any] = field(default_factory=dict)
    acquisition: Acquisition | None = None

    @property
    def images(self) -> int:
        """Official number of images."""
        return sum((self.parts or self.domains or self.classes).values())

    def prompt_name(self, name: str) -> str:
        """What stands for a class in a prompt: the entry's own form, or the name with spaces for underscores."""
        return self.prompt_names.get(name, name.replace("_", " "))


@cache
def known() -> tuple[str, ...]:
    """Ids of the data sets that have an entry."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.toml")))


@cache
def entry(dataset: str) -> Entry:
    """The entry of a data set. Raises ``UserError`` that lists the known ones."""
    if dataset not in known():
        raise UserError(f"no data set {dataset!r} in the catalogue; it knows {', '.join(known())}.")
    path = _FOLDER / f"{dataset}.toml"
    return _entry(dataset, strict(read_toml(path), str(path), _KEYS, _OPTIONAL), str(path))


def _entry(dataset: str, table: dict[str, Any], where: str) -> Entry:
    listed = table.pop("classes", {})
    counts = _counts(dict.fromkeys(listed, 0) if isinstance(listed, list) else listed, where)
    acquisition = read_acquisition(table.pop("acquisition", {}), where)
    table.setdefault("class_count", len(counts))
    return Entry(
        id=dataset,
        classes={name: sum(parts.values()) for name, parts in counts.items()},
        class_parts={name: parts for name, parts in counts.items() if set(parts) == set(_PARTS)},
        acquisition=acquisition,
        **table,
    )


def _counts(classes: Mapping[str, Any], where: str) -> dict[str, Mapping[str, int]]:
    """Counts of each class: a number is all of it, a list of three is train, val and test."""
    counts: dict[str, Mapping[str, int]] = {}
    for name, value in classes.items():
        numbers = value if isinstance(value, list) else [value]
        if len(numbers) not in (1, len(_PARTS)) or not all(isinstance(n, int) and n >= 0 for n in numbers):
            raise UserError(f"{where}: the class {name} = {value!r} should be a number, or three (train, val, test)")
        counts[name] = dict(zip(_PARTS, numbers, strict=True)) if len(numbers) > 1 else {"": numbers[0]}
    return counts

"""ODG-CLIP's open-set domain generalisation: which classes each source domain has, and which are tested.

The scripts fix one target domain per benchmark [mainaksingha01/ODG-CLIP 7024a43 pacs.py, officehome.py, digitsdg.py,
minidomainnet.py]; for the other targets the three class lists go to the remaining domains in the catalogue's order.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from clipbench.errors import UserError

_FILE = Path(__file__).parent.parent / "catalogue" / "odg_splits.json"


@dataclass(frozen=True)
class ClassSplit:
    """Class names of the three source slots, of the target domain, and those seen in any source."""

    sources: Sequence[frozenset[str]]
    target: frozenset[str]

    @property
    def known(self) -> frozenset[str]:
        """Classes that at least one source domain has; the others are unknown to the model."""
        return frozenset().union(*self.sources)


def class_split(dataset: str, classes: Sequence[str]) -> ClassSplit:
    """The class lists of a benchmark. Raises ``UserError`` for a data set without one, or with other classes."""
    table = _table().get(dataset)
    if table is None:
        raise UserError(f"ODG-CLIP has no class split of {dataset}; it has {', '.join(_table())}.")
    if len(classes) != table["classes"]:
        raise UserError(
            f"ODG-CLIP's class split of {dataset} is of {table['classes']} classes; here are {len(classes)}."
        )
    names = sorted(classes)
    sources = [_names(ranges, names) for ranges in table["sources"]]
    return ClassSplit(sources, _names(table["target"], names))


def _names(ranges: Sequence[Sequence[int]], names: Sequence[str]) -> frozenset[str]:
    """Names of the classes in those ranges (first and last index into the sorted names)."""
    return frozenset(names[i] for first, last in ranges for i in range(first, last + 1))


@cache
def _table() -> dict[str, Any]:
    table: dict[str, Any] = json.loads(_FILE.read_text(encoding="utf-8"))["splits"]
    return table

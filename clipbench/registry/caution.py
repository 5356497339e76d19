"""What a reader must know of printed numbers before comparing anything with them: data of the table's file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clipbench.errors import UserError
from clipbench.registry.toml_files import At, strict, texts


@dataclass(frozen=True)
class Caution:
    """A sentence about the printed numbers of some rows and columns (none named: all of them)."""

    says: str
    rows: Sequence[str] = ()
    columns: Sequence[str] = ()

    def holds(self, row: str, column: str) -> bool:
        """Whether it speaks of that cell."""
        return (not self.rows or row in self.rows) and (not self.columns or column in self.columns)


def load_caution(entry: Any, at: At, axes: Mapping[str, Sequence[str]]) -> Caution:
    """Read one; ``axes`` holds the ids of the rows and columns. Raises ``UserError`` for a name that is not there."""
    table = strict(entry, at, {"says": str}, {"rows": list, "columns": list})
    for axis, ids in axes.items():
        names = texts(table.get(axis, ()), at / axis)
        if unknown := [name for name in names if name not in ids]:
            raise UserError(f"{at / axis}: no entry {unknown[0]!r} among the {axis}; there are {', '.join(ids)}")
    return Caution(" ".join(table["says"].split()), tuple(table.get("rows", ())), tuple(table.get("columns", ())))

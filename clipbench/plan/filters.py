"""``--only KEY=VALUE``: which cells and runs of a selection are meant."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from clipbench.errors import UserError, near
from clipbench.registry import FIELDS, Cell, Panel, Protocol
from clipbench.registry.method_fields import own_field

_NAMES = ("row", "column", "method", "dataset", "panel")


@dataclass(frozen=True)
class Filter:
    """One ``key=value`` word; ``|`` separates values, and ``*`` stands for anything."""

    key: str
    values: Sequence[str]

    @classmethod
    def read(cls, word: str) -> Filter:
        """Raises ``UserError`` for a word that is none, or a key that nothing has."""
        key, equals, value = word.partition("=")
        if not equals or not value.strip():
            raise UserError(f"--only takes key=value pairs (dataset=aid,method=lora-r4), not {word!r}.")
        if key not in _NAMES and key not in FIELDS and not own_field(key):
            known = ", ".join(_NAMES)
            hint = near(key, (*_NAMES, *FIELDS))
            raise UserError(f"--only knows {known} and the protocol's fields, not {key!r}.{hint}")
        choices = (choice.strip() for choice in value.split("|"))
        return cls(key, tuple(c.rpartition("/")[2] if key == "method" and ".py:" in c else c for c in choices))

    def keeps(self, cell: Cell, protocol: Protocol, panels: Sequence[tuple[int, Panel]]) -> bool:
        """Whether a run of a cell is meant; ``panels`` are those of the figure that draw it, by their number from 1."""
        found = {
            "row": [cell.row.id],
            "column": [cell.column.id],
            "method": [cell.row.id, cell.column.id, *_method_names(str(protocol.get("method")))],
            "dataset": [str(protocol.get("dataset")), (cell.column.dataset_name or "").lower()],
            "panel": [word for number, panel in panels for word in (str(number), panel.title, panel.title.lower())],
        }
        names = found[self.key] if self.key in found else [self.field_value(protocol)]
        return any(fnmatchcase(name, value) for name in names for value in self.values)

    @property
    def of_field(self) -> bool:
        """Whether it asks for a protocol field's value."""
        return self.key not in _NAMES

    def field_value(self, protocol: Protocol) -> str:
        """The protocol's value of the field, as words of ``--only`` write it."""
        return _plain(protocol.get(self.key))


def _method_names(name: str) -> list[str]:
    """A method's name; of a user's own ``mine:Mine@1a2b3c`` also ``mine:Mine``, ``mine.py:Mine`` and ``Mine``."""
    path = name.partition("@")[0]
    module, own, kind = path.rpartition(":")
    return [name, path, kind, f"{module}.py:{kind}"] if own else [name]


def as_words(only: Mapping[str, object]) -> list[str]:
    """``{"dataset": "dtd", "shots": [1, 4]}`` as the words of ``--only``: ``dataset=dtd``, ``shots=1|4``."""
    return [f"{key}={'|'.join(_plain(value) for value in _several(values))}" for key, values in only.items()]


def _several(values: object) -> Iterable[object]:
    return [values] if isinstance(values, str) or not isinstance(values, Iterable) else values


def _plain(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value).lower() if isinstance(value, bool) else str(value)

"""What a paper leaves unsaid: the possible readings, and the one taken."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clipbench.errors import UserError
from clipbench.registry.protocol import Protocol
from clipbench.registry.toml_files import read_toml, strict


@dataclass(frozen=True)
class Reading:
    """One way to fill a gap: the protocol fields that it sets, what that means, and why it cannot run yet (if so)."""

    name: str
    set: Mapping[str, Any]
    means: str
    missing: str | None = None


@dataclass(frozen=True)
class Assumption:
    """A protocol field (or several that move together) that the paper does not state."""

    id: str
    question: str
    take: str
    why: str
    readings: Mapping[str, Reading]

    @property
    def default(self) -> Reading:
        """The reading that the registry takes."""
        return self.readings[self.take]

    def reading(self, name: str) -> Reading:
        """The reading of that name. Raises ``UserError`` that lists the names there are."""
        if name not in self.readings:
            known = ", ".join(self.readings)
            raise UserError(f"assumption {self.id!r} has no reading {name!r}; it knows {known} (default {self.take}).")
        return self.readings[name]


def load_assumptions(path: Path) -> dict[str, Assumption]:
    """Every entry of an ``assumptions.toml``, by id."""
    table = strict(read_toml(path), str(path), {"assumption": list}, {})
    entries = [_assumption(entry, f"{path}, assumption {i + 1}") for i, entry in enumerate(table["assumption"])]
    ids = [a.id for a in entries]
    if len(set(ids)) < len(ids):
        raise UserError(f"{path}: an assumption id stands twice")
    return {a.id: a for a in entries}


def _assumption(entry: Any, where: str) -> Assumption:
    strict(entry, where, {"id": str, "question": str, "take": str, "why": str, "readings": dict}, {})
    readings = {name: _reading(name, r, f"{where} ({entry['id']}), {name}") for name, r in entry["readings"].items()}
    if entry["take"] not in readings or len(readings) < 2:
        raise UserError(f"{where} ({entry['id']}): needs two readings at least, and 'take' must name one of them")
    if len({frozenset(r.set) for r in readings.values()}) != 1:
        raise UserError(f"{where} ({entry['id']}): every reading must set the same fields")
    return Assumption(entry["id"], entry["question"], entry["take"], entry["why"], readings)


def _reading(name: str, entry: Any, where: str) -> Reading:
    strict(entry, where, {"set": dict, "means": str}, {"missing": str})
    try:
        Protocol.of(entry["set"])
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    return Reading(name, entry["set"], entry["means"], entry.get("missing"))

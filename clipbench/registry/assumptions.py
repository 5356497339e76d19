"""What a paper leaves unsaid: the possible choices, and the one taken."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clipbench.errors import UserError, near
from clipbench.registry.protocol import Protocol, cannot_run
from clipbench.registry.toml_files import At, read_toml, strict


@dataclass(frozen=True)
class Choice:
    """One way to fill a gap: the protocol fields that it sets, and what that means."""

    name: str
    set: Mapping[str, Any]
    means: str

    @property
    def missing(self) -> str | None:
        """Why it cannot run yet; None where it can."""
        return next((reason for name, value in self.set.items() if (reason := cannot_run(name, value))), None)


@dataclass(frozen=True)
class Assumption:
    """A protocol field (or several that move together) that the paper does not state."""

    id: str
    question: str
    take: str
    why: str
    choices: Mapping[str, Choice]

    @property
    def default(self) -> Choice:
        """The choice that the registry takes."""
        return self.choices[self.take]

    def choice(self, name: str) -> Choice:
        """The choice of that name. Raises ``UserError`` that lists the names there are."""
        if name not in self.choices:
            known = ", ".join(self.choices)
            raise UserError(
                f"assumption {self.id!r} has no choice {name!r}; it knows {known} (default {self.take})."
                f"{near(name, self.choices)}"
            )
        return self.choices[name]


def load_assumptions(path: Path) -> dict[str, Assumption]:
    """Every entry of an ``assumptions.toml``, by id."""
    at = At(path)
    table = strict(read_toml(path), at, {"assumption": list}, {})
    entries = [_assumption(entry, at / "assumption", i) for i, entry in enumerate(table["assumption"], start=1)]
    ids = [a.id for a in entries]
    if twice := next((name for name in ids if ids.count(name) > 1), None):
        raise UserError(f"{at / twice}: the assumption {twice!r} stands twice")
    return {a.id: a for a in entries}


def _assumption(entry: Any, at: At, number: int) -> Assumption:
    where = at / (entry.get("id", number) if isinstance(entry, dict) else number)
    strict(entry, where, {"id": str, "question": str, "take": str, "why": str, "choices": dict}, {})
    choices = {name: _choice(name, c, where / name) for name, c in entry["choices"].items()}
    if entry["take"] not in choices or len(choices) < 2:
        raise UserError(f"{where}: needs two choices at least, and 'take' must name one of them")
    if len({frozenset(c.set) for c in choices.values()}) != 1:
        raise UserError(f"{where}: every choice must set the same fields")
    return Assumption(entry["id"], entry["question"], entry["take"], entry["why"], choices)


def _choice(name: str, entry: Any, where: At) -> Choice:
    strict(entry, where, {"set": dict, "means": str}, {})
    if not entry["set"]:
        raise UserError(f"{where}: it sets no field")
    try:
        Protocol.of(entry["set"])
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    return Choice(name, entry["set"], entry["means"])

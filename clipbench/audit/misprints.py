"""Misprints that the registry knows, each once, with how it is read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from clipbench.audit.finding import Finding
from clipbench.registry.printed import PrintedNumber

_READ = "read as"


def check_misprints(numbers: Iterable[PrintedNumber]) -> Iterator[Finding]:
    """A note ``printed as X, read as Y`` of a printed number; one that many numbers share is listed once."""
    seen: dict[str, list[PrintedNumber]] = {}
    for number in numbers:
        for note in number.note.split(";"):
            if _READ in note:
                own = "" if number.std is None or "std" not in note else f"{number.key}"
                seen.setdefault(f"{note.strip()}|{own}", []).append(number)
    for word, those in seen.items():
        yield _finding(word.partition("|")[0], those)


def _finding(note: str, those: list[PrintedNumber]) -> Finding:
    printed, _, meant = note.partition(f", {_READ} ")
    where = those[0].where if len(those) == 1 else _shared(those)
    raw = those[0].raw if len(those) == 1 else printed.removeprefix("column printed as ")
    times = "" if len(those) == 1 else f" ({len(those)} numbers stand under it)"
    return Finding("misprint", where, raw, f"{printed}, read as {meant}{times}", "misprint", "")


def _shared(those: list[PrintedNumber]) -> str:
    """Table and column, where all numbers have them in common."""
    first = those[0]
    parts = first.where.split(", ")
    return f"{parts[0]}, {parts[-1]}" if len({n.key[2] for n in those}) == 1 else parts[0]

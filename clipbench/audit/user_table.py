"""A table of the user's own, as CSV, in the form of the checks; it needs no registered paper."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from clipbench.audit.columns import OPTIONAL, REQUIRED
from clipbench.audit.counts import check_counts
from clipbench.audit.finding import Finding
from clipbench.audit.repeats import check_repeats
from clipbench.audit.sums import check_sums
from clipbench.errors import UserError
from clipbench.registry.decimal import Decimal
from clipbench.registry.printed import Key, PrintedNumber

_VALUE = re.compile(
    r"\(?(?P<value>[-−]?\d+(?:\.\d+)?)\s*%?\)?(?:\s*(?:±|\+-|\+/-|\\pm)\s*(?P<std>\d+(?:\.\d+)?)\s*%?)?"
)
_NOTHING = ("", "-", "--", "–", "—", "n/a", "N/A")
_AVERAGES = ("avg", "avg.", "average", "mean")


def audit_csv(path: Path) -> list[Finding]:
    """Sums, reachable means and standard deviations, and repeated cells of a CSV file.

    Raises ``UserError`` with the file, the line and what is wrong.
    """
    numbers = read_table(path)
    return [*check_sums(numbers), *check_counts(numbers.values()), *check_repeats(numbers.values())]


def read_table(path: Path) -> Mapping[Key, PrintedNumber]:
    """The numbers of a CSV file in either form."""
    lines = _lines(path)
    header = [cell.strip() for cell in lines[0]]
    entries = _long(path, header, lines) if set(REQUIRED) <= set(header) else _wide(path, header, lines)
    numbers: dict[Key, PrintedNumber] = {}
    for where, entry in entries:
        number = _number(entry, entries, where)
        if number.key in numbers:
            raise UserError(f"{where}: the cell {' / '.join(filter(None, number.key))} stands twice")
        numbers[number.key] = number
    return numbers


Entries = Sequence[tuple[str, Mapping[str, str]]]
"""(file and line, fields by name) of every number."""


def _lines(path: Path) -> list[list[str]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = [line for line in csv.reader(file, strict=True) if any(cell.strip() for cell in line)]
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file.") from None
    except (OSError, csv.Error, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not readable CSV: {error}") from None
    if len(lines) < 2:
        raise UserError(f"{path} holds no numbers: a header and at least one line are needed.")
    for number, line in enumerate(lines, start=1):
        if len(line) != len(lines[0]):
            raise UserError(f"{path}, line {number}: {len(line)} fields, but the header has {len(lines[0])}")
    return lines


def _long(path: Path, header: Sequence[str], lines: Sequence[Sequence[str]]) -> Entries:
    for name in header:
        if name not in (*REQUIRED, *OPTIONAL) or header.count(name) > 1:
            allowed = ", ".join((*REQUIRED, *OPTIONAL))
            raise UserError(f"{path}, line 1: unknown or doubled column {name!r}; allowed are {allowed}")
    return [
        (f"{path}, line {i}", dict(zip(header, (cell.strip() for cell in line), strict=True)))
        for i, line in enumerate(lines[1:], start=2)
    ]


def _wide(path: Path, header: Sequence[str], lines: Sequence[Sequence[str]]) -> Entries:
    """The printed table, unrolled; averages get the names of all other columns (or rows)."""
    about = {line[0].strip(): line for line in lines[1:] if line[0].strip() in ("n", "test_size")}
    body = [(i, line) for i, line in enumerate(lines[1:], start=2) if line[0].strip() not in about]
    columns, rows = header[1:], [line[0].strip() for _, line in body]
    entries = []
    for i, line in body:
        for at, column in enumerate(columns, start=1):
            entry = {"row": line[0].strip(), "column": column, "value": line[at].strip()}
            entry |= {name: values[at].strip() for name, values in about.items()}
            entries.append((f"{path}, line {i}", entry | _averaged(entry, columns, rows)))
    return entries


def _averaged(entry: Mapping[str, str], columns: Sequence[str], rows: Sequence[str]) -> dict[str, str]:
    for name, names in ((entry["column"], columns), (entry["row"], rows)):
        if name.lower() in _AVERAGES:
            return {"average_of": "|".join(n for n in names if n.lower() not in _AVERAGES)}
    return {}


def _number(entry: Mapping[str, str], entries: Entries, where: str) -> PrintedNumber:
    table, row, column = entry.get("table", ""), entry["row"], entry["column"]
    value, std = _value(entry["value"], entry.get("std", ""), where)
    operation, parts = _parts(entry, entries, where)
    return PrintedNumber(
        key=(table, row, column),
        where=", ".join(filter(None, (table, row, column))),
        raw=entry["value"],
        value=value,
        std=std,
        n=_whole(entry, "n", where),
        test_size=_whole(entry, "test_size", where),
        size_source="" if entry.get("test_size") else "test_size is not given",
        operation=operation,
        parts=parts,
        same_as=entry.get("same_as", ""),
    )


def _value(text: str, std: str, where: str) -> tuple[Decimal | None, Decimal | None]:
    if text in _NOTHING:
        return None, None
    match = _VALUE.fullmatch(text)
    if match is None:
        raise UserError(f"{where}: {text!r} is no printed number such as 97.94 or '97.94 ± 0.12'")
    spread = std or match["std"]
    return _decimal(match["value"], where), _decimal(spread, where) if spread else None


def _decimal(text: str, where: str) -> Decimal:
    whole, _, part = text.replace("−", "-").partition(".")
    try:
        return Decimal(int(whole + part), len(part))
    except ValueError:
        raise UserError(f"{where}: {text!r} is no plain number") from None


def _whole(entry: Mapping[str, str], name: str, where: str) -> int | None:
    text = entry.get(name, "").replace(",", "")
    if text in _NOTHING:
        return None
    if not text.isdecimal() or int(text) == 0:
        raise UserError(f"{where}: {name} = {text!r} is no whole number above zero")
    return int(text)


def _parts(entry: Mapping[str, str], entries: Entries, where: str) -> tuple[str, tuple[Key, ...]]:
    """Operation and keys of the parts: columns of the same row where all names are columns, else rows."""
    operation = next((o for o in ("average", "difference") if entry.get(f"{o}_of")), "")
    names = [name.strip() for name in entry.get(f"{operation}_of", "").split("|") if name.strip()]
    if not names:
        return "", ()
    if operation == "difference" and len(names) != 2:
        raise UserError(f"{where}: difference_of takes two names, as in ours|baseline")
    table = entry.get("table", "")
    keys = {(e.get("table", ""), e["row"], e["column"]) for _, e in entries}
    across, down = [(table, entry["row"], n) for n in names], [(table, n, entry["column"]) for n in names]
    for candidate in (across, down):
        if set(candidate) <= keys:
            return operation, tuple(candidate)
    raise UserError(
        f"{where}: {operation}_of names {', '.join(names)}, which are neither columns nor rows of this table"
    )

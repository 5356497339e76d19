"""Strict reading of registry files: a fault names the file, its line, the key and what is allowed."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from clipbench.errors import UserError
from clipbench.registry.shapes import Shape, is_text

Kind = type | tuple[type, ...] | Shape
"""What a key of a file may hold."""


@dataclass(frozen=True)
class At:
    """A place in a file: the keys (and ids) that lead to it. As text: ``table1.toml, line 31, rows, lora-r4``."""

    file: Path
    keys: tuple[str, ...] = ()

    def __truediv__(self, key: object) -> At:
        return At(self.file, (*self.keys, str(key)))

    def __str__(self) -> str:
        keys = "".join(f", {' '.join(key.split())}" for key in self.keys)
        return f"{self.file}, line {_line(self.file, self.keys)}{keys}" if self.keys else str(self.file)


def read_toml(path: Path) -> dict[str, Any]:
    """The file's content. Raises ``UserError`` with the file and line where it is no TOML."""
    try:
        return tomllib.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not valid TOML: {error}") from None


def read_text(path: Path) -> str:
    """A file's text, without the mark that some editors put first.

    Raises ``UserError`` where there is no such file or it cannot be read, ``UnicodeDecodeError`` where it is not UTF-8.
    """
    try:
        if path.exists() and not path.is_file():
            raise UserError(f"{path} is no file.")
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"{path} is missing; every paper's folder holds it.") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from None


def strict(table: Any, where: At | str, required: Mapping[str, Any], optional: Mapping[str, Any]) -> dict[str, Any]:
    """``table`` itself, once it is known to hold every required key and only allowed keys, each of its type."""
    if not isinstance(table, dict):
        raise UserError(f"{where}: expected a table, found {table!r}")
    allowed: dict[str, Kind] = {**required, **optional}
    for key in required:
        if key not in table:
            raise UserError(f"{where}: the key {key!r} is missing")
    for key, value in table.items():
        here = where / key if isinstance(where, At) else where
        if key not in allowed:
            raise UserError(f"{here}: unknown key {key!r}; allowed are {', '.join(allowed)}")
        if not _is(value, allowed[key]):
            raise UserError(f"{here}: {key} = {value!r} has the wrong type; expected {_name(allowed[key])}")
    return table


def texts(values: Any, where: At) -> tuple[str, ...]:
    """A list of different, non-empty texts."""
    for value in values:
        if not isinstance(value, str) or not value.strip():
            raise UserError(f"{where}: {value!r} is no text")
    if twice := next((value for value in values if list(values).count(value) > 1), None):
        raise UserError(f"{where}: {twice!r} stands twice")
    return tuple(values)


def seeds(values: Any, where: At) -> tuple[int, ...]:
    """A list of different whole numbers from 0, at least one."""
    for value in values:
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**63:
            raise UserError(f"{where}: {value!r} is no seed; seeds are whole numbers from 0 to 2^63 - 1")
    if not values or len(set(values)) < len(values):
        raise UserError(f"{where}: {list(values)!r}; needs one seed at least, and none twice")
    return tuple(values)


def _is(value: Any, kinds: Kind) -> bool:
    if isinstance(kinds, Shape):
        return kinds.holds(value)
    allowed = kinds if isinstance(kinds, tuple) else (kinds,)
    if isinstance(value, bool) and bool not in allowed:
        return False
    return isinstance(value, allowed) and (not isinstance(value, str) or is_text(value))


def _name(kind: Kind) -> str:
    if isinstance(kind, Shape):
        return kind.says
    names = {str: "text that is not empty", int: "a whole number", bool: "true or false", float: "a number"}
    kinds = kind if isinstance(kind, tuple) else (kind,)
    return " or ".join(names.get(k, k.__name__) for k in kinds)


@cache
def _lines(file: Path) -> Sequence[str]:
    try:
        return read_text(file).splitlines()
    except (UserError, UnicodeDecodeError):
        return ()


def _line(file: Path, keys: Sequence[str]) -> int:
    """The line that the keys lead to: from the deepest header of theirs on, the next that holds each further one."""
    lines = _lines(file)
    row, rest = 0, list(keys)
    for depth in range(len(keys), 0, -1):
        header = re.compile(r"\s*\[+\s*" + r"\s*\.\s*".join(_quoted(key) for key in keys[:depth]) + r"\s*\]")
        found = next((i for i, line in enumerate(lines) if header.match(line)), None)
        if found is not None:
            row, rest = found, list(keys[depth:])
            break
    for key in rest:
        name = _quoted(key)
        patterns = (rf"(^|[{{,])\s*{name}\s*=|\b(id|title)\s*=\s*{name}", rf"(?<![\w.-]){name}(?![\w-])")
        row = next(
            (i for pattern in patterns for i in range(row, len(lines)) if re.search(pattern, lines[i])),
            row,
        )
    return row + 1


def _quoted(key: str) -> str:
    return f"[\"']?{re.escape(key)}[\"']?"

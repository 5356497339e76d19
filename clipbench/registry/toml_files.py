"""Strict reading of registry files: an unknown key or a wrong type names the file, the key and what is allowed."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clipbench.errors import UserError


def read_toml(path: Path) -> dict[str, Any]:
    """The file's content. Raises ``UserError`` with the file and line where it is no TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} is missing; every paper's folder holds it.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid TOML: {error}") from None


def strict(
    table: Any, where: str, required: Mapping[str, type], optional: Mapping[str, type | tuple[type, ...]]
) -> dict[str, Any]:
    """``table`` itself, once it is known to hold every required key and only allowed keys, each of its type."""
    if not isinstance(table, dict):
        raise UserError(f"{where}: expected a table, found {table!r}")
    allowed: dict[str, type | tuple[type, ...]] = {**required, **optional}
    for key in required:
        if key not in table:
            raise UserError(f"{where}: the key {key!r} is missing")
    for key, value in table.items():
        if key not in allowed:
            raise UserError(f"{where}: unknown key {key!r}; allowed are {', '.join(allowed)}")
        if not isinstance(value, allowed[key]):
            raise UserError(f"{where}: {key} = {value!r} has the wrong type; expected {_name(allowed[key])}")
    return table


def _name(kind: type | tuple[type, ...]) -> str:
    return " or ".join(k.__name__ for k in kind) if isinstance(kind, tuple) else kind.__name__

"""Protocol entries in a paper's files, checked where they stand: their form, their field, their value."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any

from clipbench.errors import UserError
from clipbench.registry.method_fields import declared_by
from clipbench.registry.protocol import SHARED, field_of
from clipbench.registry.toml_files import At

_FORMS = ({"value", "stated"}, {"value", "code"}, {"assumed"}, {"unset"})


def check_entries(entries: Mapping[str, Any], at: At, assumptions: Mapping[str, Container[str]]) -> None:
    """Raise ``UserError`` with file and line on the first entry that is none.

    ``assumptions`` are the fields that each assumption of the paper sets, by its id.
    """
    method = _plain(entries.get("method"))
    for name, entry in entries.items():
        here = at / name
        if isinstance(entry, dict):
            _check_form(name, entry, here, assumptions)
        # The fields of a method that is still to come are not known.
        if name in SHARED or method is None or declared_by(method) is not None:
            _check_value(name, _plain(entry), here, method)


def _check_form(name: str, entry: Mapping[str, Any], here: At, assumptions: Mapping[str, Container[str]]) -> None:
    if set(entry) not in _FORMS:
        raise UserError(f"{here}: {dict(entry)!r}; write {{value, stated}}, {{value, code}}, {{assumed}} or {{unset}}")
    for key in set(entry) - {"value"}:
        if not isinstance(entry[key], str) or not entry[key].strip():
            raise UserError(f"{here}: {key} = {entry[key]!r}: must be text that is not empty")
    if "assumed" not in entry:
        return
    if entry["assumed"] not in assumptions:
        raise UserError(f"{here}: no assumption {entry['assumed']!r} in assumptions.toml")
    if name not in assumptions[entry["assumed"]]:
        raise UserError(f"{here}: assumption {entry['assumed']!r} does not set it")


def _check_value(name: str, value: Any, here: At, method: str | None) -> None:
    try:
        field = field_of(name, method)
        if value is not None:
            field.checked(value)
    except UserError as error:
        raise UserError(f"{here}: {error}") from None


def _plain(entry: Any) -> Any:
    """The value of an entry; None where an assumption has it, or none is."""
    return entry.get("value") if isinstance(entry, dict) else entry

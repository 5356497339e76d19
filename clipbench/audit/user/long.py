"""One line per printed number, with a header that names what is known of it; clipbench's own CSV files are such."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from clipbench.audit.columns import OPTIONAL, REQUIRED
from clipbench.audit.user.cell import has_decimal_commas, is_nothing, read_value, whole
from clipbench.audit.user.files import RawTable
from clipbench.audit.user.words import AVERAGE, QUANTITY, SCORE, no_count, normal, role
from clipbench.errors import UserError
from clipbench.registry.printed import Key, PrintedNumber

_NAMES = {"runs": "n", "test size": "test_size", "standard deviation": "std"}
_OURS = ("row", "column", "printed", "measured")
"""Columns by which a CSV of ``clipbench table`` or ``clipbench compare`` is known."""

Entry = tuple[str, int, Mapping[str, str]]
"""File and line in words, the line's number, and its fields by name."""


def header_of(raw: RawTable) -> list[str] | None:
    """The columns in our words where the table has one line per number; None where it is one as printed."""
    names = [normal(cell).replace(" ", "_") for cell in raw.lines[0].cells]
    if set(_OURS) <= set(names):
        return names
    names = [
        name if name in (*REQUIRED, *OPTIONAL) else _NAMES.get(role(cell), cell.strip())
        for name, cell in zip(names, raw.lines[0].cells, strict=True)
    ]
    return names if set(REQUIRED) <= set(names) else None


def numbers_by_line(raw: RawTable, header: Sequence[str], path: str) -> dict[Key, PrintedNumber]:
    """The numbers of the table. Raises ``UserError`` with the file, the line and what is wrong."""
    ours = set(_OURS) <= set(header)
    entries = [entry for entry in _entries(raw, header, path) for entry in (_of_clipbench(entry) if ours else [entry])]
    commas = has_decimal_commas(fields["value"] for *_, fields in entries)
    keys = {_key(fields): None for *_, fields in entries}
    found: dict[Key, PrintedNumber] = {}
    for where, line, fields in entries:
        number = _number(fields, (where, line), keys, commas)
        if number.key in found:
            raise UserError(f"{where}: the cell {' / '.join(filter(None, number.key))} stands twice")
        found[number.key] = number
    return found


def _entries(raw: RawTable, header: Sequence[str], path: str) -> Iterator[Entry]:
    first = raw.lines[0].number
    for name in header:
        known = name in (*REQUIRED, *OPTIONAL) or set(_OURS) <= set(header)
        if not known or header.count(name) > 1:
            allowed = ", ".join((*REQUIRED, *OPTIONAL))
            raise UserError(f"{path}, line {first}: unknown or doubled column {name!r}; allowed are {allowed}")
    for line in raw.lines[1:]:
        where = f"{path}, line {line.number}"
        if (len(line.cells) > len(header) and any(line.cells[len(header) :])) or len(line.cells) < header.index(
            "column"
        ) + 1:
            raise UserError(f"{where}: {len(line.cells)} fields, but the header has {len(header)}")
        cells = [*line.cells, *[""] * (len(header) - len(line.cells))]
        fields = dict(zip(header, cells, strict=False))
        if not set(_OURS) <= set(header) and len(line.cells) < len(header) and not fields["value"]:
            raise UserError(f"{where}: {len(line.cells)} fields, but the header has {len(header)}")
        yield where, line.number, fields


def _of_clipbench(entry: Entry) -> Iterator[Entry]:
    """The printed number and the measured one of a line that clipbench wrote."""
    where, line, fields = entry
    place = {"row": fields["row"], "column": fields["column"] or "value", "unit": fields.get("unit", "")}
    table = fields.get("experiment", "")
    printed = fields.get("printed_raw") or fields["printed"]
    if printed and not printed.startswith("("):
        yield (
            where,
            line,
            {**place, "table": f"{table} printed".strip(), "value": printed, "std": fields.get("printed_std", "")},
        )
    if fields["measured"] and not fields.get("domain"):
        own = {"value": fields["measured"], "std": fields.get("measured_std", ""), "n": fields.get("runs", "")}
        yield where, line, {**place, "table": f"{table} measured".strip(), **own}


def _key(fields: Mapping[str, str]) -> Key:
    return fields.get("table", ""), fields["row"], fields["column"]


def _number(fields: Mapping[str, str], at: tuple[str, int], keys: Mapping[Key, None], commas: bool) -> PrintedNumber:
    where, line = at
    try:
        value = read_value(fields["value"], decimal_commas=commas)
        std = read_value(fields.get("std", ""), decimal_commas=commas)
    except ValueError as error:
        raise UserError(f"{where}: {error}") from None
    sizes = {name: _whole(fields, name, where) for name in ("n", "test_size")}
    operation, parts = _parts(fields, keys, where)
    kinds = role(fields["row"]), role(fields["column"])
    source = "" if sizes["test_size"] else "test_size is not given"
    if word := no_count(fields.get("metric", ""), fields["column"], fields["row"], fields.get("table", "")):
        source, sizes["test_size"] = f"{word} is no share of right answers: GRIM does not apply", None
    elif value and (
        value.signed
        or not 0 <= value.value.value <= 100
        or QUANTITY in kinds
        or value.suffix
        or fields.get("unit") == "M"
    ):
        source, sizes["test_size"] = "it is no percentage: GRIM does not apply", None
    return PrintedNumber(
        key=_key(fields),
        where=", ".join(filter(None, _key(fields))),
        raw=fields["value"],
        value=value.value if value else None,
        std=(std.value if std else value.std) if value else None,
        n=sizes["n"] or (value.runs if value else None),
        test_size=sizes["test_size"],
        size_source=source,
        line=line,
        operation=operation,
        parts=parts,
        same_as=fields.get("same_as", ""),
    )


def _whole(fields: Mapping[str, str], name: str, where: str) -> int | None:
    text = fields.get(name, "")
    try:
        return None if is_nothing(text) or text == "0" else whole(text)
    except ValueError as error:
        raise UserError(f"{where}: {name} = {error}") from None


def _parts(fields: Mapping[str, str], keys: Mapping[Key, None], where: str) -> tuple[str, tuple[Key, ...]]:
    """Operation and keys of the parts: columns of the same row where all names are columns, else rows."""
    operation = next((o for o in ("average", "difference") if fields.get(f"{o}_of")), "")
    names = [name.strip() for name in fields.get(f"{operation}_of", "").split("|") if name.strip()]
    table, row, column = _key(fields)
    if not names:
        return _by_name((table, row, column), keys)
    if operation == "difference" and len(names) != 2:
        raise UserError(f"{where}: difference_of takes two names, as in ours|baseline")
    across, down = [(table, row, n) for n in names], [(table, n, column) for n in names]
    for candidate in (across, down):
        if set(candidate) <= set(keys):
            return operation, tuple(candidate)
    raise UserError(
        f"{where}: {operation}_of names {', '.join(names)}, which are neither columns nor rows of this table"
    )


def _by_name(key: Key, keys: Mapping[Key, None]) -> tuple[str, tuple[Key, ...]]:
    """A column or row that is called an average is one of all others of its row or column."""
    table, row, column = key
    if role(column) == AVERAGE:
        parts = tuple(k for k in keys if k[:2] == (table, row) and role(k[2]) == SCORE)
    elif role(row) == AVERAGE:
        parts = tuple(k for k in keys if (k[0], k[2]) == (table, column) and role(k[1]) == SCORE)
    else:
        parts = ()
    return ("average", parts) if len(parts) > 1 else ("", ())

"""One line per printed number, with a header that names what is known of it; clipbench's own CSV files are such."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from clipbench.audit.columns import OPTIONAL, REQUIRED
from clipbench.audit.user.averages import Averages, Place
from clipbench.audit.user.cell import (
    Value,
    are_fractions,
    as_percent,
    has_decimal_commas,
    is_nothing,
    read_value,
    whole,
)
from clipbench.audit.user.files import RawTable
from clipbench.audit.user.words import QUANTITY, no_count, no_deviation, normal, role
from clipbench.errors import UserError
from clipbench.registry.decimal import Decimal
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
    values: dict[Key, Value | None] = {}
    for where, _, fields in entries:
        if _key(fields) in values:
            raise UserError(f"{where}: the cell {' / '.join(filter(None, _key(fields)))} stands twice")
        values[_key(fields)] = _value(fields, where, commas)
    scaled = _in_percent({_key(fields): fields for *_, fields in entries}, values)
    tables = {key[0]: _ByName({k: v.value for k, v in scaled.items() if k[0] == key[0] and v}) for key in scaled}
    numbers = [_number(fields, (where, line), scaled, tables[_key(fields)[0]]) for where, line, fields in entries]
    fractions = "read as fractions of 1"
    return {n.key: replace(n, note=fractions) if scaled[n.key] is not values[n.key] else n for n in numbers}


class _ByName:
    """The averages of one table, known by the names of its rows and columns."""

    def __init__(self, values: Mapping[Key, Decimal]) -> None:
        self._rows, self._columns = (
            {name: at for at, name in enumerate(dict.fromkeys(key[place] for key in values))} for place in (1, 2)
        )
        self._keys = {self._place(key): key for key in values}
        rows, columns = ({at: [name] for name, at in names.items()} for names in (self._rows, self._columns))
        self._averages = Averages({self._place(key): value for key, value in values.items()}, rows, columns)

    def _place(self, key: Key) -> Place:
        return self._rows[key[1]], self._columns[key[2]]

    def parts(self, key: Key) -> tuple[Key, ...]:
        """The numbers that this one is the mean of; none where it is no average."""
        parts = self._averages.parts(self._place(key))
        return tuple(self._keys[part] for part in parts if part in self._keys)

    def kinds(self, key: Key) -> tuple[str, str]:
        """What its row and its column are."""
        row, column = self._place(key)
        return self._averages.rows.kinds[row], self._averages.columns.kinds[column]


def _value(fields: Mapping[str, str], where: str, commas: bool) -> Value | None:
    """With the standard deviation that stands in a field of its own."""
    try:
        value = read_value(fields["value"], decimal_commas=commas)
        std = read_value(fields.get("std", ""), decimal_commas=commas)
    except ValueError as error:
        raise UserError(f"{where}: {error}") from None
    return replace(value, std=std.value) if value and std else value


def _in_percent(
    entries: Mapping[Key, Mapping[str, str]], values: Mapping[Key, Value | None]
) -> dict[Key, Value | None]:
    """The values, those of columns of fractions in percent."""
    columns: dict[tuple[str, str], list[Value]] = {}
    signed = {(k[0], k[2]) for k, f in entries.items() if "%" in f"{k} {f['value']} {f.get('metric')} {f.get('unit')}"}
    for key, value in values.items():
        if value:
            columns.setdefault((key[0], key[2]), []).append(value)
    inside = {column for column, those in columns.items() if column not in signed and are_fractions(those)}
    decimals = [value.value.decimals for column in inside for value in columns[column]]
    inside = inside if max(decimals, default=0) > 1 else set()
    return {key: as_percent(v) if v and (key[0], key[2]) in inside else v for key, v in values.items()}


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


def _number(
    fields: Mapping[str, str], at: tuple[str, int], values: Mapping[Key, Value | None], by_name: _ByName
) -> PrintedNumber:
    (where, line), key = at, _key(fields)
    value, labels = values[key], (fields.get("metric", ""), fields["column"], fields["row"], fields.get("table", ""))
    sizes = {name: _whole(fields, name, where) for name in ("n", "test_size")}
    operation, parts = _parts(fields, values, where)
    if value and not parts:
        parts = by_name.parts(key)
        operation = "average" if parts else ""
    source = "" if sizes["test_size"] else "test_size is not given"
    if word := no_count(*labels):
        source, sizes["test_size"] = f"{word} is no share of right answers: GRIM does not apply", None
    elif value and (
        value.signed
        or not 0 <= value.value.value <= 100
        or QUANTITY in by_name.kinds(key)
        or value.suffix
        or fields.get("unit") == "M"
    ):
        source, sizes["test_size"] = "it is no percentage: GRIM does not apply", None
    return PrintedNumber(
        key=key,
        where=", ".join(filter(None, key)),
        raw=fields["value"],
        value=value.value if value else None,
        std=value.std if value and not no_deviation(*labels) else None,
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


def _parts(fields: Mapping[str, str], keys: Collection[Key], where: str) -> tuple[str, tuple[Key, ...]]:
    """Operation and keys of the parts: columns of the same row where all names are columns, else rows."""
    operation = next((o for o in ("average", "difference") if fields.get(f"{o}_of")), "")
    names = [name.strip() for name in fields.get(f"{operation}_of", "").split("|") if name.strip()]
    table, row, column = _key(fields)
    if not names:
        return "", ()
    if operation == "difference" and len(names) != 2:
        raise UserError(f"{where}: difference_of takes two names, as in ours|baseline")
    across, down = [(table, row, n) for n in names], [(table, n, column) for n in names]
    for candidate in (across, down):
        if set(candidate) <= set(keys):
            return operation, tuple(candidate)
    raise UserError(
        f"{where}: {operation}_of names {', '.join(names)}, which are neither columns nor rows of this table"
    )

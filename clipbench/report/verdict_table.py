"""A printed table's verdicts cell by cell: narrow columns, and every reason once below them, as a numbered note."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from clipbench.compare.verdict import Comparison
from clipbench.report.by_domain import domain_sides
from clipbench.report.numbers import decimals_of, difference_text, minus, number_text, row_name, side_text, where_from
from clipbench.report.terminal import as_table, wrapped

_DIFFERENCE = "difference"
_HEADERS = ("printed", "measured", _DIFFERENCE, "verdict", "note")
_ALWAYS = ("printed", "measured", "verdict")
"""Columns that stay where no cell has anything in them."""
_NAMED = 3
"""Rows or columns that a note names; of more it says the number."""

Notes = Mapping[str, Sequence[Comparison]]
"""Cells by what is said of them."""


def block(name: str, cells: Sequence[Comparison], kind: str, *, by_domain: bool) -> str:
    """The table's name, its measured cells with the notes on them, and a line for each reason why others have none.

    Args:
        name: Id of the printed table.
        cells: Its cells.
        kind: ``text`` for the terminal, or ``md``.
        by_domain: Whether each target domain has a line below its cell.
    """
    measured = [c for c in cells if c.measured]
    notes = _by_text((remark, c) for c in measured for remark in c.judgement.remarks)
    listed = [f"{at}. {_where(about, measured)}: {text}" for at, (text, about) in enumerate(notes.items(), start=1)]
    others = _absent([c for c in cells if not c.measured])
    parts = [[_table(measured, list(notes), kind, by_domain)] if measured else [], listed, others]
    if kind == "md":
        paragraphs = ["\n".join(part) for part in (*parts[:2], [f"* {line}" for line in others]) if part]
        return "\n\n".join([f"## {name}", *where_from(measured), *_only_group(measured), *paragraphs]) + "\n"
    head = [name, *map(wrapped, [*where_from(measured), *_only_group(measured)])]
    return "\n".join([*head, *(line for part in _for_terminal(parts) for line in part), ""])


def _for_terminal(parts: Sequence[Sequence[str]]) -> list[list[str]]:
    table, notes, others = parts
    return [
        *([["", *table, ""]] if table else []),
        *([[wrapped(note, further="   ") for note in notes]] if notes else []),
        *([[*([""] if notes else []), *map(wrapped, others)]] if others else []),
    ]


def _table(measured: Sequence[Comparison], notes: Sequence[str], kind: str, by_domain: bool) -> str:
    """The columns one after the other, each with its rows; where there are fewer rows than columns, the rows."""
    groups = _groups(measured)
    lines: list[tuple[str, ...]] = []
    for name, cells in groups.items():
        heading = f"**{name}**" if kind == "md" else f"{name}:"
        lines += [(heading, *("" for _ in _HEADERS))] if len(groups) > 1 else []
        lines += [line for inner, c in cells for line in _lines(inner, c, notes, by_domain)]
    known = any(c.judgement.interval for c in measured)
    heads = [f"{head} (90% interval)" if known and head == _DIFFERENCE else head for head in _HEADERS]
    headers = ("row" if _grouped_by_column(measured) else "column", *heads)
    kept = [at for at, head in enumerate(headers) if at == 0 or head in _ALWAYS or any(line[at] for line in lines)]
    return as_table(kind, [headers[at] for at in kept], [[line[at] for at in kept] for line in lines])


def _only_group(measured: Sequence[Comparison]) -> list[str]:
    """The one column (or row) that all cells are in, said above the table instead of in it."""
    names = list(_groups(measured))
    return [f"{'Column' if _grouped_by_column(measured) else 'Row'}: {names[0]}."] if len(names) == 1 else []


def _groups(cells: Sequence[Comparison]) -> dict[str, list[tuple[str, Comparison]]]:
    """The cells with the names of their rows, by column; by row with the names of their columns if that is shorter."""
    found: dict[str, list[tuple[str, Comparison]]] = {}
    by_column = _grouped_by_column(cells)
    for c in cells:
        names = c.cell.column.full_name, row_name(c.cell.row)
        outer, inner = names if by_column else reversed(names)
        found.setdefault(outer, []).append((inner, c))
    return found


def _grouped_by_column(cells: Sequence[Comparison]) -> bool:
    return len({c.cell.column.id for c in cells}) <= len({c.cell.row.id for c in cells})


def _lines(name: str, c: Comparison, notes: Sequence[str], by_domain: bool) -> list[tuple[str, ...]]:
    """The cell, and behind it (if asked for) each of its target domains."""
    printed = c.published.raw if c.published else "none"
    judged = c.judgement.assessment if c.judgement.interval else None
    interval = minus(f" ({judged.low:+.2f} to {judged.high:+.2f})") if judged else ""
    numbers = ", ".join(map(str, sorted(notes.index(remark) + 1 for remark in c.judgement.remarks)))
    column, domains = c.cell.column.full_name, domain_sides(c).items() if by_domain else ()
    return [
        (name, printed, number_text(c), difference_text(c) + interval, c.verdict, numbers),
        *((f"{column}: {domain}", "", side_text(side, decimals_of(c)), "", "", "") for domain, side in domains),
    ]


def _absent(cells: Sequence[Comparison]) -> list[str]:
    """What was not measured, by verdict and first reason; numbers that the paper quotes from elsewhere in one line."""
    quoted = [c for c in cells if c.verdict == "quoted"]
    said = _by_text((f"{c.verdict}: {c.judgement.remarks[0]}", c) for c in cells if c not in quoted)
    lines = [f"{len(about)} {text} ({_where(about, cells)})" for text, about in said.items()]
    rows = list(dict.fromkeys(c.cell.row.printed for c in quoted))
    shown = ", ".join(rows[:6]) + (f" and {len(rows) - 6} more" if len(rows) > 6 else "")
    if quoted:
        lines.append(f"{len(quoted)} quoted from other papers, with nothing measured beside them ({shown})")
    return lines


def _by_text(said: Iterable[tuple[str, Comparison]]) -> Notes:
    found: dict[str, list[Comparison]] = {}
    for text, cell in said:
        found.setdefault(text, []).append(cell)
    return found


def _where(cells: Sequence[Comparison], among: Sequence[Comparison]) -> str:
    """``r=4, α=8 and CLIP Full tuning in AID 20% train``: the cells in short; a column that is the only one goes."""
    rows = _named([row_name(c.cell.row) for c in cells], "rows")
    columns = _named([c.cell.column.full_name for c in cells], "columns")
    return rows if len({c.cell.column.id for c in among}) == 1 else f"{rows} in {columns}"


def _named(names: Sequence[str], many: str) -> str:
    once = list(dict.fromkeys(names))
    return " and ".join(once) if len(once) <= _NAMED else f"{len(once)} {many}"

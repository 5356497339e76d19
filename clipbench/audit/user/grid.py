"""A printed table with names for columns and rows: headers of several lines, groups, lines about the numbers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from clipbench.audit.user.cell import has_decimal_commas, is_nothing, plain, read_value, whole
from clipbench.audit.user.files import Line, RawTable
from clipbench.audit.user.words import QUANTITY, RUNS, TEST_SIZE, role, sizes_by_name
from clipbench.errors import UserError

_LONGEST_LABEL = 60
_MOST_HEADS = 4
_DEVIATION = re.compile(r"\(\s*±?\s*(\d*[.,]?\d+)\s*%?\s*\)|±\s*(\d*[.,]?\d+)\s*%?")


@dataclass(frozen=True)
class Row:
    """A line of numbers: its name with group and text columns, unlike all others; the words of it; and its cells."""

    label: str
    names: Sequence[str]
    line: Line


@dataclass(frozen=True)
class Grid:
    """A table with names for its columns and rows, before anything is read as a number.

    Attributes:
        title: The words above it.
        columns: Names, one unlike the other; empty for columns of text.
        heads: The lowest word of each column's header.
        rows: The lines of numbers.
        about: ``runs`` and ``test size`` that lines of their own state, by column.
        sizes: The columns that state them, row by row.
        decimal_commas: Whether numbers are written ``97,94``.
    """

    title: str
    columns: Sequence[str]
    heads: Sequence[str]
    rows: Sequence[Row]
    about: Mapping[str, Mapping[int, int]]
    sizes: Mapping[int, str]
    decimal_commas: bool

    def cell(self, row: int, column: int) -> str:
        """A row that is too short ends in empty cells."""
        cells = self.rows[row].line.cells
        return cells[column] if column < len(cells) else ""

    def stated(self, row: int, kind: str) -> int | None:
        """What the row says of its repetitions or test images by a column of its own."""
        for at, found in self.sizes.items():
            if found == kind:
                try:
                    return whole(self.cell(row, at))
                except ValueError:
                    return None
        return None


def grid_of(raw: RawTable, path: str) -> Grid:
    """Names of columns (lines of header become one) and of rows (groups and text columns belong to the name).

    Raises ``UserError`` that names the line that is longer than the header, or whose repetitions are no whole number.
    """
    heads = [line.cells for line in raw.lines[: _heads(raw.lines)]]
    width = max(map(len, heads))
    body = [line for line in raw.lines[len(heads) :] if [*map(plain, line.cells)] != [*map(plain, heads[0])]]
    for line in body:
        if any(line.cells[width:]):
            raise UserError(
                f"{path}, line {line.number}: {len(line.cells)} fields, but the header has {width}. Where commas are "
                "decimal signs, separate fields by semicolons or put numbers in quotes."
            )
    commas = has_decimal_commas(cell for line in body for cell in line.cells[1:] if "," in cell)
    texts = [
        at for at in range(1, width) if _is_text([line.cells[at] for line in body if at < len(line.cells)], commas)
    ]
    about, rest = _about(body, texts, path)
    columns, lowest = _column_names(heads, width)
    sizes = sizes_by_name({at: name for at, name in enumerate(lowest) if at and at not in texts})
    return Grid(
        title=plain(raw.title),
        columns=["" if at in texts else name for at, name in enumerate(columns)],
        heads=lowest,
        rows=_rows(rest, texts),
        about=about,
        sizes={at: kind for at, kind in sizes.items() if len(lowest[at]) > 1 or not _decimals(body, at)},
        decimal_commas=commas,
    )


def _decimals(lines: Sequence[Line], column: int) -> bool:
    """Whether the column has numbers that are not whole: one called N is then no number of anything."""
    return any(_broken(line.cells[column]) for line in lines if column < len(line.cells))


def _broken(cell: str) -> bool:
    text = plain(cell)
    return ("." in text or "," in text) and not text.endswith(".0") and is_number(text)


def _about(lines: Sequence[Line], texts: Sequence[int], path: str) -> tuple[dict[str, dict[int, int]], list[Line]]:
    """What lines state of repetitions and test images, by column; and the other lines."""
    names = {at: _last_word(line, texts) for at, line in enumerate(lines)}
    kinds = sizes_by_name({at: name for at, name in names.items() if _can_state(lines[at], name, texts)})
    found: dict[str, dict[int, int]] = {RUNS: {}, TEST_SIZE: {}}
    for at, kind in kinds.items():
        for column, cell in enumerate(lines[at].cells[1:], start=1):
            try:
                number = whole(cell) if column not in texts else None
            except ValueError as error:
                raise UserError(f"{path}, line {lines[at].number}: {names[at]} = {error}.") from None
            if number is not None:
                found[kind].setdefault(column, number)
    return found, [line for at, line in enumerate(lines) if at not in kinds]


def _last_word(line: Line, texts: Sequence[int]) -> str:
    words = [plain(line.cells[at]) for at in (0, *texts) if at < len(line.cells)]
    return next((word for word in reversed(words) if word), "")


def _can_state(line: Line, name: str, texts: Sequence[int]) -> bool:
    """Whether the line can be one of whole numbers: no deviations, and no decimals beside the letter N."""
    cells = [cell for at, cell in enumerate(line.cells[1:], start=1) if at not in texts and cell]
    return bool(cells) and not any("±" in plain(cell) or (name == "N" and _broken(cell)) for cell in cells)


def _rows(lines: Sequence[Line], texts: Sequence[int]) -> list[Row]:
    rows: list[Row] = []
    group = above = ""
    for line in lines:
        first = plain(line.cells[0])
        if rows and (deviations := _deviations(line)):
            rows.append(Row(f"{rows[-1].label} (line {line.number})", ("std",), Line(line.number, deviations)))
            continue
        if (sum(bool(cell) for cell in line.cells) == 1 and first) or _one_cell_throughout(line):
            group, above = first, ""
            continue
        above = first or above
        words = [above, *(plain(line.cells[at]) for at in texts if at < len(line.cells))]
        words = [word for word in dict.fromkeys(words) if word and len(word) <= _LONGEST_LABEL]
        label = ", ".join(dict.fromkeys(filter(None, (group[:_LONGEST_LABEL], *words)))) or f"line {line.number}"
        taken = {row.label for row in rows}
        shown = f"{label} (line {line.number})" if label in taken else label
        rows.append(Row(shown, (*reversed(words), label), line))
    return rows


def _deviations(line: Line) -> list[str]:
    """The cells of a line that has no name and holds deviations only: (0.58) or ±0.58 below each number; else none."""
    found = [_DEVIATION.fullmatch(plain(cell)) for cell in line.cells]
    if any(cell and match is None for cell, match in zip(line.cells, found, strict=True)) or not any(found):
        return []
    return [match[1] or match[2] if match else "" for match in found]


def _one_cell_throughout(line: Line) -> bool:
    """A group's name that spans the table: the same words in every cell."""
    return len(line.cells) > 2 and len(set(line.cells)) == 1 and not is_number(line.cells[0])


def _heads(lines: Sequence[Line]) -> int:
    """How many lines the header has: one, and those below that hold words or small labels, with no name in front."""
    heads = 1
    while heads < min(_MOST_HEADS, len(lines) - 1) and _goes_on(lines[heads - 1].cells, lines[heads].cells):
        heads += 1
    return heads if heads == 1 or any(is_number(cell) for cell in lines[heads].cells[1:]) else 1


def _goes_on(above: Sequence[str], cells: Sequence[str]) -> bool:
    """Whether a line is part of the header above it."""
    numbers = [cell for cell in cells[1:] if is_number(cell)]
    words = [cell for cell in cells[1:] if not is_number(cell) and not is_nothing(cell)]
    first, upper = plain(cells[0]), plain(above[0])
    names = [plain(cell) for cell in above[1:] if cell]
    labels = len(set(names)) < len(names) and role(first) == QUANTITY  # shots below the names of data sets
    if (first and first != upper and (upper or numbers) and not labels) or any(
        role(cell) in (RUNS, TEST_SIZE) for cell in cells
    ):
        return False
    return bool(words or numbers) and not any("." in cell or "," in cell for cell in numbers)


def _column_names(heads: Sequence[Sequence[str]], width: int) -> tuple[list[str], list[str]]:
    """Every column's words from top to bottom, and the lowest one.

    An empty cell in an upper line goes on with the group to its left.
    """
    names: list[list[str]] = [[] for _ in range(width)]
    for depth, cells in enumerate(heads):
        group = ""
        for at in range(width):
            word = plain(cells[at]) if at < len(cells) else ""
            group = word or (group if depth < len(heads) - 1 and at else "")
            names[at] += [group] if group and group not in names[at] else []
    joined = [" ".join(words) for words in names]
    lowest = [words[-1] if words else "" for words in names]
    return [name if joined.index(name) == at else f"{name} (column {at + 1})" for at, name in enumerate(joined)], lowest


def _is_text(cells: Sequence[str], commas: bool) -> bool:
    """Whether a column holds names: not one of its cells is a number, and not most look like one that is misspelt."""
    filled = [cell for cell in cells if not is_nothing(cell)]
    alike = [cell for cell in filled if 2 * sum(character.isdecimal() for character in cell) >= len(plain(cell))]
    return bool(filled) and not any(is_number(cell, commas) for cell in filled) and 2 * len(alike) <= len(filled)


def is_number(cell: str, commas: bool = False) -> bool:
    """Whether a cell prints a number."""
    try:
        return read_value(cell, decimal_commas=commas) is not None
    except ValueError:
        return False

"""A printed table, unrolled: which lines are numbers and which say something about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from clipbench.audit.finding import CANNOT, Finding
from clipbench.audit.user.axis import Axis
from clipbench.audit.user.cell import Value, has_decimal_commas, is_nothing, plain, read_value, whole
from clipbench.audit.user.files import Line, RawTable
from clipbench.audit.user.words import (
    AVERAGE,
    DIFFERENCE,
    QUANTITY,
    RUNS,
    SCORE,
    STD,
    TEST_SIZE,
    no_count,
    normal,
    role,
    runs_in,
)
from clipbench.errors import UserError
from clipbench.registry.decimal import Decimal
from clipbench.registry.printed import Key, PrintedNumber

_LONGEST_LABEL = 60


@dataclass
class Grid:
    """A table with names for its columns and rows, before anything is read as a number."""

    title: str
    columns: list[str]
    lines: list[tuple[str, Line]]
    """The row's name, and its cells in the order of ``columns``."""
    about: dict[str, dict[int, int]] = field(default_factory=dict)
    """``runs`` and ``test size`` that lines of their own state, by column."""
    decimal_commas: bool = False

    def cell(self, line: Line, column: int) -> str:
        """A row that is too short ends in empty cells."""
        return line.cells[column] if column < len(line.cells) else ""


def printed_numbers(raw: RawTable, name: str, path: str) -> tuple[dict[Key, PrintedNumber], list[Finding]]:
    """The numbers of a table whose first line names the columns, and a finding for each cell that holds none.

    Raises ``UserError`` that names the line where the table contradicts itself.
    """
    grid = _grid(raw, path)
    values, unread = _values(grid, name)
    columns = Axis([(label, at) for at, label in enumerate(grid.columns) if at in {c for _, c in values}])
    rows = Axis([(label, at) for at, (label, _) in enumerate(grid.lines) if at in {r for r, _ in values}])
    fractions = {at for at in columns.kinds if _are_fractions(grid, values, at)}
    found: dict[Key, PrintedNumber] = {}
    for (row, column), value in values.items():
        if columns.kinds[column] == STD:
            continue
        label, line = grid.lines[row]
        key = (name, label, grid.columns[column])
        parts = _parts(key, (row, column), rows, columns, grid)
        beside = values.get((row, columns.std_of.get(column, -1)))
        std = value.std or (beside.value if beside else None)
        size, source = _test_size(grid, value, (row, column), (rows, columns), name)
        found[key] = PrintedNumber(
            key=key,
            where=", ".join(filter(None, key)),
            raw=plain(grid.cell(line, column)),
            value=_percent(value.value) if column in fractions else value.value,
            std=_percent(std) if std and column in fractions else std,
            n=_runs(grid, value, (row, column), name),
            line=line.number,
            note="read as fractions of 1" if column in fractions else "",
            operation="average" if parts else "",
            parts=parts,
            test_size=size,
            size_source=source,
        )
    return found, unread


def _percent(value: Decimal) -> Decimal:
    return Decimal(value.digits, value.decimals - 2)


def _runs(grid: Grid, value: Value, place: tuple[int, int], name: str) -> int | None:
    """Repetitions: the cell's own, then the row's, then the column's, then the table's."""
    row, column = place
    label = grid.lines[row][0]
    of_row = _stated(grid, row, RUNS) or runs_in(label)
    return (
        value.runs
        or of_row
        or grid.about.get(RUNS, {}).get(column)
        or runs_in(grid.columns[column])
        or runs_in(f"{name} {grid.title}")
    )


def _grid(raw: RawTable, path: str) -> Grid:
    """Names of columns (two lines of header become one) and of rows (groups and text columns belong to the name)."""
    heads = 1 + _more_heads(raw.lines)
    width = max(len(line.cells) for line in raw.lines[:heads])
    columns = _column_names([line.cells for line in raw.lines[:heads]], width)
    body = list(raw.lines[heads:])
    for line in body:
        extra = [cell for cell in line.cells[width:] if cell]
        if extra:
            raise UserError(
                f"{path}, line {line.number}: {len(line.cells)} fields, but the header has {width}. Where commas are "
                "decimal signs, separate fields by semicolons or put numbers in quotes."
            )
    commas = has_decimal_commas(cell for line in body for cell in line.cells[1:] if "," in cell)
    texts = [
        at for at in range(1, width) if _is_text([line.cells[at] for line in body if at < len(line.cells)], commas)
    ]
    grid = Grid(raw.title, columns, [], decimal_commas=commas)
    group = above = ""
    for line in body:
        first = plain(line.cells[0])
        if (sum(bool(cell) for cell in line.cells) == 1 and first) or _one_cell_throughout(line):
            group, above = first, ""
            continue
        if (kind := role(first)) in (RUNS, TEST_SIZE) and _wholes(line, texts):
            _take_about(grid, kind, line, normal(first), path)
            continue
        above = first or above
        words = [above, *(plain(line.cells[at]) for at in texts if at < len(line.cells))]
        label = ", ".join(dict.fromkeys(word for word in (group, *words) if word and len(word) <= _LONGEST_LABEL))
        label = label or f"line {line.number}"
        taken = {name for name, _ in grid.lines}
        grid.lines.append((f"{label} (line {line.number})" if label in taken else label, line))
    grid.columns = [f"{name}" if at not in texts else "" for at, name in enumerate(columns)]
    return grid


def _one_cell_throughout(line: Line) -> bool:
    """A group's name that spans the table: the same words in every cell."""
    return len(line.cells) > 2 and len(set(line.cells)) == 1 and not _is_number(line.cells[0])


def _wholes(line: Line, texts: Sequence[int]) -> bool:
    """Whether the line can be one of whole numbers: none of its cells has decimals of another kind than ``.0``."""
    return not any("±" in plain(cell) for at, cell in enumerate(line.cells[1:], start=1) if at not in texts)


def _take_about(grid: Grid, kind: str, line: Line, name: str, path: str) -> None:
    """``N`` beside a line ``n`` is the number of test images."""
    kind = TEST_SIZE if kind == RUNS and RUNS in grid.about and name == "n" else kind
    for at, cell in enumerate(line.cells[1:], start=1):
        try:
            number = whole(cell)
        except ValueError as error:
            if at < len(grid.columns):
                raise UserError(f"{path}, line {line.number}: {plain(line.cells[0])} = {error}.") from None
            number = None
        if number is not None:
            grid.about.setdefault(kind, {})[at] = number


def _more_heads(lines: Sequence[Line]) -> int:
    """Whether a second line belongs to the header: no name in front, and words or small labels behind."""
    if len(lines) < 3:
        return 0
    second, third = lines[1].cells, lines[2].cells
    if second[0] and plain(second[0]) != plain(lines[0].cells[0]):
        return 0
    numbers = [cell for cell in second[1:] if cell and _is_number(cell)]
    words = [cell for cell in second[1:] if cell and not _is_number(cell) and not is_nothing(cell)]
    decimals = any("." in cell or "," in cell for cell in numbers)
    return int(bool(words or numbers) and not decimals and any(_is_number(cell) for cell in third[1:]))


def _column_names(heads: Sequence[Sequence[str]], width: int) -> list[str]:
    """Every column's words from top to bottom; an empty cell in an upper line goes on with the group to its left."""
    names: list[list[str]] = [[] for _ in range(width)]
    for depth, cells in enumerate(heads):
        group = ""
        for at in range(width):
            word = plain(cells[at]) if at < len(cells) else ""
            group = word or (group if depth < len(heads) - 1 and at else "")
            names[at] += [group] if group and group not in names[at] else []
    joined = [" ".join(words) for words in names]
    return [name if joined.index(name) == at else f"{name} (column {at + 1})" for at, name in enumerate(joined)]


def _is_text(cells: Sequence[str], commas: bool) -> bool:
    """Whether a column holds names: not one of its cells is a number, and not most look like one that is misspelt."""
    filled = [cell for cell in cells if not is_nothing(cell)]
    alike = [cell for cell in filled if 2 * sum(character.isdecimal() for character in cell) >= len(plain(cell))]
    return bool(filled) and not any(_is_number(cell, commas) for cell in filled) and 2 * len(alike) <= len(filled)


def _is_number(cell: str, commas: bool = False) -> bool:
    try:
        return read_value(cell, decimal_commas=commas) is not None
    except ValueError:
        return False


def _values(grid: Grid, name: str) -> tuple[dict[tuple[int, int], Value], list[Finding]]:
    """Numbers by row and column, and the cells that hold something else."""
    found: dict[tuple[int, int], Value] = {}
    unread = []
    for row, (label, line) in enumerate(grid.lines):
        for column, head in enumerate(grid.columns):
            if column == 0 or not (head or column < len(line.cells)) or head == "" or role(head) in (RUNS, TEST_SIZE):
                continue
            text = grid.cell(line, column)
            try:
                value = read_value(text, decimal_commas=grid.decimal_commas)
            except ValueError as error:
                where = ", ".join(filter(None, (name, label, head)))
                unread.append(Finding("mean", where, plain(text), f"line {line.number}: {error}", CANNOT, ""))
                continue
            if value is not None:
                found[row, column] = value
    return found, unread


def _parts(key: Key, place: tuple[int, int], rows: Axis, columns: Axis, grid: Grid) -> tuple[Key, ...]:
    """Keys of the numbers that an average, known by its name, is the mean of."""
    row, column = place
    if columns.kinds[column] == AVERAGE:
        names = [grid.columns[at] for at in columns.averaged(column)]
        return tuple((key[0], key[1], name) for name in names) if len(names) > 1 else ()
    if rows.kinds[row] == AVERAGE and columns.kinds[column] in (SCORE, DIFFERENCE):
        labels = [grid.lines[at][0] for at in rows.averaged(row)]
        return tuple((key[0], label, key[2]) for label in labels) if len(labels) > 1 else ()
    return ()


def _stated(grid: Grid, row: int, kind: str) -> int | None:
    """What the row says by a column of its own."""
    _, line = grid.lines[row]
    for at, head in enumerate(grid.columns):
        if at and head and role(head) == kind:
            try:
                return whole(grid.cell(line, at))
            except ValueError:
                return None
    return None


def _test_size(
    grid: Grid, value: Value, place: tuple[int, int], axes: tuple[Axis, Axis], name: str
) -> tuple[int | None, str]:
    """Test images, or why there is no telling them."""
    (row, column), (rows, columns) = place, axes
    label, head = grid.lines[row][0], grid.columns[column]
    if word := no_count(head, label, name, grid.title):
        return None, f"{word} is no share of right answers: GRIM does not apply"
    kinds = {rows.kinds[row], columns.kinds[column]}
    if DIFFERENCE in kinds or value.signed or value.value.digits < 0:
        return None, "a difference is no share of right answers: GRIM does not apply"
    if QUANTITY in kinds or value.suffix or value.value.value > 100:
        return None, "it is no percentage: GRIM does not apply"
    size = _stated(grid, row, TEST_SIZE) or grid.about.get(TEST_SIZE, {}).get(column)
    return size, "" if size else "test_size is not given"


def _are_fractions(grid: Grid, values: Mapping[tuple[int, int], Value], column: int) -> bool:
    """A column whose numbers all lie within 0 and 1, with two decimals or more, and no sign of percent."""
    own = {row: value for (row, at), value in values.items() if at == column and not value.signed}
    if not own or "%" in grid.columns[column] or role(grid.columns[column]) in (QUANTITY, STD, DIFFERENCE):
        return False
    percent = any("%" in grid.cell(grid.lines[row][1], column) for row in own)
    inside = all(0 <= value.value.value <= 1 for value in own.values())
    return inside and not percent and any(value.value.decimals >= 2 for value in own.values())

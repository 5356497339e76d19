"""A printed table as numbers, each with its repetitions, its test images, and the parts of averages."""

from __future__ import annotations

from clipbench.audit.finding import CANNOT, Finding
from clipbench.audit.user.averages import Averages, Place
from clipbench.audit.user.cell import Value, are_fractions, as_percent, plain, read_value
from clipbench.audit.user.files import RawTable
from clipbench.audit.user.grid import Grid, grid_of
from clipbench.audit.user.words import (
    DIFFERENCE,
    QUANTITY,
    RUNS,
    STD,
    TEST_SIZE,
    no_count,
    no_deviation,
    runs_in,
    test_size_in,
)
from clipbench.registry.printed import Key, PrintedNumber


def printed_numbers(raw: RawTable, name: str, path: str) -> tuple[dict[Key, PrintedNumber], list[Finding]]:
    """The numbers of a table whose first line names the columns, and a finding for each cell that holds none.

    Raises ``UserError`` that names the line where the table contradicts itself.
    """
    table = _Table(grid_of(raw, path), name)
    found = [table.number(place, value) for place, value in table.values.items() if not table.is_deviation(place)]
    return {number.key: number for number in found}, table.unread


class _Table:
    """The grid with its cells as numbers."""

    def __init__(self, grid: Grid, name: str) -> None:
        self.grid, self.name = grid, name
        self.values: dict[Place, Value] = {}
        self.unread: list[Finding] = []
        self._read()
        columns = {at: (grid.heads[at], name) for at, name in enumerate(grid.columns)}
        rows = {at: row.names for at, row in enumerate(grid.rows)}
        self._averages = Averages({place: value.value for place, value in self.values.items()}, rows, columns)
        self._rows, self._columns = self._averages.rows, self._averages.columns
        self._fractions = self._columns_of_fractions()
        for place, value in self.values.items():
            if place[1] in self._fractions:
                self.values[place] = as_percent(value)

    def _read(self) -> None:
        """Numbers by row and column, and the cells that hold something else."""
        for row in range(len(self.grid.rows)):
            for column, head in enumerate(self.grid.columns):
                if column == 0 or not head or column in self.grid.sizes:
                    continue
                text = self.grid.cell(row, column)
                try:
                    value = read_value(text, decimal_commas=self.grid.decimal_commas)
                except ValueError as error:
                    where, line = ", ".join(filter(None, self._key((row, column)))), self.grid.rows[row].line.number
                    self.unread.append(Finding("mean", where, plain(text), f"line {line}: {error}", CANNOT, ""))
                    continue
                if value is not None:
                    self.values[row, column] = value

    def _key(self, place: Place) -> Key:
        return self.name, self.grid.rows[place[0]].label, self.grid.columns[place[1]]

    def is_deviation(self, place: Place) -> bool:
        """Whether it is the standard deviation of another number."""
        return STD in (self._rows.kinds[place[0]], self._columns.kinds[place[1]])

    def number(self, place: Place, value: Value) -> PrintedNumber:
        """What is known of one number."""
        row, column = place
        key, names = self._key(place), (self.grid.heads[column], self.grid.columns[column], self.grid.rows[row].label)
        size, source = self._test_size(place, value)
        where, raw = ", ".join(filter(None, key)), plain(self.grid.cell(row, column))
        below, beside = (self._rows.std_of.get(row, -1), column), (row, self._columns.std_of.get(column, -1))
        std = value.std or next((self.values[at].value for at in (beside, below) if at in self.values), None)
        if std and no_deviation(*names, self.grid.title):
            found = "a confidence interval or a standard error, no standard deviation: GRIMMER does not apply"
            self.unread.append(Finding("std", where, raw, found, CANNOT, ""))
            std = None
        parts = [self._key(part) for part in self._averages.parts(place)]
        return PrintedNumber(
            key=key,
            where=where,
            raw=raw,
            value=value.value,
            std=std,
            n=self._runs(place, value),
            line=self.grid.rows[row].line.number,
            note="read as fractions of 1" if column in self._fractions else "",
            operation="average" if parts else "",
            parts=tuple(parts),
            test_size=size,
            size_source=source,
        )

    def _runs(self, place: Place, value: Value) -> int | None:
        """Repetitions: the cell's own, then the row's, then the column's, then the table's."""
        row, column = place
        return (
            value.runs
            or self.grid.stated(row, RUNS)
            or runs_in(self.grid.rows[row].label)
            or self.grid.about[RUNS].get(column)
            or runs_in(self.grid.columns[column])
            or runs_in(f"{self.name} {self.grid.title}")
        )

    def _test_size(self, place: Place, value: Value) -> tuple[int | None, str]:
        """Test images, or why there is no telling them."""
        row, column = place
        label, head = self.grid.rows[row].label, self.grid.columns[column]
        if word := no_count(head, label, title=f"{self.name} {self.grid.title}"):
            return None, f"{word} is no share of right answers: GRIM does not apply"
        kinds = {self._rows.kinds[row], self._columns.kinds[column]}
        if DIFFERENCE in kinds or value.signed or value.value.digits < 0:
            return None, "a difference is no share of right answers: GRIM does not apply"
        if QUANTITY in kinds or value.suffix or value.value.value > 100:
            return None, "it is no percentage: GRIM does not apply"
        size = self.grid.stated(row, TEST_SIZE) or self.grid.about[TEST_SIZE].get(column)
        size = size or test_size_in(head) or test_size_in(label)
        return size, "" if size else "test_size is not given"

    def _columns_of_fractions(self) -> set[int]:
        """Columns whose numbers all lie within 0 and 1, some with two decimals or more, without a sign of percent."""
        if "%" in self.grid.title:
            return set()
        inside = [at for at, kind in self._columns.kinds.items() if self._is_inside(at, kind)]
        decimals = [value.value.decimals for (_, at), value in self.values.items() if at in inside]
        deviations = [at for column, at in self._columns.std_of.items() if column in inside]
        return {*inside, *deviations} if max(decimals, default=0) > 1 else set()

    def _is_inside(self, column: int, kind: str) -> bool:
        found = {row: v for (row, at), v in self.values.items() if at == column and not v.signed}
        percent = any("%" in self.grid.cell(row, column) for row in found) or "%" in self.grid.columns[column]
        counts = bool(found) and not percent and kind not in (QUANTITY, STD, DIFFERENCE)
        return counts and are_fractions(found.values())

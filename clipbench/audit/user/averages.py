"""The averages of a table, known by the names of columns and rows, and the numbers that each of them is the mean of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from clipbench.audit.sums import re_adds
from clipbench.audit.user.axis import Axis
from clipbench.audit.user.words import DIFFERENCE, SCORE, STD, is_harmonic
from clipbench.registry.decimal import Decimal

Place = tuple[int, int]
"""Row and column."""
Names = Mapping[int, Sequence[str]]
"""By place; the most telling one first, the whole one last."""


class Averages:
    """What the columns and rows of numbers are, and the parts of those that are averages."""

    def __init__(self, values: Mapping[Place, Decimal], rows: Names, columns: Names) -> None:
        broken = [place for place, value in values.items() if value.decimals > 0]
        filled = {row for row, _ in values}, {column for _, column in values}
        self._values = values
        self.rows = Axis({at: rows[at] for at in sorted(filled[0])}, {row for row, _ in broken})
        self.columns = Axis({at: columns[at] for at in sorted(filled[1])}, {column for _, column in broken})
        self._beside = {at: self.columns.parts(at, self._fitting_rows(at)) for at in self.columns.averages()}
        self._below = {at: self.rows.parts(at, self._fitting_columns(at)) for at in self.rows.averages()}

    def parts(self, place: Place) -> list[Place]:
        """The places that a number is the mean of; none where it is no average."""
        row, column = place
        if beside := self._beside.get(column):
            return [(row, at) for at in beside]
        return [(at, column) for at in self._below.get(row, ())] if self._averaged_down(column) else []

    def _averaged_down(self, column: int) -> bool:
        """Whether a row of averages holds the mean of this column: the harmonic mean of two averages is none."""
        return self.columns.kinds[column] in (SCORE, DIFFERENCE) and not is_harmonic(self.columns.labels[column][-1])

    def _fitting_rows(self, column: int) -> Callable[[Sequence[int]], tuple[int, int]]:
        rows = [row for row, at in self._values if at == column and self.rows.kinds[row] != STD]
        return lambda parts: self._fits({(row, column): [(row, at) for at in parts] for row in rows})

    def _fitting_columns(self, row: int) -> Callable[[Sequence[int]], tuple[int, int]]:
        columns = [column for at, column in self._values if at == row and self._averaged_down(column)]
        return lambda parts: self._fits({(row, at): [(part, at) for part in parts] for at in columns})

    def _fits(self, averages: Mapping[Place, Sequence[Place]]) -> tuple[int, int]:
        """How many averages re-add from their parts, and how many have all of them."""
        whole = {place: parts for place, parts in averages.items() if all(part in self._values for part in parts)}
        fit = [
            re_adds("average", self._values[place], [self._values[p] for p in parts]) for place, parts in whole.items()
        ]
        return sum(fit), len(fit)

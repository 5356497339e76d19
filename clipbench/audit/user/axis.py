"""The columns, or the rows, of a printed table: what each is by its name, and which of them an average is of."""

from __future__ import annotations

from collections.abc import Sequence

from clipbench.audit.user.words import AVERAGE, SCORE, STD, normal, role, std_of


class Axis:
    """What the columns, or the rows, are by their names."""

    def __init__(self, labels: Sequence[tuple[str, int]]) -> None:
        self.labels = {at: label for label, at in labels}
        # A row's name may have its group in front: the last part says what it is.
        self.kinds = {at: _first_known(label, label.rpartition(", ")[2]) for label, at in labels}
        names = {normal(label): at for label, at in labels}
        self.std_of = {names[own]: at for label, at in labels if (own := std_of(label)) in names}
        self.kinds |= dict.fromkeys(self.std_of.values(), STD)
        for at, kind in self.kinds.items():
            if kind == STD and at not in self.std_of.values():
                self.std_of.setdefault(at - 1, at)
        if list(self.kinds.values()).count(SCORE) < 2:  # "Mean" beside one other column is a result, not their mean
            self.kinds = {at: SCORE if kind == AVERAGE else kind for at, kind in self.kinds.items()}

    def averaged(self, at: int) -> list[int]:
        """The entries that an average is of: those since the average before it, or all behind it where it is first."""
        before = [other for other, kind in self.kinds.items() if kind == AVERAGE and other < at]
        after = [other for other, kind in self.kinds.items() if kind == AVERAGE and other > at]
        start = max(before, default=-1)
        parts = [other for other, kind in self.kinds.items() if kind == SCORE and start < other < at]
        if not parts and not before:
            parts = [
                other for other, kind in self.kinds.items() if kind == SCORE and at < other < min(after, default=10**9)
            ]
        return parts


def _first_known(*labels: str) -> str:
    return next((kind for label in labels if (kind := role(label)) != SCORE), SCORE)

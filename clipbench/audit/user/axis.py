"""The columns, or the rows, of a printed table: what each is by its name, and which of them an average is of."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence

from clipbench.audit.user.words import AVERAGE, SCORE, SOME_AVERAGE, STD, normal, role_of, std_of

_MEANS = (AVERAGE, SOME_AVERAGE)
_FEWEST = 2
"""Averages that must be those of all columns but one, before that one is left out."""


class Axis:
    """What the columns, or the rows, are by their names."""

    def __init__(self, labels: Mapping[int, Sequence[str]], decimals: Collection[int]) -> None:
        """``labels``: names by place, the most telling first; ``decimals``: places of numbers that are not whole."""
        self.labels = labels
        self.kinds = {
            at: next((kind for name in names if (kind := role_of(name, decimals=at in decimals)) != SCORE), SCORE)
            for at, names in labels.items()
        }
        places = {normal(names[-1]): at for at, names in labels.items()}
        places |= {mean.removesuffix(" mean"): at for mean, at in places.items() if mean.endswith(" mean")}
        self.std_of = {places[own]: at for at, names in labels.items() if (own := std_of(names[-1])) in places}
        self.kinds |= dict.fromkeys(self.std_of.values(), STD)
        for at, kind in self.kinds.items():
            if kind == STD and at not in self.std_of.values():
                self.std_of.setdefault(at - 1, at)
        if list(self.kinds.values()).count(SCORE) < 2:  # "Mean" beside one other column is a result, not their mean
            self.kinds = {at: SCORE if kind in _MEANS else kind for at, kind in self.kinds.items()}

    def averages(self) -> list[int]:
        """Those that are called an average."""
        return [at for at, kind in self.kinds.items() if kind in _MEANS]

    def parts(self, at: int, fits: Callable[[Sequence[int]], tuple[int, int]]) -> list[int]:
        """The entries that an average is of; none where that cannot be known.

        Those since the average before it, unless others fit better: all before it, the averages before it, or those
        without one (ImageNet in "average of the targets"). An average of some, or of more than there are, must fit.

        Args:
            at: Its place.
            fits: Gives the number of averages that re-add from such parts, and of those that could.
        """
        scores = [other for other, kind in self.kinds.items() if kind == SCORE]
        means = [other for other in self.averages() if other < at]
        usual = self._usual(at, scores, means)
        sure = [usual, [other for other in scores if other < at], means, scores]
        less = [[*usual[:gone], *usual[gone + 1 :]] for gone in range(len(usual))] + [usual[2:]]
        found = {tuple(parts): fits(parts) for parts in (*sure, *less) if len(parts) > 1}
        known = [parts for parts, (fitting, _) in found.items() if fitting >= _FEWEST or list(parts) in sure]
        best = max(known, key=lambda parts: found[parts][0], default=())
        fitting, tried = found.get(best, (0, 0))
        certain = len(usual) > 1 and self.kinds[at] == AVERAGE and _stated(self.labels[at][0]) <= len(usual)
        return list(best) if certain or 0 < tried <= 2 * fitting else []

    def _usual(self, at: int, scores: Sequence[int], means: Sequence[int]) -> list[int]:
        """Entries of the average's own name in other groups (1 shot); else those back to the average before it."""
        alike = [other for other in scores if self.labels[other][0] == self.labels[at][0]]
        usual = alike or [other for other in scores if max(means, default=-1) < other < at]
        if usual or means:
            return usual
        end = min((other for other in self.averages() if other > at), default=10**9)
        return [other for other in scores if at < other < end]


def _stated(name: str) -> int:
    """Of how many entries an average is by its name: "Average over 11 data sets"; 0 where it does not say."""
    match = re.search(r"(?<![\w.-])(\d{1,3})(?![\w.%])", name)
    return int(match[1]) if match else 0

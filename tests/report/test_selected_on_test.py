"""A number whose epoch the test images chose says so wherever it stands."""

from __future__ import annotations

from dataclasses import replace

import pytest

from clipbench.compare.cells import Library
from clipbench.compare.verdict import Comparison, compare_paper
from clipbench.registry import Overrides
from clipbench.report.latex import tex
from clipbench.report.numbers import footnotes, measured_text
from tests.factory import records, table

WHERE = ("clip-dora/table1", "tip-adapter-f-4shot", "dtd")


def compared(overrides: Overrides) -> Comparison:
    paper, experiment = table(WHERE[0])
    library = Library(records(WHERE, [59.0, 60.0, 61.0], overrides=overrides))
    found = compare_paper([(paper, experiment)], library)
    return next(c for c in found if (c.cell.row.id, c.cell.column.id) == WHERE[1:])


@pytest.mark.parametrize(("choice", "marked"), [("best-test", True), ("last", False)])
def test_the_sign_the_footnote_and_the_reason(choice: str, marked: bool) -> None:
    cell = compared(Overrides(assume={"tip-selection": choice}))
    assert cell.measured is not None
    assert ("¶" in measured_text(cell)) is marked
    assert any(line.startswith("¶") for line in footnotes(table(WHERE[0])[1], [cell])) is marked
    assert ("the test images chose the epoch of ours" in cell.reason) is marked
    assert "optimistic" in cell.reason  # the caution about the printed number stands either way


def test_what_the_choice_is_worth() -> None:
    """Best epochs 80 and 82, last ones 79 and 80."""
    made = [
        replace(r, history=tuple(replace(line, accuracy=a) for line, a in zip(r.history[:3], curve, strict=True)))
        for r, curve in zip(records(WHERE, [80.0, 82.0]), [(70, 80, 79), (82, 81, 80)], strict=True)
    ]
    found = compare_paper([table(WHERE[0])], Library(made))
    (cell,) = [c for c in found if (c.cell.row.id, c.cell.column.id) == WHERE[1:]]
    assert "the best epoch has 81.00, the last 79.50, so that the choice alone is worth +1.50" in cell.reason


def test_latex_has_the_sign() -> None:
    assert tex("60.0¶") == r"60.0$^\P$"

"""Measured numbers as text, the signs behind them, and what the signs mean."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from clipbench.compare.stats import Side
from clipbench.compare.verdict import Comparison
from clipbench.registry import Axis, Cell, Table
from clipbench.registry.caution import Caution
from clipbench.report.provenance import provenance_of

MARKS = {"not comparable": "†", "incomplete": "‡", "quoted": "§"}
"""Signs behind measured numbers that must not be read as the paper's protocol, or that stand beside a quoted number."""


SELECTED_ON_TEST = "¶"
"""The sign behind measured numbers whose epoch the test images chose."""


def measured_text(cell: Comparison) -> str:
    """``51.04 ± 0.29 (2)†``: the number, and a sign where it does not compare."""
    if cell.measured is None:
        return ""
    mark = MARKS["not comparable"] if cell.measured.not_comparable else MARKS.get(cell.verdict, "")
    return number_text(cell) + mark + (SELECTED_ON_TEST if cell.measured.selected_on_test else "")


def number_text(cell: Comparison) -> str:
    """``51.04 ± 0.29 (2)``: mean, sample standard deviation, number of runs; empty where nothing was measured."""
    if cell.ours is None or cell.measured is None:
        return ""
    decimals = decimals_of(cell)
    return minus(f"{cell.ours.mean:.{decimals}f}" if cell.measured.exact else side_text(cell.ours, decimals))


def difference_text(cell: Comparison) -> str:
    """Measured minus printed, in brackets where another protocol was run; none for a smoke number."""
    if cell.smoke or cell.ours is None or cell.published is None or cell.published.value is None:
        return ""
    text = minus(f"{cell.ours.mean - float(cell.published.value):+.2f}")
    unlike = cell.verdict == "not comparable" or (cell.measured is not None and bool(cell.measured.not_comparable))
    return f"[{text}]" if unlike else text


def row_name(row: Axis) -> str:
    """``CLIP-LoRA, 4 shots``: the printed name, and the group that tells it from others of that name."""
    return f"{row.printed}, {row.group}" if row.group else row.printed


def minus(text: str) -> str:
    """With a true minus sign in place of each hyphen: for text that is a number."""
    return text.replace("-", "\N{MINUS SIGN}")


def side_text(side: Side, decimals: int) -> str:
    """``51.04 ± 0.29 (2)``."""
    spread = f" ± {side.std:.{decimals}f}" if side.std is not None else ""
    return f"{side.mean:.{decimals}f}{spread} ({side.n})"


def decimals_of(cell: Comparison) -> int:
    """As many as are printed, two at least."""
    return max(cell.published.decimals or 0, 2) if cell.published else 2


def footnotes(experiment: Table, cells: Sequence[Comparison], *, of_measured: bool = False) -> list[str]:
    """What the signs mean here, every reason once; what is missing; and what to know of the printed numbers.

    With ``of_measured``, only of the printed numbers that a measured one stands beside.
    """
    measured = [c.measured for c in cells if c.measured]
    printed = any(c.published for c in cells)
    unlike = "† not comparable with the paper: " if printed else "† another protocol than the paper's: "
    said: dict[str, list[str]] = {
        unlike: [reason for m in measured for reason in m.not_comparable],
        "‡ incomplete: ": [c.reason for c in cells if c.verdict == "incomplete"],
        "Without all target domains, and not averaged in: ": [
            f"{c.cell.row.id}/{c.cell.column.id}: {c.measured.lacking}"
            for c in cells
            if c.measured and c.measured.lacking and c.verdict != "incomplete"
        ],
        "Collapsed: ": [m.collapsed for m in measured if m.collapsed],
    }
    notes = [what + sentence(reasons) for what, reasons in said.items() if reasons]
    if any(c.measured and c.measured.exact and not c.measured.records for c in cells):
        notes.append("Counts and shares of parameters are computed from the architecture; they need no run.")
    notes += shared_runs(cells)
    if any(MARKS["quoted"] in measured_text(c) for c in cells):
        notes.append(f"{MARKS['quoted']} beside a number that the paper quotes from elsewhere.")
    if any(m.selected_on_test for m in measured):
        notes.append(
            f"{SELECTED_ON_TEST} the epoch is the one that is best on the test images: the number is optimistic."
        )
    if any(m.by_domain for m in measured):
        notes.append("A measured number is the mean over the target domains; runs are counted by seed.")
    beside = [c.cell for c in cells if c.measured]
    known = [x for x in experiment.cautions if not of_measured or any(x.holds(c.row.id, c.column.id) for c in beside)]
    known = known if printed else []
    return [*notes, *_cautions(experiment, known)]


def where_from(cells: Sequence[Comparison]) -> list[str]:
    """What the measured numbers come from: runs, or the architecture alone; nothing where none is measured."""
    measured = [c.measured for c in cells if c.measured]
    records = [r for m in measured for r in m.records]
    computed = sum(1 for m in measured if not m.records)
    are = "1 number is" if computed == 1 else f"{computed} numbers are"
    return [
        *(provenance_of(records).lines() if records else []),
        *shared_runs(cells),
        *([f"{are} computed from the architecture, without a run."] if computed else []),
    ]


def shared_runs(cells: Sequence[Comparison]) -> list[str]:
    """Which rows or groups of columns show the same runs of the smoke profile; nothing where none do."""
    found: dict[tuple[str, str], list[Cell]] = {}
    for c in cells:
        for record in c.measured.records if c.measured and not c.cell.derived else ():
            if record.protocol.profile == "smoke":
                found.setdefault((record.id, c.published.metric if c.published else ""), []).append(c.cell)
    names = dict.fromkeys(name for places in found.values() if len(places) > 1 for name in _apart(places))
    several = ", ".join(names)
    return [f"The smoke profile has one tiny model for every backbone: {several} show the same runs."] if names else []


def _apart(places: Sequence[Cell]) -> Sequence[str]:
    """What tells cells apart: the groups of their columns where they stand in one row, else their rows."""
    if len({cell.row.id for cell in places}) == 1:
        return [cell.column.group or cell.column.printed for cell in places]
    return [cell.row.printed for cell in places]


def _cautions(experiment: Table, cautions: Sequence[Caution]) -> list[str]:
    """What the registry says of printed numbers, with the rows and columns that it speaks of."""
    return [
        f"Printed numbers ({', '.join(dict.fromkeys([*rows, *columns])) or 'all'}): {sentence([caution.says])}"
        for caution in cautions
        for rows in [[experiment.row(name).printed for name in caution.rows]]
        for columns in [[experiment.column(name).printed for name in caution.columns]]
    ]


def sentence(reasons: Iterable[str]) -> str:
    """Every reason once, with one full stop behind all, whether a reason came with its own or not."""
    return "; ".join(dict.fromkeys(reason.rstrip(".") for reason in reasons)) + "."

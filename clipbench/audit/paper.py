"""A registered paper, audited: its numbers in the form of the checks, and all checks in order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from clipbench.audit.counts import check_counts
from clipbench.audit.finding import Finding
from clipbench.audit.misprints import check_misprints
from clipbench.audit.numbers import Key, Number
from clipbench.audit.parameters import check_parameters
from clipbench.audit.repeats import check_repeats
from clipbench.audit.sizes import test_size
from clipbench.audit.sums import check_sums
from clipbench.compare.cells import as_printed, parts_of
from clipbench.registry import Axis, Cell, Experiment, Paper
from clipbench.registry.decimal import Decimal
from clipbench.registry.printed import Published, load_published
from clipbench.results.metrics import METRICS


def audit_paper(paper: Paper) -> list[Finding]:
    """Every finding, check by check, in the paper's order."""
    numbers = numbers_of(paper)
    exact = {name for name, metric in METRICS.items() if metric.exact}
    counted = [
        n for n, p in zip(numbers.values(), load_published(paper).values(), strict=True) if p.metric not in exact
    ]
    return [
        *check_sums(numbers),
        *check_counts(counted),
        *check_repeats(numbers.values()),
        *check_parameters(paper, numbers),
        *check_misprints(numbers.values()),
        *_misprinted_text(paper),
    ]


def _misprinted_text(paper: Paper) -> Iterator[Finding]:
    """Misprints of formulas and sentences, which ``claims.toml`` lists."""
    from clipbench.audit.sentences.claim import load_claims  # which reads the numbers of this module
    from clipbench.audit.sentences.settled import Settled

    for claim in load_claims(paper):
        if claim.kind == "misprint" and isinstance(claim.check, Settled) and not claim.check.in_numbers:
            yield Finding("misprint", claim.where, claim.says, claim.check.found, "misprint", claim.note)


def numbers_of(paper: Paper) -> Mapping[Key, Number]:
    """The paper's printed numbers, each with what its protocol says of repetitions, test images and parts."""
    return {printed.key: _number(paper, printed) for printed in load_published(paper).values()}


def _number(paper: Paper, printed: Published) -> Number:
    experiment = paper.experiments[printed.experiment]
    cell = Cell(experiment.row(printed.row), experiment.column(printed.column))
    return Number(
        key=printed.key,
        where=place(experiment, cell),
        raw=printed.raw,
        value=None if printed.value is None else Decimal.of(printed.value, printed.decimals or 0),
        std=None if printed.std is None else Decimal.of(printed.std, _std_decimals(printed)),
        n=printed.n,
        note=printed.note,
        **_making(paper, experiment, cell, printed),
    )


def _making(paper: Paper, experiment: Experiment, cell: Cell, printed: Published) -> dict[str, Any]:
    """How the number is made: parts, or test images and the protocol that names it."""
    if cell.derived:
        axis = cell.column if cell.column.derived else cell.row
        parts = tuple((experiment.name, c.row.id, c.column.id) for c in parts_of(experiment, cell))
        operation = "average" if axis.average_of else "difference"
        return {"test_size": None, "size_source": "", "operation": operation, "parts": parts}
    if cell.quoted:
        return {"test_size": None, "size_source": "quoted: the other paper's split is not known"}
    protocol = as_printed(paper, experiment, cell.row, cell.column).protocol
    size, source = test_size(paper, protocol, printed.metric)
    same_as = "" if METRICS[printed.metric].exact else f"{printed.metric} {protocol.digest}"
    return {"test_size": size, "size_source": source, "same_as": same_as}


def place(experiment: Experiment, cell: Cell) -> str:
    """``Table I, r=8, α=16 (0.5%), AID 20% train``, in the paper's own words."""
    return f"{experiment.printed}, {_label(cell.row)}, {_label(cell.column)}"


def _label(axis: Axis) -> str:
    """The printed label; with its group where the label says nothing by itself (1 shot: CoOp)."""
    return f"{axis.group}: {axis.printed}" if axis.group else axis.printed


def _std_decimals(printed: Published) -> int:
    """Printed decimals of the standard deviation; one that lost its point has those of the value."""
    digits = printed.raw.partition("±")[2].strip()
    return len(digits.partition(".")[2]) or (printed.decimals or 0)

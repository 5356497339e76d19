"""Measured beside printed, with a verdict for every cell (the words are those of the README and of DESIGN)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from clipbench.compare.cells import Library, Measured
from clipbench.compare.domains import test_images
from clipbench.compare.stats import Assessment, Side, TestSet, assess, side_of
from clipbench.plan.runnable import missing_reason, unobtainable
from clipbench.registry import Cell, Paper, Table, resolve
from clipbench.registry.printed import PrintedNumber, load_published
from clipbench.registry.reads import without_chance
from clipbench.results.record import Record

WORDS = (
    "reproduced",
    "compatible",
    "deviates",
    "incomplete",
    "not comparable",
    "not run",
    "unobtainable",
    "quoted",
)
COMPARED = ("reproduced", "compatible", "deviates")
"""The verdicts for which a measured number was held against a printed one."""
MARGIN = 0.5
"""Default equivalence margin, percentage points."""


@dataclass(frozen=True)
class Judgement:
    """A verdict and what is behind it: the interval of the difference, if it was formed, and remarks in words."""

    verdict: str
    remarks: Sequence[str] = ()
    assessment: Assessment | None = None
    interval: str = ""

    @property
    def reason(self) -> str:
        """Interval and remarks in one line."""
        return "; ".join(filter(None, [self.interval, *self.remarks]))


@dataclass(frozen=True)
class Comparison:
    """One cell: what is printed, what was measured, their difference and the verdict with its reason."""

    paper: str
    experiment: str
    cell: Cell
    unit: str
    published: PrintedNumber | None
    measured: Measured | None
    judgement: Judgement

    @property
    def assessment(self) -> Assessment | None:
        """The difference with its interval; None where the two numbers must not be held against each other."""
        return self.judgement.assessment

    @property
    def verdict(self) -> str:
        """One of ``WORDS``."""
        return self.judgement.verdict

    @property
    def reason(self) -> str:
        """Everything behind the verdict, in one line."""
        return self.judgement.reason

    @property
    def smoke(self) -> bool:
        """Whether the measured number comes from the smoke profile: no difference to it means anything."""
        return self.measured is not None and self.measured.profile == "smoke"

    @property
    def ours(self) -> Side | None:
        """Mean, spread and number of our runs."""
        return side_of(list(self.measured.values.values())) if self.measured and self.measured.values else None


def compare_paper(chosen: Sequence[tuple[Paper, Table]], library: Library, margin: float = MARGIN) -> list[Comparison]:
    """Every printed cell of the chosen tables, in the paper's order. Figures print no numbers and are passed over."""
    results = []
    for paper, experiment in chosen:
        printed = load_published(paper)
        for cell in experiment.cells():
            published = printed.get((experiment.name, cell.row.id, cell.column.id))
            measured = library.cell(paper, experiment, cell)
            if measured is None and (published is None or published.value is None):
                continue
            results.append(_compare(paper, experiment, cell, published, measured, margin))
    return results


def summary(results: Sequence[Comparison]) -> dict[str, int]:
    """Cells by verdict, in the order of the vocabulary, zeros left out."""
    counts = Counter(r.verdict for r in results if r.published is not None and r.published.value is not None)
    return {word: counts[word] for word in WORDS if counts[word]}


def _compare(
    paper: Paper,
    experiment: Table,
    cell: Cell,
    published: PrintedNumber | None,
    measured: Measured | None,
    margin: float,
) -> Comparison:
    if published is None or published.value is None:
        unlike = measured.not_comparable if measured else ()
        found = Judgement("not comparable", ["the paper prints no number here", *unlike])
    elif cell.quoted or published.provenance == "quoted":
        found = Judgement("quoted", [_quoted(paper, cell, published)])
        if measured is not None:
            ours = judge(published, measured, margin, _due(paper, experiment, cell, published))
            beside = [f"ours beside it: {ours.reason}"] if ours.interval else ours.remarks
            found = Judgement("quoted", [*found.remarks, *beside], ours.assessment)
        elif cell.row.recipe and (gap := missing_reason(paper, experiment, cell)):
            found = replace(found, remarks=[*found.remarks, gap])
    elif measured is None:
        found = _absent(paper, experiment, cell)
    else:
        found = judge(published, measured, margin, _due(paper, experiment, cell, published))
    selected = [measured.selection] if measured and measured.selected_on_test else []
    found = replace(found, remarks=[*found.remarks, *selected, *experiment.cautions_of(cell)])
    return Comparison(paper.id, experiment.id, cell, experiment.unit_of(cell), published, measured, found)


def _quoted(paper: Paper, cell: Cell, published: PrintedNumber) -> str:
    reference = published.reference or cell.quoted or ""
    return f"the paper quotes it from {paper.references.get(reference, f'[{reference}]')}"


def _due(paper: Paper, experiment: Table, cell: Cell, published: PrintedNumber) -> int:
    """Repetitions that the protocol asks for: one where every seed gives the same number."""
    parts = [part for part in experiment.parts(cell) if not part.derived] if cell.derived else [cell]
    if parts and all(without_chance(resolve(paper, experiment, part).protocol) for part in parts):
        return 1
    return published.n or len(experiment.seeds)


def _absent(paper: Paper, experiment: Table, cell: Cell) -> Judgement:
    for part in experiment.parts(cell) if cell.derived else [cell]:
        if part.quoted or part.derived:
            continue
        if reason := unobtainable(resolve(paper, experiment, part).protocol):
            return Judgement("unobtainable", [reason])
    return Judgement("not run", [missing_reason(paper, experiment, cell) or "no record in this results folder"])


def judge(published: PrintedNumber, measured: Measured, margin: float, due: int) -> Judgement:
    """The verdict for one pair of numbers; ``due`` is the number of repetitions that the protocol asks for."""
    lack = list(filter(None, [measured.lacking, measured.collapsed]))
    if measured.not_comparable:
        return Judgement("not comparable", [*measured.not_comparable, *filter(None, [measured.lacking])])
    if not measured.values:
        return Judgement("incomplete", [f"0 of {due} seeds", *lack])
    if measured.exact:
        return _exact(published, measured)
    ours = side_of(list(measured.values.values()))
    std = None if published.std is None else float(published.std)
    theirs = Side(float(published.value or 0), std, published.n, published.decimals)
    assessment = assess(ours, theirs, test_set(measured.records), margin)
    if len(measured.values) < due:
        return Judgement("incomplete", [f"{len(measured.values)} of {due} seeds", *lack], assessment)
    return verdict_of(assessment, margin)


def verdict_of(assessment: Assessment, margin: float) -> Judgement:
    """The verdict on a difference that is known with its interval."""
    interval = f"90% interval {assessment.low:+.2f} to {assessment.high:+.2f}, margin ±{margin:g}"
    if assessment.equivalent:
        return Judgement("reproduced", assessment.notes, assessment, interval)
    if assessment.different:
        return Judgement("deviates", assessment.notes, assessment, interval)
    need = assessment.seeds_needed
    wanted = f"about {need} seeds of ours would tell" if need else "no number of our seeds would tell"
    return Judgement("compatible", [wanted, *assessment.notes], assessment, interval)


def _exact(published: PrintedNumber, measured: Measured) -> Judgement:
    """A number that follows from the architecture: it equals the printed one after rounding, or it does not."""
    value = next(iter(measured.values.values()))
    source = "" if measured.records else "computed from the architecture, no run needed: "
    half = 0.5 * 10.0**-published.decimals
    if math.isclose(value, float(published.value or 0), abs_tol=half * (1 + 1e-9), rel_tol=0.0):
        return Judgement("reproduced", [f"{source}{value:.4f} rounds to the printed number"])
    return Judgement("deviates", [f"{source}{value:.4f} does not round to {published.raw}"])


def test_set(records: Sequence[Record]) -> TestSet:
    """The test images behind a cell; of several data sets (an average) the smallest stands for all."""
    sets: dict[str, list[Record]] = {}
    for record in records:
        sets.setdefault(record.protocol.need("dataset"), []).append(record)
    smallest = min(sets.values(), key=test_images)
    images, first = test_images(smallest), smallest[0]
    population = images if first.protocol.test_domain is not None else images + first.data.train_images
    return TestSet(images, population, first.protocol.split_draw if first.protocol.split_draw else "same")

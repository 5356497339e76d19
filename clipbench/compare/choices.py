"""How much each unsaid choice moves the number: every choice against the default, beside the claimed gains."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from clipbench.audit.sentences.claim import load_claims
from clipbench.audit.sentences.forms import Order, Quantity
from clipbench.compare.domains import by_domain, means, test_images
from clipbench.compare.stats import Sample, sample_of, t_quantile
from clipbench.plan.choices import Variant, variants
from clipbench.plan.runnable import why_not
from clipbench.plan.select import runnable_cells, source_of
from clipbench.plan.target_domains import cell_of, domains_of
from clipbench.registry import Cell, Overrides, Paper, Protocol, Table, resolve
from clipbench.results.metrics import METRICS
from clipbench.results.record import Record


@dataclass(frozen=True)
class Runs:
    """The runs of one protocol: number by seed, and test images."""

    values: Mapping[int, float]
    images: int


_NONE = Runs({}, 0)


@dataclass(frozen=True)
class CellShift:
    """One cell under another choice: mean difference to the default over the seeds that both have."""

    row: str
    column: str
    shift: float
    seeds: int


@dataclass(frozen=True)
class Shift:
    """One choice. ``sample`` is the mean shift over its cells, seed by seed; without it ``why`` says what lacks."""

    variant: Variant
    cells: tuple[CellShift, ...]
    sample: Sample | None
    why: str

    @property
    def reach(self) -> float | None:
        """Half of the 95% interval of the mean shift; None where one seed gives no spread."""
        if self.sample is None or self.sample.known:
            return None
        return t_quantile(0.975, self.sample.df()) * self.sample.error()


@dataclass(frozen=True)
class Gain:
    """A gain that the paper claims in this experiment, as printed or as its printed numbers give it."""

    says: str
    where: str
    points: float


@dataclass(frozen=True)
class Sensitivity:
    """An experiment's choices with what they change, the claimed gains, and the records behind them."""

    paper: Paper
    experiment: Table
    profile: str
    fields: Mapping[str, object]
    shifts: tuple[Shift, ...]
    gains: tuple[Gain, ...]
    records: tuple[Record, ...]

    @property
    def measured(self) -> list[Shift]:
        """The choices with numbers, the largest shift first."""
        return sorted((s for s in self.shifts if s.sample), key=lambda s: -abs(s.sample.mean if s.sample else 0.0))


def sensitivity(
    paper: Paper, experiment: Table, records: Sequence[Record], profile: str | None = None
) -> Sensitivity | None:
    """What the records say of the choices of one experiment; None where there is no record of it."""
    own = [r for r in records if r.origin.experiment.startswith(f"{paper.id}/")]
    profile = profile or ("full" if any(r.protocol.profile != "smoke" for r in own) else "smoke")
    own = [r for r in own if r.protocol.profile == profile and experiment.metric in r.metrics]
    if not own:
        return None
    overrides = Overrides(profile, {}, _fields(own))
    groups = _groups(own)
    shifts = tuple(
        _shift(paper, experiment, v, overrides, groups) for v in variants(paper, experiment) if not v.default
    )
    if all(s.sample is None for s in shifts):
        return None
    used = set(_digests(paper, experiment, overrides))
    behind = tuple(r for r in own if cell_of(r.protocol).digest in used)
    return Sensitivity(paper, experiment, profile, overrides.fields, shifts, tuple(gains(paper, experiment)), behind)


def gains(paper: Paper, experiment: Table) -> Iterator[Gain]:
    """The claims that the registry marks as gains and that rest on this experiment's cells."""
    for claim in load_claims(paper):
        if not claim.gain or not isinstance(claim.check, Order | Quantity):
            continue
        linear = claim.check.entries[0][1]
        if any(key[0] == experiment.name for _, key in linear.terms):
            value = claim.printed.value if claim.printed else linear.unrounded(claim.numbers)
            yield Gain(claim.says, claim.where, abs(float(value)))


def _fields(records: Sequence[Record]) -> Mapping[str, object]:
    """The command-line overrides that most of the records were made with (``--epochs 1``)."""
    by_word = {json.dumps(dict(r.origin.overrides), sort_keys=True): r.origin.overrides for r in records}
    counts = Counter(json.dumps(dict(r.origin.overrides), sort_keys=True) for r in records)
    return by_word[counts.most_common(1)[0][0]]


def _groups(records: Sequence[Record]) -> Mapping[str, list[Record]]:
    """By the digest of the protocol of the cell that they belong to."""
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(cell_of(record.protocol).digest, []).append(record)
    return groups


def _runs(experiment: Table, protocol: Protocol, groups: Mapping[str, list[Record]]) -> Runs:
    """The numbers of one cell, seed by seed: the mean over the target domains, where there are such."""
    found = groups.get(cell_of(protocol).digest)
    if not found:
        return _NONE
    due = domains_of(protocol)
    of_domains = [r for r in found if not due or r.protocol.test_domain in due]
    numbers = by_domain(of_domains, METRICS[experiment.metric or ""].read)
    return Runs(means(numbers, due), test_images(of_domains)) if of_domains else _NONE


def _digests(paper: Paper, experiment: Table, overrides: Overrides) -> Iterator[str]:
    """Protocols of every cell in every choice."""
    source = source_of(paper, experiment)
    for variant in variants(paper, experiment):
        for cell in runnable_cells(source):
            yield cell_of(resolve(paper, source, cell, variant.of(overrides)).protocol).digest


def _shift(
    paper: Paper, experiment: Table, variant: Variant, overrides: Overrides, groups: Mapping[str, list[Record]]
) -> Shift:
    if variant.choice.missing:
        return Shift(variant, (), None, f"cannot run yet: {variant.choice.missing}")
    source = source_of(paper, experiment)
    pairs = []
    touched, reason = False, ""
    for cell in runnable_cells(source):
        default, other = (resolve(paper, source, cell, o) for o in (overrides, variant.of(overrides)))
        if default.protocol.digest == other.protocol.digest:
            continue
        touched = True
        reason = reason or why_not(other) or ""
        before, after = (_runs(source, r.protocol, groups) for r in (default, other))
        pairs.append((cell, before, after))
    if not touched:
        return Shift(variant, (), None, f"the {overrides.profile} profile sets these fields itself")
    return _compared(variant, [(c, a, b) for c, a, b in pairs if set(a.values) & set(b.values)], reason)


Pair = tuple[Cell, Runs, Runs]


def _compared(variant: Variant, pairs: Sequence[Pair], reason: str) -> Shift:
    """Differences seed by seed, and their mean over the cells for the seeds that all cells have."""
    if not pairs:
        return Shift(variant, (), None, reason or "not run")
    differences = [
        {s: other.values[s] - v for s, v in default.values.items() if s in other.values} for _, default, other in pairs
    ]
    cells = tuple(
        CellShift(cell.row.id, cell.column.id, sum(d.values()) / len(d), len(d))
        for (cell, *_), d in zip(pairs, differences, strict=True)
    )
    shared = set.intersection(*(set(d) for d in differences))
    means = [sum(d[s] for d in differences) / len(pairs) for s in sorted(shared)] or [
        sum(c.shift for c in cells) / len(cells)
    ]
    # A difference of two accuracies moves in whole images: their rounding is the least spread that it can have.
    least = math.sqrt(sum((100 / max(default.images, 1)) ** 2 / 6 for _, default, _ in pairs)) / len(pairs)
    return Shift(variant, cells, sample_of(means, least, least), "")

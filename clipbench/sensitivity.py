"""How much each unsaid choice moves the number: every reading against the default, beside the gains that the paper claims."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from clipbench.capabilities import why_not
from clipbench.claims import load_claims
from clipbench.claims.forms import Order, Quantity
from clipbench.claims.power import Sample, sample_of, t_quantile
from clipbench.metrics import METRICS
from clipbench.plan import runnable_cells, source_of
from clipbench.readings import Variant, variants
from clipbench.record import Record
from clipbench.spec import Cell, Experiment, Overrides, Paper, resolve

Values = Mapping[str, Mapping[int, float]]
"""Numbers by protocol digest and seed."""


@dataclass(frozen=True)
class CellShift:
    """One cell under another reading: mean difference to the default over the seeds that both have."""

    row: str
    column: str
    shift: float
    seeds: int


@dataclass(frozen=True)
class Shift:
    """One reading. ``sample`` holds the mean shift over its cells, seed by seed; without it ``why`` says what is lacking."""

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
    """An experiment's readings with what they change, the claimed gains, and the records behind them."""

    paper: Paper
    experiment: Experiment
    profile: str
    fields: Mapping[str, object]
    shifts: tuple[Shift, ...]
    gains: tuple[Gain, ...]
    records: tuple[Record, ...]

    @property
    def measured(self) -> list[Shift]:
        """The readings with numbers, the largest shift first."""
        return sorted((s for s in self.shifts if s.sample), key=lambda s: -abs(s.sample.mean if s.sample else 0.0))


def sensitivity(
    paper: Paper, experiment: Experiment, records: Sequence[Record], profile: str | None = None
) -> Sensitivity | None:
    """What the records say of the readings of one experiment; None where there is no record of it."""
    own = [r for r in records if r.origin.experiment.startswith(f"{paper.id}/")]
    profile = profile or ("full" if any(r.protocol.profile != "smoke" for r in own) else "smoke")
    own = [r for r in own if (r.protocol.profile or "full") == profile]
    if not own:
        return None
    overrides = Overrides(profile, {}, _fields(own))
    values = _values(own, experiment)
    shifts = tuple(_shift(paper, experiment, v, overrides, values) for v in variants(paper, experiment) if not v.default)
    if all(s.sample is None for s in shifts):
        return None
    used = {digest for digest in _digests(paper, experiment, overrides)}
    behind = tuple(r for r in own if r.protocol.digest in used)
    return Sensitivity(paper, experiment, profile, overrides.fields, shifts, tuple(gains(paper, experiment)), behind)


def gains(paper: Paper, experiment: Experiment) -> Iterator[Gain]:
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
    counts = Counter(tuple(sorted((k, str(v)) for k, v in r.origin.overrides.items())) for r in records)
    most, _ = counts.most_common(1)[0]
    return next(r.origin.overrides for r in records if tuple(sorted((k, str(v)) for k, v in r.origin.overrides.items())) == most)


def _values(records: Sequence[Record], experiment: Experiment) -> Values:
    metric = METRICS.get(experiment.metric or "", METRICS["accuracy"])
    found: dict[str, dict[int, float]] = {}
    for record in records:
        found.setdefault(record.protocol.digest, {})[record.seed] = metric.read(record)
    return found


def _digests(paper: Paper, experiment: Experiment, overrides: Overrides) -> Iterator[str]:
    """Protocols of every cell in every reading."""
    source = source_of(paper, experiment)
    for variant in variants(paper, experiment):
        for cell in runnable_cells(source):
            yield resolve(paper, source, cell, variant.of(overrides)).protocol.digest


def _shift(paper: Paper, experiment: Experiment, variant: Variant, overrides: Overrides, values: Values) -> Shift:
    if variant.reading.missing:
        return Shift(variant, (), None, f"cannot run yet: {variant.reading.missing}")
    source = source_of(paper, experiment)
    pairs = []
    touched, reason = False, ""
    for cell in runnable_cells(source):
        default, other = (resolve(paper, source, cell, o) for o in (overrides, variant.of(overrides)))
        if default.protocol.digest == other.protocol.digest:
            continue
        touched = True
        reason = reason or why_not(other) or ""
        pairs.append((cell, values.get(default.protocol.digest, {}), values.get(other.protocol.digest, {})))
    if not touched:
        return Shift(variant, (), None, f"the {overrides.profile} profile sets these fields itself")
    return _compared(variant, [(c, a, b) for c, a, b in pairs if set(a) & set(b)], reason)


Pair = tuple[Cell, Mapping[int, float], Mapping[int, float]]


def _compared(variant: Variant, pairs: Sequence[Pair], reason: str) -> Shift:
    """Differences seed by seed, and their mean over the cells for the seeds that all cells have."""
    if not pairs:
        return Shift(variant, (), None, reason or "not run")
    cells = []
    for cell, default, other in pairs:
        seeds = set(default) & set(other)
        mean = sum(other[s] - default[s] for s in seeds) / len(seeds)
        cells.append(CellShift(cell.row.id, cell.column.id, mean, len(seeds)))
    shared = set.intersection(*(set(default) & set(other) for _, default, other in pairs))
    means = [sum(other[s] - default[s] for _, default, other in pairs) / len(pairs) for s in sorted(shared)]
    sample = sample_of(means, 0.0, 0.0) if means else Sample(sum(c.shift for c in cells) / len(cells), 0.0, 1, known=True)
    return Shift(variant, tuple(cells), sample, "")

"""A claim on our own records, with the uncertainty of the seeds.

Every difference is formed seed by seed (runs of one seed share their split), and shown to be positive by a one-sided t
test at level 5%. A claim of several differences holds when each is shown (no correction is needed for that), and fails
when enough of them are shown to be negative, each at 5% over their number. A printed size holds when the difference is
shown to lie within a margin of it: half of it, at most `MARGIN` points. Quoted numbers stand as printed, with the
spread that is printed beside them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from clipbench.audit.sentences.claim import Claim
from clipbench.audit.sentences.forms import Order, Quantity
from clipbench.audit.sentences.linear import Linear
from clipbench.audit.sentences.words import FAILS, HOLDS, UNMEASURED, UNTOLD, Outcome
from clipbench.compare.cells import Library, Measured
from clipbench.compare.stats import LEVEL, Sample, above, below, sample_of, seeds_for
from clipbench.registry import Cell, Paper
from clipbench.registry.printed import Key, PrintedNumber, load_published

MARGIN = 0.5
_SHOWN = 3


@dataclass(frozen=True)
class Bench:
    """Where the measured numbers come from."""

    paper: Paper
    library: Library


def on_measured(claim: Claim, bench: Bench) -> Outcome | None:
    """Whether our records bear the sentence out; None where no run could (formulas, captions, counts)."""
    if not isinstance(claim.check, Order | Quantity):
        return None
    entries = [(what, linear.expanded(claim.numbers)) for what, linear, *_ in claim.check.entries]
    sources = {key: _source(bench, key) for _, linear in entries for _, key in linear.terms}
    lacking = [key for key, source in sources.items() if source is None]
    if lacking or not any(isinstance(s, Measured) for s in sources.values()):
        return Outcome(UNMEASURED, _absent(lacking, len(sources)))
    if any(isinstance(s, Measured) and s.profile == "smoke" for s in sources.values()):
        return Outcome(UNMEASURED, "not judged on smoke runs")
    samples = []
    for what, linear in entries:
        sample = _sample(linear, [(factor, sources[key]) for factor, key in linear.terms])
        if sample is None:
            return Outcome(UNMEASURED, f"{what}: its runs have no seed in common")
        samples.append((what, sample))
    outcome = _quantities(claim.check, samples) if isinstance(claim.check, Quantity) else _order(claim.check, samples)
    return _marked(outcome, [s for s in sources.values() if isinstance(s, Measured)])


Source = Measured | PrintedNumber


def _source(bench: Bench, key: Key) -> Source | None:
    """Our records of a cell; a quoted number as it is printed; nothing where neither is there."""
    experiment = bench.paper.tables[key[0]]
    cell = Cell(experiment.row(key[1]), experiment.column(key[2]))
    if cell.quoted:
        return load_published(bench.paper).get(key)
    return bench.library.cell(bench.paper, experiment, cell)


def _absent(lacking: Sequence[Key], total: int) -> str:
    if not lacking:
        return "it rests on quoted numbers alone"
    shown = ", ".join("/".join(key[1:]) for key in lacking[:_SHOWN])
    more = f" and {len(lacking) - _SHOWN} more" if len(lacking) > _SHOWN else ""
    return f"no record of {len(lacking)} of its {total} cells ({shown}{more})"


def _sample(linear: Linear, terms: Sequence[tuple[object, Source | None]]) -> Sample | None:
    """The difference seed by seed, with what quoted numbers add."""
    ours = [(float(f), s) for f, s in terms if isinstance(s, Measured)]  # type: ignore[arg-type]
    quoted = [(float(f), s) for f, s in terms if isinstance(s, PrintedNumber)]  # type: ignore[arg-type]
    seeds = set.intersection(*(set(s.values) for _, s in ours)) if ours else {0}
    if not seeds:
        return None
    constant = float(linear.constant) + math.fsum(f * float(s.value or 0) for f, s in quoted)
    values = [constant + math.fsum(f * s.values[seed] for f, s in ours) for seed in sorted(seeds)]
    fixed = math.fsum((f * float(s.std or 0)) ** 2 / (s.n or 1) for f, s in quoted)
    binomial = math.fsum(f**2 * _binomial(s) for f, s in ours)
    return sample_of(values, _least(ours), math.sqrt(binomial), fixed)


def _binomial(measured: Measured) -> float:
    """Variance of an accuracy over its test images, squared percent: stands in for the spread of a single seed."""
    if measured.exact:
        return 0.0
    p = min(max(math.fsum(measured.values.values()) / len(measured.values) / 100, 0.0), 1.0)
    return 1e4 * p * (1 - p) / max(_images(measured), 1)


def _least(ours: Sequence[tuple[float, Measured]]) -> float:
    """A difference moves in whole images: the spread of rounding to one."""
    return math.sqrt(math.fsum((f * 100 / max(_images(s), 1)) ** 2 / 12 for f, s in ours if not s.exact))


def _images(measured: Measured) -> int:
    return min(record.data.test_images for record in measured.records)


def _order(check: Order, samples: Sequence[tuple[str, Sample]]) -> Outcome:
    count = len(samples)
    positive = [s for _, s in samples if above(s)]
    negative = [s for _, s in samples if below(s, level=LEVEL / count)]
    found = _counted(samples, len(positive), len(negative), check.need)
    most = count - len(negative)
    if most < check.need or (check.exactly and len(positive) > check.need):
        return Outcome(FAILS, found)
    if len(positive) >= check.need and (not check.exactly or len(negative) == count - check.need):
        return Outcome(HOLDS, found)
    return Outcome(UNTOLD, found, _needed(check, [s for _, s in samples]))


def _needed(check: Order, samples: Sequence[Sample]) -> int | None:
    """Seeds that would settle it as it looks now: to show what holds, or enough of what does not."""
    looks = sum(s.mean > 0 for s in samples)
    count = len(samples)
    for_ = sorted(seeds_for(s.mean, s) or math.inf for s in samples if s.mean > 0)
    against = sorted(seeds_for(-s.mean, s, LEVEL / count) or math.inf for s in samples if s.mean <= 0)
    if check.exactly and looks == check.need:
        wanted = [*for_, *against]
    elif looks >= check.need:
        wanted = for_[: check.need + int(check.exactly)]
    else:
        wanted = against[: count - check.need + 1]
    most = max(wanted, default=math.inf)
    return None if math.isinf(most) else int(most)


def _counted(samples: Sequence[tuple[str, Sample]], positive: int, negative: int, need: int) -> str:
    shown = sorted(samples, key=lambda x: x[1].mean)[:_SHOWN]
    listed = "; ".join(f"{what} = {_number(s)}" for what, s in shown)
    if len(samples) == 1:
        return listed
    return f"{positive} shown, {negative} shown against, of {len(samples)} ({need} claimed); smallest: {listed}"


def _number(s: Sample) -> str:
    """``+0.24 ± 0.11 (2 seeds)``: mean and standard error."""
    return f"{s.mean:+.2f} ± {s.error():.2f} ({s.n} seed{'s' if s.n > 1 else ''})"


def _quantities(check: Quantity, samples: Sequence[tuple[str, Sample]]) -> Outcome:
    """The worst of the numbers decides."""
    outcomes = [
        _quantity(what, sample, float(entry[2].value), float(entry[2].unit))
        for (what, sample), entry in zip(samples, check.entries, strict=True)
    ]
    ranked = (FAILS, UNTOLD, HOLDS)
    worst = min((o.verdict for o in outcomes), key=ranked.index)
    chosen = [o for o in outcomes if o.verdict == worst]
    needs = [o.seeds_needed for o in chosen]
    need = None if any(n is None for n in needs) else max((n for n in needs if n is not None), default=None)
    return Outcome(worst, "; ".join(o.found for o in chosen[:_SHOWN]), need)


def _quantity(what: str, sample: Sample, printed: float, unit: float) -> Outcome:
    """Two one-sided tests against printed ± margin; nought never counts as the printed size."""
    margin = min(MARGIN, abs(printed) / 2) + unit / 2
    found = f"{what} = {_number(sample)}, printed {printed:g}, margin ±{margin:g}"
    low, high = printed - margin, printed + margin
    if above(sample, low) and below(sample, high):
        return Outcome(HOLDS, found)
    if below(sample, low, LEVEL / 2) or above(sample, high, LEVEL / 2):
        return Outcome(FAILS, found)
    off = abs(sample.mean - printed)
    need = seeds_for(margin - off, sample) if off < margin else seeds_for(off - margin, sample, LEVEL / 2)
    return Outcome(UNTOLD, found, need)


def _marked(outcome: Outcome, measured: Sequence[Measured]) -> Outcome:
    """What is not the paper's protocol says so before everything else."""
    reasons = list(dict.fromkeys(reason for m in measured for reason in m.not_comparable))
    if not reasons:
        return outcome
    return Outcome(outcome.verdict, f"[not the paper's: {'; '.join(reasons)}] {outcome.found}", outcome.seeds_needed)

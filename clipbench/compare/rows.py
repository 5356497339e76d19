"""Two methods beside each other: paired seed by seed and image by image, on whatever data both were run.

The difference is the mean over seeds of first minus second. Its error has two parts: the spread over seeds, and the
draw of the test images, which all seeds share where the test list is one. A paired bootstrap draws seeds and images
anew together; as it misses a part ``1/n`` of the variance over n seeds, that part is added, and Student's t has the
degrees of freedom that Satterthwaite's rule gives. McNemar's exact test looks at each seed by itself.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import special

from clipbench.compare.stats import LEVEL, t_quantile, welch
from clipbench.errors import UserError, near
from clipbench.plan.target_domains import cell_of
from clipbench.registry import Protocol
from clipbench.results.record import Record
from clipbench.results.scores import ImageScores

Scores = NDArray[np.float64]
Read = Callable[[Record], ImageScores | None]
"""The score of every test image of a run, in percent; None where the run's number is no mean over images."""
_DRAWS = 1000
_AT_ONCE = 4_000_000
"""Scores in memory at a time."""
_DATA = ("profile", "dataset", "limit", "train_part", "test_part", "label_space")
_SPLIT = ("split_rule", "split_draw")
_AMOUNT = ("shots", "train_fraction", "test_domain", "backbone", "weights")
EQUAL, UNTOLD, ALONE = "equal", "cannot be told", "not comparable"


@dataclass(frozen=True)
class RowDifference:
    """What two methods differ by on one data set.

    Attributes:
        where: Data set, shots and what else tells the setting from others.
        seeds: The seeds that both have.
        first: Mean of the first method over these seeds, percent.
        second: Mean of the second method.
        difference: First minus second, points.
        low: Lower end of the 90% interval.
        high: Upper end.
        mcnemar: Two-sided p by seed: images that only the first, and only the second gets right.
        verdict: ``equal`` within the margin, the name of the better method, ``cannot be told``, or ``not comparable``.
        reason: The numbers behind it, or what is lacking.
    """

    where: str
    seeds: tuple[int, ...]
    first: float
    second: float
    difference: float
    low: float
    high: float
    mcnemar: Mapping[int, tuple[int, int, float]]
    verdict: str
    reason: str


def compare_rows(records: Sequence[Record], names: tuple[str, str], read: Read, margin: float) -> list[RowDifference]:
    """Every setting in which both methods have records.

    Args:
        records: All records of the results folder.
        names: Rows, columns or methods by id, by the beginning of their ids (``clip-dora`` for ``clip-dora-1shot``), by
            their printed name, or a user's method as ``file.py:Class``.
        read: Gives the score of every test image of a run.
        margin: Within which two methods count as equal, points.

    Raises:
        UserError: A name that no record has, or one that stands for several rows of one setting.
    """
    sides = [_named(records, name) for name in names]
    if {r.id for r in sides[0]} == {r.id for r in sides[1]}:
        raise UserError(f"{names[0]} and {names[1]} are the same runs; name two different rows.")
    settings = _paired(sides[0], sides[1], names)
    if not settings:
        raise UserError(
            f"{names[0]} and {names[1]} have no records on the same test images: {names[0]} was run on "
            f"{_lists(sides[0])}, {names[1]} on {_lists(sides[1])}. `clipbench run` makes what is missing."
        )
    return [_compared(where, first, second, names, read, margin) for where, (first, second) in settings.items()]


def _named(records: Sequence[Record], name: str) -> list[Record]:
    """Records whose row (or column) has that id; else whose id begins with it; else of that printed name or method."""
    path = re.sub(r"^(?:.*[/\\])?([^/\\]+)\.py:", r"\1:", name)
    tests: tuple[Callable[[Record], bool], ...] = (
        lambda r: name in (r.origin.row, r.origin.column),
        lambda r: r.origin.row.startswith(f"{name}-"),
        lambda r: name.casefold() == r.origin.label.casefold(),
        lambda r: str(r.protocol.method).partition("@")[0] in (path, name.replace("-", "_")),
        lambda r: r.origin.row.startswith(f"{name.casefold()}-"),
    )
    for test in tests:
        if found := [record for record in records if test(record)]:
            return found
    known = sorted({record.origin.row for record in records})
    raise UserError(f"no record belongs to a row {name!r}; there are {', '.join(known)}.{near(name, known)}")


Setting = tuple[list[Record], list[Record]]


def _lists(records: Sequence[Record]) -> str:
    """Data sets and split rules, for a message."""
    words = (
        f"{str(r.protocol.dataset).partition('@')[0]} ({r.protocol.profile}, {r.protocol.split_rule})" for r in records
    )
    return ", ".join(sorted(set(words)))


def _paired(first: Sequence[Record], second: Sequence[Record], names: tuple[str, str]) -> dict[str, Setting]:
    """The records of both sides by the data that they have in common, and by shots and the like if need be."""
    found: dict[str, Setting] = {}
    for key in dict.fromkeys(_tested(r.protocol) for r in first):
        sides = [[r for r in side if _tested(r.protocol) == key] for side in (first, second)]
        if all(_protocols(side) == 1 for side in sides):
            found[_words(sides)] = (sides[0], sides[1])
            continue
        for amount in dict.fromkeys(_values(cell_of(r.protocol), _AMOUNT) for side in sides for r in side):
            parts = [_of_amount(side, amount) for side in sides]
            if all(parts):
                for name, part in zip(names, parts, strict=True):
                    _one_protocol(name, part)
                found[_words(parts)] = (parts[0], parts[1])
    return found


def _of_amount(side: Sequence[Record], amount: tuple[object, ...]) -> list[Record]:
    """The records of so many shots and the like; zero-shot goes with any number of them, on the same backbone."""
    backbone = dict(zip(_AMOUNT, amount, strict=True))["backbone"]
    zero_shot = [r for r in side if r.protocol.shots == 0 and r.protocol.backbone == backbone]
    return [r for r in side if _values(cell_of(r.protocol), _AMOUNT) == amount] or zero_shot


def _one_protocol(name: str, records: Sequence[Record]) -> None:
    if _protocols(records) > 1:
        rows = sorted({r.origin.row for r in records})
        what = ", ".join(rows) if len(rows) > 1 else f"{_protocols(records)} protocols of the row {rows[0]}"
        raise UserError(f"{name} stands for {what} on {_words([records])}; name one of them, or use another --out.")


def _protocols(records: Sequence[Record]) -> int:
    return len({cell_of(r.protocol).digest for r in records})


def _tested(protocol: Protocol) -> tuple[object, ...]:
    """What fixes the test images. Few-shot rules draw training images differently, and all test the whole test part."""
    split = _values(protocol, _SPLIT)
    return *_values(protocol, _DATA), *(["test part"] if protocol.shots is not None else split)


def _values(protocol: Protocol, names: Sequence[str]) -> tuple[object, ...]:
    return tuple(getattr(cell_of(protocol), name, None) for name in names)


def _words(sides: Sequence[Sequence[Record]]) -> str:
    """``dtd, 4 shots, ViT-B-16``; what the two sides differ in stands beside each other: ``0 shots / 4 shots``."""
    parts = [_amounts(side[0].protocol) for side in sides]
    return ", ".join(" / ".join(dict.fromkeys(filter(None, part))) for part in zip(*parts, strict=True) if any(part))


def _amounts(protocol: Protocol) -> list[str]:
    return [
        str(protocol.dataset).partition("@")[0],
        f"{protocol.shots} shot{'s' * (protocol.shots != 1)}" if protocol.shots is not None else "",
        f"{100 * protocol.train_fraction:g}% train" if protocol.train_fraction else "",
        str(protocol.backbone),
        "smoke profile" if protocol.profile == "smoke" else "",
    ]


def _compared(
    where: str, first: Sequence[Record], second: Sequence[Record], names: tuple[str, str], read: Read, margin: float
) -> RowDifference:
    """Seed by seed, over the target domains that both have; every image beside itself."""
    pairs = _pairs(first, second)
    nothing = RowDifference(where, (), math.nan, math.nan, math.nan, math.nan, math.nan, {}, ALONE, "")
    if not pairs:
        seeds = [" ".join(map(str, sorted({r.seed for r in side}))) for side in (first, second)]
        return replace(nothing, reason=f"no seed in common: {names[0]} has {seeds[0]}, {names[1]} has {seeds[1]}")
    scores: dict[int, list[tuple[Scores, Scores]]] = {}
    for seed, (mine, other) in pairs:
        sides = read(mine), read(other)
        if sides[0] is None or sides[1] is None:
            return replace(nothing, reason=f"seed {seed}: a run keeps no predictions of which its number is the mean")
        if sides[0].truth != sides[1].truth:
            return replace(nothing, reason=f"seed {seed}: the two runs were not tested on the same images")
        scores.setdefault(seed, []).append((sides[0].scores, sides[1].scores))
    means = {seed: [_mean([s[side] for s in parts]) for side in (0, 1)] for seed, parts in scores.items()}
    differences = {seed: [a - b for a, b in parts] for seed, parts in scores.items()}
    estimate, error, df = _estimate(list(differences.values()))
    reach = t_quantile(1 - LEVEL, df) * error
    low, high = estimate - reach, estimate + reach
    mcnemar = {seed: _mcnemar(np.concatenate(parts)) for seed, parts in differences.items()}
    verdict = _verdict(estimate, error, df, names, margin)
    counts = ", ".join(f"{b}:{c} (p {p:.2g})" for b, c, p in mcnemar.values())
    reason = (
        f"90% interval {low:+.2f} to {high:+.2f}, margin ±{margin:g}; only {names[0]} right : only {names[1]} right"
    )
    first_mean, second_mean = (float(np.mean([m[side] for m in means.values()])) for side in (0, 1))
    return RowDifference(
        where, tuple(means), first_mean, second_mean, estimate, low, high, mcnemar, verdict, f"{reason} = {counts}"
    )


def _pairs(first: Sequence[Record], second: Sequence[Record]) -> list[tuple[int, tuple[Record, Record]]]:
    """Runs of one seed and one target domain; of a seed that one side has in fewer domains, none."""
    sides = [{(r.seed, r.protocol.test_domain): r for r in side} for side in (first, second)]
    domains = {domain for side in sides for _, domain in side}
    whole = [s for s in sorted({s for s, _ in sides[0]}) if all((s, d) in side for d in domains for side in sides)]
    return [(seed, (sides[0][seed, d], sides[1][seed, d])) for seed in whole for d in sorted(domains, key=str)]


def _mean(parts: Sequence[Scores]) -> float:
    """Mean over the domains of the mean over their images."""
    return float(np.mean([part.mean() for part in parts]))


def _estimate(differences: Sequence[Sequence[Scores]]) -> tuple[float, float, float]:
    """Mean difference, its standard error, and the degrees of freedom, of ``[seed][domain][image]``."""
    by_seed = np.array([_mean(parts) for parts in differences])
    seeds = len(by_seed)
    between = float(by_seed.var(ddof=1)) / seeds if seeds > 1 else 0.0
    drawn = _bootstrap(differences).var(ddof=1)
    # Drawn anew, n seeds have (n - 1) / n of their variance; the rest of it is that of the images.
    images = max(float(drawn) - between * (seeds - 1) / seeds, _least(differences[0]))
    error, df = welch([(between, max(seeds - 1, 1)), (images, math.inf)])
    return float(by_seed.mean()), error, df


def _least(domains: Sequence[Scores]) -> float:
    """The variance where no image tells the methods apart, squared percent: few such images show little.

    Half an image is added to each cell of the paired table (Agresti and Min, Statistics in Medicine 24, 2005).
    """
    return (100.0 / (sum(map(len, domains)) + 2)) ** 2


def _bootstrap(differences: Sequence[Sequence[Scores]]) -> Scores:
    """Means ``[draws]`` with seeds and images drawn anew: the same images for all seeds where they share the list."""
    random = np.random.default_rng(0)
    shared = all(len({len(parts[d]) for parts in differences}) == 1 for d in range(len(differences[0])))
    means = np.zeros((_DRAWS, len(differences)))
    for domain in range(len(differences[0])):
        parts = [of_seed[domain] for of_seed in differences]
        together = [np.stack(parts)] if shared else [part[None] for part in parts]
        drawn = np.concatenate([_drawn_means(group, random) for group in together], axis=1)
        means += drawn / len(differences[0])
    weights = random.multinomial(len(differences), [1 / len(differences)] * len(differences), _DRAWS)
    return np.asarray((means * weights).sum(axis=1) / len(differences))


def _drawn_means(scores: Scores, random: np.random.Generator) -> Scores:
    """Means ``[draws, seeds]`` of ``[seeds, images]`` over images drawn anew, the same for all seeds of a draw."""
    seeds, images = scores.shape
    step = max(_AT_ONCE // (seeds * images), 1)
    counts = [min(step, _DRAWS - start) for start in range(0, _DRAWS, step)]
    return np.concatenate([scores[:, random.integers(0, images, (n, images))].mean(axis=2).T for n in counts])


def _mcnemar(differences: Scores) -> tuple[int, int, float]:
    """Images on which only the first, and only the second is better, and the exact two-sided p."""
    better, worse = int((differences > 0).sum()), int((differences < 0).sum())
    return better, worse, min(1.0, 2.0 * float(special.bdtr(min(better, worse), better + worse, 0.5)))


def _verdict(estimate: float, error: float, df: float, names: tuple[str, str], margin: float) -> str:
    reach = t_quantile(1 - LEVEL, df) * error
    if -margin <= estimate - reach and estimate + reach <= margin:
        return EQUAL
    if abs(estimate) > t_quantile(1 - LEVEL / 2, df) * error:
        return f"{names[0] if estimate > 0 else names[1]} is better"
    return UNTOLD

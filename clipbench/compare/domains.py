"""Numbers by target domain: those of a seed count where every domain that is due is there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from clipbench.results.record import Record


def by_domain(records: Sequence[Record], read: Callable[[Record], float]) -> dict[str, dict[int, float]]:
    """The number of every seed, by target domain; under the name ``""`` where none is held out."""
    found: dict[str, dict[int, float]] = {}
    for record in records:
        domain = record.protocol.test_domain
        found.setdefault(domain if domain else "", {})[record.seed] = read(record)
    return found


def means(numbers: Mapping[str, Mapping[int, float]], due: Sequence[str]) -> dict[int, float]:
    """Of the seeds that have every domain in ``due``, the mean over these domains."""
    parts = [numbers.get(name, {}) for name in due or ("",)]
    whole = sorted(set.intersection(*(set(part) for part in parts)))
    return {seed: sum(part[seed] for part in parts) / len(parts) for seed in whole}


def lacking(numbers: Mapping[str, Mapping[int, float]], due: Sequence[str]) -> str:
    """``seed 2 lacks cartoon and sketch``, for every seed that has some of the domains; empty where none lacks any."""
    seeds = sorted({seed for part in numbers.values() for seed in part})
    gaps = {seed: [name for name in due if seed not in numbers.get(name, {})] for seed in seeds}
    return "; ".join(f"seed {seed} lacks {' and '.join(names)}" for seed, names in gaps.items() if names)


def test_images(records: Sequence[Record]) -> int:
    """The images on which one seed's number rests: those of the test part.

    A mean over domains of unequal size counts as the number of images of one test part with the same binomial error.
    """
    sizes = {r.protocol.test_domain: r.data.test_images for r in records}
    return round(len(sizes) ** 2 / sum(1.0 / max(n, 1) for n in sizes.values()))

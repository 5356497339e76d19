"""Leave one domain out: a protocol that asks for ``each`` held-out domain is filled by one run per domain and seed.

A run's own protocol names its domain. Cells are looked up by the protocol that asks for each, so that a run counts for
its cell whichever way it was asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from clipbench.data.catalogue import entry, known
from clipbench.registry import Protocol
from clipbench.results.record import Record

EACH = "each"
"""The word for every domain of the data set, one after the other."""


def domains_of(protocol: Protocol) -> tuple[str, ...]:
    """The domains that a protocol holds out, in the catalogue's order; none where it holds none out."""
    if protocol.test_domain is None:
        return ()
    if protocol.test_domain != EACH:
        return (protocol.test_domain,)
    return tuple(entry(protocol.dataset).domains) if protocol.dataset in known() else ()


def runs_of(protocol: Protocol) -> tuple[Protocol, ...]:
    """The protocols of the runs that fill a cell: one per held-out domain, or the protocol itself."""
    return tuple(replace(protocol, test_domain=name) for name in domains_of(protocol)) or (protocol,)


def cell_of(protocol: Protocol) -> Protocol:
    """The protocol of the cell that a run belongs to: that for each held-out domain, or the protocol itself."""
    return protocol if protocol.test_domain is None else replace(protocol, test_domain=EACH)


def by_domain(records: Sequence[Record], read: Callable[[Record], float]) -> dict[str, dict[int, float]]:
    """The number of every seed, by held-out domain; under the name ``""`` where none is held out."""
    found: dict[str, dict[int, float]] = {}
    for record in records:
        found.setdefault(record.protocol.test_domain if record.protocol.test_domain else "", {})[record.seed] = read(
            record
        )
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

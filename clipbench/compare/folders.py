"""Two results folders beside each other, protocol by protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from clipbench.compare.stats import assess, side_of
from clipbench.compare.verdict import MARGIN, test_set, verdict_of
from clipbench.results.metrics import headline
from clipbench.results.record import Record


@dataclass(frozen=True)
class Match:
    """One protocol in two results folders: its number by seed on either side, and the verdict."""

    record: Record
    ours: dict[int, float]
    theirs: dict[int, float]
    verdict: str
    reason: str


def compare_folders(ours: Sequence[Record], theirs: Sequence[Record], margin: float = MARGIN) -> list[Match]:
    """Two results folders, protocol by protocol: identical seed by seed, or else judged as two samples.

    Protocols that only one of the folders has are named too.
    """
    here, there = _by_protocol(ours), _by_protocol(theirs)
    matches = []
    for digest in dict.fromkeys([*here, *there]):
        records = here.get(digest) or there[digest]
        mine, other = ({r.seed: headline(r) for r in side.get(digest, [])} for side in (here, there))
        differs = _differing_data(here.get(digest, ()), there.get(digest, ()))
        verdict = ("not comparable", differs) if differs else _agreement(mine, other, records, margin)
        matches.append(Match(records[0], mine, other, *verdict))
    return matches


def _differing_data(here: Sequence[Record], there: Sequence[Record]) -> str:
    """Which seeds were measured on other data in the one folder than in the other; empty where none was."""
    contents = [{r.seed: r.data.content_sha256 for r in side if r.data.content_sha256} for side in (here, there)]
    seeds = [str(seed) for seed in contents[0] if contents[1].get(seed, contents[0][seed]) != contents[0][seed]]
    return f"measured on other images, lists or class names (seed {', '.join(seeds)})" if seeds else ""


def _agreement(
    here: Mapping[int, float], there: Mapping[int, float], records: Sequence[Record], margin: float
) -> tuple[str, str]:
    if not here or not there:
        return "not run", f"no record of this protocol in {'the other' if here else 'this'} folder"
    if here == there:
        return "reproduced", "identical numbers, seed by seed"
    sides = side_of(list(here.values())), side_of(list(there.values()))
    found = verdict_of(assess(*sides, test_set(records), margin), margin)
    return found.verdict, found.reason


def _by_protocol(records: Sequence[Record]) -> Mapping[str, list[Record]]:
    groups: dict[str, list[Record]] = {}
    for record in sorted(records, key=lambda r: (r.origin.experiment, r.origin.row, r.origin.column, r.seed)):
        groups.setdefault(record.protocol.digest, []).append(record)
    return groups

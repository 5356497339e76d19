"""The measured side of a table: the records that belong to a printed cell, and whether they may be compared with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from statistics import fmean

from clipbench.audit.parameters import computed
from clipbench.compare.domains import by_domain, lacking, means
from clipbench.errors import UserError
from clipbench.models import family
from clipbench.plan.runnable import missing_reason
from clipbench.plan.target_domains import cell_of, domains_of
from clipbench.registry import Cell, Paper, Protocol, Table
from clipbench.registry.resolve import as_printed, as_smoke
from clipbench.results.collapse import collapsed, described
from clipbench.results.metrics import METRICS
from clipbench.results.record import Record


@dataclass(frozen=True)
class Measured:
    """The aggregate of the records that belong to a cell.

    ``values`` maps seeds to numbers in the cell's unit; where domains are held out in turn, each is the mean over them,
    and a seed that lacks a domain has no number. ``not_comparable`` says why these are not the paper's protocol
    (empty: they are); ``others`` counts further groups of records of this cell (other choices, other profiles). What is
    ``exact`` follows from the architecture: its one value has the key 0, and no record needs to stand behind it.
    """

    values: Mapping[int, float]
    records: Sequence[Record]
    not_comparable: Sequence[str]
    exact: bool
    others: int = 0
    collapsed: str = ""
    """Which runs are left out of ``values`` because they collapsed."""
    by_domain: Mapping[str, Mapping[int, float]] = field(default_factory=dict)
    """The number of every seed by target domain; empty where no domain is held out."""
    lacking: str = ""
    """Which seeds lack which target domains."""

    @property
    def selected_on_test(self) -> bool:
        """Whether the test images chose the epoch of some run: such a number is optimistic."""
        return any(record.protocol.selection == "best-test" for record in self.records)

    @property
    def selection(self) -> str:
        """What the choice of the epoch on the test images is worth; empty where they chose none."""
        if not self.selected_on_test:
            return ""
        if self.profile == "smoke":
            return "the test images chose the epoch of ours"
        tested = [[line.accuracy for line in r.history if line.accuracy is not None] for r in self.records]
        best, last = (fmean(pick(scores) for scores in tested if scores) for pick in (max, lambda scores: scores[-1]))
        return (
            f"the test images chose the epoch of ours: the best epoch has {best:.2f}, the last {last:.2f}, so that the "
            f"choice alone is worth {best - last:+.2f}"
        )

    @property
    def profile(self) -> str:
        """``full``, or ``smoke`` where any of the records is of that profile."""
        return "smoke" if any(record.protocol.profile == "smoke" for record in self.records) else "full"


class Library:
    """The records of a results folder, found by the cells of an experiment."""

    def __init__(self, records: Sequence[Record], profile: str | None = None) -> None:
        self._by_digest: dict[str, list[Record]] = {}
        self._by_origin: dict[tuple[str, str, str], set[str]] = {}
        for record in records:
            if profile is not None and record.protocol.profile != profile:
                continue
            digest = cell_of(record.protocol).digest
            self._by_digest.setdefault(digest, []).append(record)
            where = (record.origin.experiment, record.origin.row, record.origin.column)
            self._by_origin.setdefault(where, set()).add(digest)

    def cell(self, paper: Paper, experiment: Table, cell: Cell) -> Measured | None:
        """What was measured of a cell, computed from others where the paper does so; None where nothing was."""
        if cell.derived:
            return self._derived(paper, experiment, cell)
        if cell.quoted and missing_reason(paper, experiment, cell):
            return None
        canonical = as_printed(paper, experiment, cell.row, cell.column).protocol
        metric = METRICS[experiment.metric_of(cell)]
        digests = self._digests(paper, experiment, cell, canonical)
        counted = canonical.digest in digests
        if metric.exact and not counted and (value := _from_architecture(canonical, metric.name)) is not None:
            return Measured({0: value}, (), (), exact=True)
        if not digests:
            return None
        due = domains_of(canonical)
        records = [r for r in self._by_digest[digests[0]] if metric.exact or metric.name in r.metrics]
        if not records:
            return None
        lost = {} if metric.exact else _collapsed(records)
        numbers = by_domain([r for r in records if r.id not in lost], metric.read)
        values = means(numbers, due)
        return Measured(
            values=dict.fromkeys((0,), next(iter(values.values()))) if metric.exact else values,
            records=records,
            not_comparable=_reasons(records, canonical),
            exact=metric.exact,
            others=len(digests) - 1,
            collapsed="; ".join(dict.fromkeys(lost.values())),
            by_domain={name: numbers[name] for name in due if name in numbers},
            lacking=lacking(numbers, due),
        )

    def _digests(self, paper: Paper, experiment: Table, cell: Cell, canonical: Protocol) -> list[str]:
        """Groups of records: of the paper's protocol, other full ones, smoke's default, others; newest first."""
        # Cells of one protocol (a table's Dice, and the parameters of the same runs) share their records.
        same = {cell, *_by_protocol(paper, experiment).get(canonical.digest, ())}
        where = [(experiment.id, c.row.id, c.column.id) for c in same]
        found = set().union(*(self._by_origin.get(place, ()) for place in where)) | {canonical.digest}
        smoke = ""
        if experiment.protocol in paper.smoke:
            smoke = as_smoke(paper, experiment, cell.row, cell.column).protocol.digest
            found = found | {smoke}

        def rank(digest: str) -> tuple[bool, bool, bool, str]:
            records = self._by_digest[digest]
            full, newest = records[0].protocol.profile != "smoke", max(r.finished for r in records)
            return digest == canonical.digest, full, digest == smoke, newest

        return sorted((d for d in found if d in self._by_digest), key=rank, reverse=True)

    def _derived(self, paper: Paper, experiment: Table, cell: Cell) -> Measured | None:
        """An average or difference, seed by seed, over the seeds that every part has."""
        parts = [self.cell(paper, experiment, part) for part in experiment.parts(cell)]
        present = [p for p in parts if p is not None]
        if not present or len(present) < len(parts):
            return None
        exact = all(p.exact for p in present)
        seeds = set.intersection(*(set(p.values) for p in present))
        if not seeds:
            return None
        signs = (
            [1.0, -1.0] if (cell.column.difference_of or cell.row.difference_of) else [1.0 / len(parts)] * len(parts)
        )
        return Measured(
            values={s: sum(k * p.values[s] for k, p in zip(signs, present, strict=True)) for s in sorted(seeds)},
            records=[r for p in present for r in p.records if r.seed in seeds or exact],
            not_comparable=tuple(dict.fromkeys(reason for p in present for reason in p.not_comparable)),
            exact=exact,
            collapsed="; ".join(p.collapsed for p in present if p.collapsed),
            lacking="; ".join(
                f"{part.row.id}/{part.column.id}: {p.lacking}"
                for part, p in zip(experiment.parts(cell), present, strict=True)
                if p.lacking
            ),
        )


@cache
def _by_protocol(paper: Paper, experiment: Table) -> Mapping[str, Sequence[Cell]]:
    """The cells that are run, by the digest of the protocol that the paper prints for them."""
    cells: dict[str, list[Cell]] = {}
    for cell in experiment.cells():
        if not cell.derived:
            digest = as_printed(paper, experiment, cell.row, cell.column).protocol.digest
            cells.setdefault(digest, []).append(cell)
    return cells


def _from_architecture(protocol: Protocol, metric: str) -> float | None:
    """The number that needs no run; None where the architecture has no closed form here."""
    try:
        return float(computed(protocol, metric))
    except UserError:
        return None


def _collapsed(records: Sequence[Record]) -> dict[str, str]:
    """The runs of a cell that collapsed, by id, with what is said of them; each target domain by itself."""
    groups: dict[str | None, list[Record]] = {}
    for record in records:
        groups.setdefault(record.protocol.test_domain, []).append(record)
    said: dict[str, str] = {}
    for domain, group in groups.items():
        if lost := collapsed(group):
            text = described(lost, group)
            said |= dict.fromkeys((r.id for r in lost), f"{domain} held out: {text}" if domain else text)
    return said


def _reasons(records: Sequence[Record], canonical: Protocol) -> tuple[str, ...]:
    """What sets these records apart from the paper's protocol."""
    used, due = cell_of(records[0].protocol).as_dict(), canonical.as_dict()
    if used.get("profile") == "smoke":
        # The "@" marks a data set of the user's own, which the smoke profile reads as it is.
        return ("smoke profile: tiny model" + (", generated images" if "@" not in used.get("dataset", "") else ""),)
    names = [name for name in (*due, *(n for n in used if n not in due)) if used.get(name) != due.get(name)]
    reasons = [f"{name} {used.get(name, 'none')}, not {due.get(name, 'none')}" for name in names]
    reasons += _random_decoder(records[0].protocol)
    reasons += [f"incomplete data: {r.data.shortfall}" for r in records if not r.data.complete]
    reasons += [r.data.rebuilt for r in records if r.data.rebuilt]
    reasons += [sentence for r in records for sentence in r.data.unpublished]
    reasons += ["its seeds were measured on different data"] if _of_different_data(records) else []
    return tuple(dict.fromkeys(reasons))


def _of_different_data(records: Sequence[Record]) -> bool:
    """Whether runs that share class names, or a list of images, had others of them or other bytes."""
    data = [(r.protocol.test_domain, r.data) for r in records]
    content: dict[str, set[tuple[object, object]]] = {
        "names": {(domain, (d.class_names_sha256, d.split_file_sha256)) for domain, d in data},
        "images": {(d.split_sha256, d.images_sha256) for _, d in data},
        "shared images": {(d.shared_list_sha256, d.shared_images_sha256) for _, d in data},
    }
    return any(len({key for key, _ in pairs}) < len(pairs) for pairs in content.values())


def _random_decoder(protocol: Protocol) -> list[str]:
    """What a segmentation's backbone leaves to chance: a CLIP, unlike a CLIPSeg, has no decoder of its own."""
    if protocol.task != "segmentation" or family(protocol.need("backbone")) == "clipseg":
        return []
    reasons = ["decoder drawn at random"]
    if protocol.rank is None:
        return reasons
    learns = " and ".join(filter(None, ["adapters" if protocol.towers == "all" else "", protocol.also_trained]))
    return [*reasons, f"under {protocol.method} that decoder is frozen" + (f" but for its {learns}" if learns else "")]

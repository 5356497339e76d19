"""One self-contained HTML page of a results folder: verdicts, tables, runs, figures, audit, claims, assumptions, cost.

The template escapes everything that is put into it. The page asks no server for anything: style, script and figures
stand in it, and its own content policy forbids the rest.
"""

from __future__ import annotations

import base64
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined

from clipbench import __version__
from clipbench.audit.finding import Finding
from clipbench.audit.paper import audit_paper
from clipbench.audit.sentences.claim import load_claims
from clipbench.audit.sentences.printed import on_printed
from clipbench.audit.sentences.words import HOLDS, WITHIN
from clipbench.compare.cells import Library
from clipbench.compare.choices import Sensitivity, sensitivity
from clipbench.compare.claims import Bench, on_measured
from clipbench.compare.verdict import Comparison, compare_paper, summary
from clipbench.plan.select import place_of, runnable_cells
from clipbench.plan.user import with_earlier_methods
from clipbench.registry import Axis, Paper
from clipbench.registry.find import Named
from clipbench.registry.printed import load_published
from clipbench.report.audit import GRAVE, counted, kinds
from clipbench.report.claims import Judged
from clipbench.report.claims import summary as claim_counts
from clipbench.report.comparison import summary_line
from clipbench.report.evidence import Evidence, FieldLine, evidence, shared_fields
from clipbench.report.numbers import difference_text, footnotes, measured_text
from clipbench.report.provenance import provenance_of
from clipbench.report.table import Table
from clipbench.report.write import drawn
from clipbench.results.record import Record
from clipbench.results.store import Store


@dataclass(frozen=True)
class CellView:
    """A cell of the grid, and its line in the list below; ``evidence`` is None where nothing was run."""

    anchor: str
    row: Axis
    column: Axis
    printed: str
    measured: str
    difference: str
    bold: frozenset[str]
    verdict: str
    reason: str
    evidence: Evidence | None


@dataclass(frozen=True)
class TableView:
    """A printed table: its column groups with their widths, and its rows of cells."""

    table: Table
    place: str
    groups: Sequence[tuple[str, int]]
    rows: Sequence[tuple[Axis, Sequence[CellView | None]]]
    listed: Sequence[CellView]
    quoted: int
    about: Sequence[str]
    notes: Sequence[str]
    protocol: Sequence[FieldLine]


@dataclass(frozen=True)
class PaperView:
    """What is known of a paper beside its tables."""

    paper: Paper
    audit: str
    grave: Sequence[Finding]
    others: Sequence[tuple[str, Sequence[tuple[str, int]]]]
    claims: Sequence[Judged]
    measured_claims: bool
    effects: Sequence[Sensitivity]

    @property
    def sentences(self) -> str:
        """How many of its claims hold."""
        return claim_counts(self.claims, measured=self.measured_claims)


@dataclass(frozen=True)
class CostView:
    """The runs of one device: their number, seconds without what they shared twice, peak memory, energy, versions."""

    device: str
    runs: int
    seconds: float
    memory: int
    joules: float | None
    versions: Sequence[str]


def page(chosen: Sequence[Named], store: Store, profile: str | None, margin: float) -> str:
    """The whole page of the chosen tables and figures, from the records of a store.

    Tables with a measured cell come first; one that no paper prints and nobody has measured would be an empty grid.
    """
    records = [r for r in store.scan()[0] if profile in (None, r.protocol.profile)]
    library = Library(records)
    named = [(paper, with_earlier_methods(table, records)) for paper, table in chosen if not table.panels]
    views = [_table(one, library, margin) for one in named]
    tables = sorted((view for view in views if view.table.cells), key=lambda view: not view.table.measured)
    results = [c for view in tables for c in view.table.cells]
    papers = list({paper.id: paper for paper, _ in chosen}.values())
    counts = summary(results)
    about = provenance_of(r for c in results if c.measured for r in c.measured.records)
    written: str = _template().render(
        version=__version__,
        counts=counts,
        line=summary_line(counts, margin),
        about=about,
        tables=tables,
        figures=_figures(chosen, library, store),
        papers=[_paper(paper, chosen, records, library) for paper in papers],
        costs=_costs(records),
    )
    return written


def _template() -> Any:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["slug"] = _slug
    return environment.from_string((files("clipbench.report") / "page.html.j2").read_text(encoding="utf-8"))


def _slug(text: str) -> str:
    return re.sub(r"[^\w-]+", "-", text)


def _table(named: Named, library: Library, margin: float) -> TableView:
    paper, printed = named
    table = Table(paper, printed, load_published(paper), compare_paper([named], library, margin))
    raw = {(line.row.id, line.kind): line for line in table.lines()}
    by_cell = {(c.cell.row.id, c.cell.column.id): c for c in table.cells}
    rows = []
    with_numbers = {c.cell.row.id for c in table.cells if c.measured}
    for row in printed.rows:
        if row.extra and row.id not in with_numbers:
            continue
        cells: list[CellView | None] = []
        for at, column in enumerate(printed.columns):
            bold = frozenset(k for k in ("printed", "measured") if (x := raw.get((row.id, k))) and at in x.bold)
            found = by_cell.get((row.id, column.id))
            cells.append(_cell(table, found, bold) if found else None)
        rows.append((row, cells))
    views = [cell for _, cells in rows for cell in cells if cell]
    folded = [v for v in views if v.verdict == "quoted" and not v.measured]
    listed = sorted((v for v in views if v not in folded), key=lambda v: not v.measured)
    return TableView(
        table=table,
        place=place_of(paper, printed),
        groups=_groups(printed.columns),
        rows=rows,
        listed=listed,
        quoted=len(folded),
        # What is computed from the architecture has a note below.
        about=table.provenance.lines() if table.measured or not with_numbers else [],
        notes=footnotes(printed, table.cells),
        protocol=shared_fields(paper, printed, runnable_cells(printed)),
    )


def _cell(table: Table, compared: Comparison, bold: frozenset[str]) -> CellView:
    ran = compared.measured is not None and bool(compared.measured.records)
    where = compared.cell
    return CellView(
        anchor=_slug(f"{table.experiment.id}-{where.row.id}-{where.column.id}"),
        row=where.row,
        column=where.column,
        printed=compared.published.raw if compared.published else "",
        measured=measured_text(compared),
        difference=difference_text(compared),
        bold=bold,
        verdict=compared.verdict,
        reason=compared.reason,
        evidence=evidence(table.paper, table.experiment, compared) if ran else None,
    )


def _groups(columns: Sequence[Axis]) -> list[tuple[str, int]]:
    """Neighbouring columns of one group, with their number; empty where no column has a group."""
    found: list[tuple[str, int]] = []
    for column in columns:
        name = column.group or ""
        if found and found[-1][0] == name:
            found[-1] = (name, found[-1][1] + 1)
        else:
            found.append((name, 1))
    return found if any(name for name, _ in found) else []


def _figures(chosen: Sequence[Named], library: Library, store: Store) -> Iterator[tuple[str, str, str]]:
    """Anchor, title and PNG as base64 of every figure whose runs are there."""
    for paper, table in chosen:
        for name, content in drawn(paper, table, library, store).items():
            if name.endswith(".png"):
                title = f"{place_of(paper, table)}: {table.title}"
                yield _slug(f"figure-{paper.id}-{name}"), title, base64.b64encode(content).decode("ascii")


def _paper(paper: Paper, chosen: Sequence[Named], records: Sequence[Record], library: Library) -> PaperView:
    findings = audit_paper(paper)
    severities = dict.fromkeys(f.severity for f in findings if f.severity not in GRAVE)
    measured = any(r.origin.experiment.startswith(f"{paper.id}/") for r in records)
    bench = Bench(paper, library)
    claims = [Judged(c, on_printed(c), on_measured(c, bench) if measured else None) for c in load_claims(paper)]
    varied = [r for r in records if r.origin.assume]
    tables = [table for own, table in chosen if own is paper and not table.panels] if varied else []
    return PaperView(
        paper=paper,
        audit=f"{len(findings)} checks: {counted(findings)}",
        grave=sorted((f for f in findings if f.severity in GRAVE), key=lambda f: GRAVE.index(f.severity)),
        others=[(s, kinds([f for f in findings if f.severity == s])) for s in severities],
        claims=sorted(claims, key=lambda j: j.printed.verdict in (HOLDS, WITHIN)),
        measured_claims=measured,
        effects=[found for table in tables if (found := sensitivity(paper, table, records)) is not None],
    )


def _costs(records: Sequence[Record]) -> list[CostView]:
    by_device: dict[str, list[Record]] = {}
    for record in records:
        by_device.setdefault(record.environment.device, []).append(record)
    return [_cost(device, runs) for device, runs in by_device.items()]


def _cost(device: str, runs: Sequence[Record]) -> CostView:
    energies = [r.cost.energy_joules / r.cost.replicas for r in runs if r.cost.energy_joules is not None]
    environments: Mapping[str, int] = Counter(
        f"clipbench {e.clipbench} at commit {e.commit}, torch {e.torch}, open_clip {e.open_clip}, "
        f"Python {e.python}, {e.platform}"
        for e in (r.environment for r in runs)
    )
    return CostView(
        device=device,
        runs=len(runs),
        seconds=sum(r.cost.seconds / r.cost.replicas for r in runs),
        memory=max(r.cost.peak_memory_bytes for r in runs),
        joules=sum(energies) if energies else None,
        versions=list(environments),
    )

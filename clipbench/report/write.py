"""Writing tables and figures below an output folder, each file beside and renamed into place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from clipbench.compare.cells import Library
from clipbench.compare.verdict import compare_paper
from clipbench.files import write_bytes
from clipbench.plan.select import source_of
from clipbench.plan.user import with_earlier_methods
from clipbench.registry import Paper, Table, find
from clipbench.registry.find import Added, nothing_added
from clipbench.registry.printed import load_published
from clipbench.results.store import Fault, Store

if TYPE_CHECKING:
    from clipbench.report.table import Table as ReportTable

_FORMATS = ("md", "csv", "tex", "json")


def unsaid(_: object) -> None:
    """Nobody is told: of the folders that are no trustworthy records, or of a table."""


def write_tables(
    patterns: Sequence[str],
    out: Path,
    profile: str | None,
    added: Added = nothing_added,
    *,
    by_domain: bool = False,
    say_faults: Callable[[Sequence[Fault]], None] = unsaid,
    also: Callable[[ReportTable], None] = unsaid,
) -> list[Path]:
    """``tables/<paper>/<table>.{md,csv,tex,json}`` for every matching table that has a measured cell.

    ``also`` is given each of these tables.
    """
    from clipbench.report import table as t
    from clipbench.report.latex import latex
    from clipbench.report.markdown import markdown

    records, faults = Store(out / "results").scan()
    say_faults(faults)
    library = Library(records, profile)
    written = []
    for paper, experiment in find(patterns, added):
        if experiment.panels:
            continue
        experiment = with_earlier_methods(experiment, records)  # noqa: PLW2901
        table = t.Table(paper, experiment, load_published(paper), compare_paper([(paper, experiment)], library))
        if not table.measured:
            continue
        stem = out / "tables" / paper.id / experiment.name
        contents = (
            markdown(table, by_domain=by_domain),
            t.csv(table, by_domain=by_domain),
            latex(table, by_domain=by_domain),
            t.to_json(table),
        )
        for suffix, content in zip(_FORMATS, contents, strict=True):
            written.append(write_bytes(stem.with_name(f"{stem.name}.{suffix}"), content.encode()))
        also(table)
    return written


def write_figures(
    patterns: Sequence[str],
    out: Path,
    profile: str | None,
    say_faults: Callable[[Sequence[Fault]], None] = unsaid,
) -> list[Path]:
    """``figures/<paper>/<figure>.{png,svg,csv}`` for every matching figure whose runs are there.

    Of a table of segmentations, ``<table>-<dataset>.png``: a contact sheet of each data set.
    """
    store = Store(out / "results")
    records, faults = store.scan()
    say_faults(faults)
    library = Library(records, profile)
    written = []
    for paper, experiment in find(patterns):
        folder = out / "figures" / paper.id
        for name, content in drawn(paper, experiment, library, store).items():
            written.append(write_bytes(folder / name, content))
    return written


def drawn(paper: Paper, experiment: Table, library: Library, store: Store) -> dict[str, bytes]:
    """The files of a figure, or of a table of segmentations, by name; none where no run is behind them."""
    by_suffix: dict[str, bytes] = {}
    if experiment.kind == "curves" and _has_runs(paper, experiment, library):
        from clipbench.report.curves import draw_curves

        by_suffix = draw_curves(paper, experiment, library, store)
    if experiment.kind == "scatter" and _has_runs(paper, experiment, library):
        from clipbench.report.scatter import draw_scatter

        by_suffix = draw_scatter(paper, experiment, library, store)
    if experiment.kind == "table" and "dice" in {experiment.metric_of(cell) for cell in experiment.cells()}:
        from clipbench.report.contact_sheet import draw_sheets

        return {f"{name}.png": png for name, png in draw_sheets(paper, experiment, library, store).items()}
    return {f"{experiment.name}.{suffix}": content for suffix, content in by_suffix.items()}


def _has_runs(paper: Paper, experiment: Table, library: Library) -> bool:
    source = source_of(paper, experiment)
    drawn = {(row, column) for p in experiment.panels for row in p.rows for column in p.columns}
    return any(library.cell(paper, source, c) for c in source.cells() if (c.row.id, c.column.id) in drawn)

"""Curves against epochs: a panel per data set, a curve per row, mean and band over the seeds, the numbers as CSV."""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Mapping

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from clipbench.measured import Library, Measured
from clipbench.plan import source_of
from clipbench.report.provenance import Provenance, provenance_of
from clipbench.spec import Cell, Experiment, Panel, Paper

# Low to high rank runs from light to dark (readable in grey); what is no rank stands out in Okabe and Ito's vermilion.
_RANKED = ("#9ecae1", "#4292c6", "#2171b5", "#08306b")
_OTHER = ("#d55e00", "#009e73", "#cc79a7", "#000000")
_MARKERS = "osD^vPX*"
_LABELS = {"accuracy": "Overall accuracy (%)", "train_loss": "Training loss (cross-entropy)"}


def draw_curves(paper: Paper, experiment: Experiment, library: Library) -> dict[str, bytes]:
    """PNG, SVG and CSV of a figure of kind ``curves``, by suffix."""
    source = source_of(paper, experiment)
    measured = {
        (panel.title, row): library.cell(paper, source, Cell(source.row(row), source.column(column)))
        for panel in experiment.panels
        for row in panel.rows
        for column in panel.columns
    }
    present = {key: m for key, m in measured.items() if m is not None}
    about = provenance_of(r for m in present.values() for r in m.records)
    figure = _figure(paper, experiment, source, present, about)
    return {
        "png": saved(figure, "png"),
        "svg": saved(figure, "svg"),
        "csv": _numbers(present, experiment.y or "accuracy"),
    }


def _figure(
    paper: Paper,
    experiment: Experiment,
    source: Experiment,
    measured: Mapping[tuple[str, str], Measured],
    about: Provenance,
) -> Figure:
    columns = min(2, len(experiment.panels))
    rows = math.ceil(len(experiment.panels) / columns)
    with mpl.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(3.7 * columns, 2.75 * rows + 0.75), dpi=200, layout="constrained")
        top, bottom = figure.subfigures(2, 1, squeeze=False, height_ratios=(2.75 * rows, 0.75)).flat
        grid = top.subplots(rows, columns, squeeze=False)
        styles = _styles(experiment, source)
        for axes, panel in zip(grid.flat, experiment.panels, strict=False):
            _panel(axes, panel, experiment.y or "accuracy", measured, styles)
        for axes in grid.flat[len(experiment.panels) :]:
            axes.set_visible(False)
        title = f"{experiment.printed} of {paper.short}: {experiment.title.lower()}"
        reasons = dict.fromkeys(reason for m in measured.values() for reason in m.not_comparable)
        top.suptitle(f"{title}\n({_standing(about)})" if reasons else title, fontsize=10)
        lines = {line.get_label(): line for axes in grid.flat for line in axes.get_lines()}
        bottom.legend(lines.values(), lines.keys(), loc="upper center", ncols=min(len(lines), 5), frameon=False)
        why = [] if about.smoke or not reasons else [f"Not the paper's protocol: {'; '.join(reasons)}."]
        small = "\n".join(textwrap.fill(line, 75 * columns) for line in [*why, *about.lines()])
        bottom.text(0.5, 0.08, small, ha="center", fontsize=5.5, color="#8b0000" if reasons else "#444444")
        settle(figure)
    return figure


def _standing(about: Provenance) -> str:
    return "smoke profile, not the paper's" if about.smoke else "not the paper's protocol: see below"


def _styles(experiment: Experiment, source: Experiment) -> dict[str, dict[str, str]]:
    """Colour, marker and label of each row, the same in every panel."""
    names = list(dict.fromkeys(row for panel in experiment.panels for row in panel.rows))
    ranked = [n for n in names if "rank" in source.row(n).set]
    others = [n for n in names if n not in ranked]
    colours = dict(zip(ranked, _RANKED, strict=False)) | dict(zip(others, _OTHER, strict=False))
    return {
        name: {
            "color": colours.get(name, "#888888"),
            "marker": _MARKERS[i % len(_MARKERS)],
            "label": _label(source, name),
            "linestyle": "-" if name in ranked else "--",
        }
        for i, name in enumerate(names)
    }


def _label(source: Experiment, name: str) -> str:
    row = source.row(name)
    if "rank" in row.set and "alpha" in row.set:
        return f"r = {row.set['rank']}, α = {row.set['alpha']}"
    return row.printed


def _panel(
    axes: Axes, panel: Panel, y: str, measured: Mapping[tuple[str, str], Measured], styles: Mapping[str, dict[str, str]]
) -> None:
    """Mean over the seeds as a line, lowest to highest seed as a band."""
    axes.set_title(panel.title, fontsize=9, loc="left")
    axes.set_xlabel("Epoch")
    axes.set_ylabel(_LABELS.get(y, y))
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    for row in panel.rows:
        if (panel.title, row) not in measured:
            continue
        values = np.array([[getattr(line, y) for line in r.history] for r in measured[panel.title, row].records])
        epochs = np.arange(1, values.shape[1] + 1)
        style = styles[row]
        axes.fill_between(epochs, values.min(axis=0), values.max(axis=0), color=style["color"], alpha=0.15, linewidth=0)
        axes.plot(epochs, values.mean(axis=0), markersize=3, linewidth=1.4, **style)  # type: ignore[arg-type]
        axes.set_xticks(epochs if len(epochs) <= 12 else epochs[:: len(epochs) // 10])
    if not axes.get_lines():
        axes.set_xticks([])
        axes.set_yticks([])
        axes.text(0.5, 0.5, "not run", ha="center", va="center", transform=axes.transAxes, color="#888888")


def _numbers(measured: Mapping[tuple[str, str], Measured], y: str) -> bytes:
    """One line per panel, row, seed and epoch, with the run that it comes from."""
    rows = [
        {
            "panel": panel,
            "row": row,
            "seed": record.seed,
            "epoch": line.epoch,
            y: getattr(line, y),
            "profile": record.protocol.profile,
            "run": record.id,
        }
        for (panel, row), m in measured.items()
        for record in sorted(m.records, key=lambda r: r.seed)
        for line in record.history
    ]
    return pd.DataFrame(rows).to_csv(index=False).encode()


def settle(figure: Figure) -> None:
    """Lay out once and round: the last bits of the solver's answer vary, and with them whole files."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for axes in figure.axes:
        axes.set_position(tuple(round(x, 4) for x in axes.get_position().bounds))


def saved(figure: Figure, kind: str) -> bytes:
    """The file of a figure, the same bytes every time."""
    buffer = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "clipbench", "svg.fonttype": "none"}):
        figure.savefig(buffer, format=kind, metadata={"Date": None} if kind == "svg" else {"Software": "clipbench"})
    return buffer.getvalue()

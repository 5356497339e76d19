"""Curves: a panel per data set, a curve per row, mean and band over the seeds, the numbers as CSV.

Accuracy is drawn against epochs, the training loss against optimiser steps, as means of equal stretches of them.
"""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from clipbench.compare.cells import Library
from clipbench.plan.select import source_of
from clipbench.registry import Cell, Panel, Paper, Table
from clipbench.report.numbers import sentence
from clipbench.report.provenance import Provenance, provenance_of
from clipbench.results.record import Record
from clipbench.results.store import Store

# Low to high rank runs from light to dark (readable in grey); what is no rank stands out in Okabe and Ito's vermilion.
_RANKED = ("#9ecae1", "#4292c6", "#2171b5", "#08306b")
_OTHER = ("#d55e00", "#0072b2", "#009e73", "#cc79a7")
_MARKERS = "osD^vPX*"
_POINTS = 200
_LABELS = {"accuracy": "Overall accuracy (%)", "train_loss": "Training loss (cross-entropy)"}


@dataclass(frozen=True)
class Series:
    """One run's curve."""

    record: Record
    x: np.ndarray
    y: np.ndarray


Curves: TypeAlias = Mapping[tuple[str, str], Sequence[Series]]
"""The runs of each curve, by panel and row."""


def draw_curves(paper: Paper, experiment: Table, library: Library, store: Store) -> dict[str, bytes]:
    """PNG, SVG and CSV of a figure of kind ``curves``, by suffix."""
    source = source_of(paper, experiment)
    measured = {
        (panel.title, row): library.cell(paper, source, Cell(source.row(row), source.column(column)))
        for panel in experiment.panels
        for row in panel.rows
        for column in panel.columns
    }
    present = {key: m for key, m in measured.items() if m is not None}
    y = experiment.y or "accuracy"
    curves = {
        key: [_series(r, y, store) for r in sorted(m.records, key=lambda r: r.seed) if r.seed in m.values]
        for key, m in present.items()
    }
    about = provenance_of(r for m in present.values() for r in m.records)
    reasons = dict.fromkeys(reason for m in present.values() for reason in m.not_comparable)
    figure = _figure(paper, experiment, source, curves, (about, tuple(reasons)))
    return {"png": saved(figure, "png"), "svg": saved(figure, "svg"), "csv": _numbers(curves, y)}


def _series(record: Record, y: str, store: Store) -> Series:
    """Accuracy by epoch, or the loss by step: the means of at most two hundred equal stretches of steps."""
    if y != "train_loss":
        lines = [line for line in record.history if getattr(line, y) is not None]
        return Series(record, np.array([line.epoch for line in lines]), np.array([getattr(line, y) for line in lines]))
    with np.load(store.path(record.id, "losses.npz"), allow_pickle=False) as file:
        losses = file["losses"].astype(np.float64)
    stretches = np.array_split(np.arange(len(losses)), min(_POINTS, max(len(losses) // 4, 1)))
    ends = np.array([stretch[-1] + 1 for stretch in stretches])
    return Series(record, ends, np.array([losses[stretch].mean() for stretch in stretches]))


def _figure(
    paper: Paper,
    experiment: Table,
    source: Table,
    curves: Curves,
    footing: tuple[Provenance, Sequence[str]],
) -> Figure:
    about, reasons = footing
    columns = min(2, len(experiment.panels))
    rows = math.ceil(len(experiment.panels) / columns)
    with mpl.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(3.7 * columns, 2.75 * rows + 0.75), dpi=200, layout="constrained")
        top, bottom = figure.subfigures(2, 1, squeeze=False, height_ratios=(2.75 * rows, 0.75)).flat
        grid = top.subplots(rows, columns, squeeze=False)
        styles = _styles(experiment, source)
        for axes, panel in zip(grid.flat, experiment.panels, strict=False):
            _panel(axes, panel, experiment.y or "accuracy", curves, styles)
        for axes in grid.flat[len(experiment.panels) :]:
            axes.set_visible(False)
        title = f"{experiment.printed} of {paper.short}: {experiment.title[0].lower()}{experiment.title[1:]}"
        top.suptitle(f"{title}\n({_standing(about)})" if reasons else title, fontsize=10)
        lines = {line.get_label(): line for axes in grid.flat for line in axes.get_lines()}
        bottom.legend(lines.values(), lines.keys(), loc="upper center", ncols=min(len(lines), 5), frameon=False)
        why = [] if about.smoke or not reasons else ["Not the paper's protocol: " + sentence(reasons)]
        small = "\n".join(textwrap.fill(line, 75 * columns) for line in [*why, *about.lines()])
        bottom.text(0.5, 0.08, small, ha="center", fontsize=5.5, color="#8b0000" if reasons else "#444444")
        settle(figure)
    return figure


def _standing(about: Provenance) -> str:
    return "smoke profile, not the paper's" if about.smoke else "not the paper's protocol: see below"


def _styles(experiment: Table, source: Table) -> dict[str, dict[str, str]]:
    """Colour, marker and label of each row: rows of one label (a method at several shots) look alike in all panels."""
    names = list(dict.fromkeys(row for panel in experiment.panels for row in panel.rows))
    labels = {name: _label(source, name) for name in names}
    ranked = list(dict.fromkeys(labels[n] for n in names if "rank" in source.row(n).set))
    others = [label for label in dict.fromkeys(labels.values()) if label not in ranked]
    colours = dict(zip(ranked, _RANKED, strict=False)) | dict(zip(others, _OTHER, strict=False))
    places = {label: i for i, label in enumerate([*ranked, *others])}
    return {
        name: {
            "color": colours.get(label, "#888888"),
            "marker": _MARKERS[places[label] % len(_MARKERS)],
            "label": label,
            "linestyle": "--" if ranked and label not in ranked else "-",
        }
        for name, label in labels.items()
    }


def _label(source: Table, name: str) -> str:
    row = source.row(name)
    if "rank" in row.set and "alpha" in row.set:
        return f"r = {row.set['rank']}, α = {row.set['alpha']}"
    return row.printed


def _panel(axes: Axes, panel: Panel, y: str, curves: Curves, styles: Mapping[str, dict[str, str]]) -> None:
    """Mean over the seeds as a line, lowest to highest seed as a band."""
    axes.set_title(panel.title, fontsize=9, loc="left")
    axes.set_xlabel("Optimiser step" if y == "train_loss" else "Epoch")
    axes.set_ylabel(_LABELS.get(y, y))
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    for row in panel.rows:
        runs = curves.get((panel.title, row), ())
        if not runs:
            continue
        values, x = np.array([run.y for run in runs]), runs[0].x
        style = styles[row] if y != "train_loss" else styles[row] | {"marker": ""}
        axes.fill_between(x, values.min(axis=0), values.max(axis=0), color=style["color"], alpha=0.15, linewidth=0)
        axes.plot(x, values.mean(axis=0), markersize=3, linewidth=1.4, **style)  # type: ignore[arg-type]
        if y != "train_loss":
            axes.set_xticks(x if len(x) <= 12 else x[:: len(x) // 10])
    if not axes.get_lines():
        axes.set_xticks([])
        axes.set_yticks([])
        axes.text(0.5, 0.5, "not run", ha="center", va="center", transform=axes.transAxes, color="#888888")


def _numbers(curves: Curves, y: str) -> bytes:
    """One line per panel, row, seed and point, with the run that it comes from."""
    x = "step" if y == "train_loss" else "epoch"
    rows = [
        {
            "panel": panel,
            "row": row,
            "seed": run.record.seed,
            x: at,
            y: value,
            "profile": run.record.protocol.profile,
            "run": run.record.id,
        }
        for (panel, row), runs in curves.items()
        for run in runs
        for at, value in zip(run.x.tolist(), run.y.tolist(), strict=True)
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

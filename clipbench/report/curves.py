"""Curves: a panel per data set, a curve per row, mean and band over the seeds, the numbers as CSV.

Accuracy is drawn against epochs, the training loss against optimiser steps, as means of equal stretches of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from clipbench.compare.cells import Library
from clipbench.plan.select import place_of, source_of
from clipbench.registry import Cell, Panel, Paper, Table
from clipbench.report.frame import Shape, departures, framed, missing, plain_axes, saved, title_of
from clipbench.report.provenance import Provenance, provenance_of
from clipbench.results.record import Record
from clipbench.results.store import Store

# Low to high rank runs from light to dark (readable in grey); what is no rank has Okabe and Ito's colours.
_RANKED = ("#9ecae1", "#4292c6", "#2171b5", "#08306b")
_OTHER = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000", "#b8a800", "#8c564b")
_MARKERS = "osD^vPX*"
_POINTS, _FEWEST = 200, 8
_LABELS = {"accuracy": "Overall accuracy (%)", "train_loss": "Training loss (cross-entropy)"}
_COMPARED = ("accuracy",)
"""What has one range in all panels. Losses depend on the number of classes: one range would flatten half of them."""
_SHAPE = Shape(width=3.1, height=2.1, left=0.58, legend_columns=5)


@dataclass(frozen=True)
class Series:
    """One run's curve."""

    record: Record
    x: np.ndarray
    y: np.ndarray


Curves: TypeAlias = Mapping[tuple[str, str], Sequence[Series]]
"""The runs of each curve, by panel and row."""


def draw_curves(paper: Paper, experiment: Table, library: Library, store: Store) -> dict[str, bytes]:
    """PNG, SVG and CSV of a figure of kind ``curves``, by suffix; none where every run of it collapsed."""
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
    if not any(curves.values()):
        return {}
    about = provenance_of(r for m in present.values() for r in m.records)
    reasons = dict.fromkeys(reason for m in present.values() for reason in m.not_comparable)
    figure = _figure(paper, experiment, source, curves, (about, tuple(reasons)))
    return {
        "png": saved(figure, "png"),
        "svg": saved(figure, "svg"),
        "csv": _numbers(curves, "step" if y == "train_loss" else experiment.x.lower(), y),
    }


def _series(record: Record, y: str, store: Store) -> Series:
    """Accuracy by epoch, or the loss by step: means of equal stretches, of four steps where there are enough."""
    if y != "train_loss":
        lines = [line for line in record.history if getattr(line, y) is not None]
        return Series(record, np.array([line.epoch for line in lines]), np.array([getattr(line, y) for line in lines]))
    with np.load(store.path(record.id, "losses.npz"), allow_pickle=False) as file:
        losses = file["losses"].astype(np.float64)
    stretches = np.array_split(np.arange(len(losses)), _stretches(len(losses)))
    ends = np.array([stretch[-1] + 1 for stretch in stretches])
    return Series(record, ends, np.array([losses[stretch].mean() for stretch in stretches]))


def _stretches(steps: int) -> int:
    """How many points a curve of that many steps has: a line needs some, and nobody sees more than two hundred."""
    return min(_POINTS, max(steps // 4, min(steps, _FEWEST)))


def _figure(
    paper: Paper,
    experiment: Table,
    source: Table,
    curves: Curves,
    footing: tuple[Provenance, Sequence[str]],
) -> Figure:
    about, reasons = footing
    y, styles = experiment.y or "accuracy", _styles(experiment, source)
    where = place_of(paper, experiment)
    title = f"{where[0].upper()}{where[1:]}: {experiment.title[0].lower()}{experiment.title[1:]}"
    run = {panel for (panel, _), series in curves.items() if series}
    panels = [panel for panel in experiment.panels if panel.title in run]
    reasons_missing = {panel.title: "not run" for panel in experiment.panels if panel not in panels}
    caption = [
        _means(curves, y),
        *missing(experiment.id, reasons_missing, smoke=about.smoke),
        *departures(reasons, about),
        *about.lines(),
    ]
    shown = {styles[row]["label"]: styles[row] for panel, row in curves if curves[panel, row]}
    legend = [(Line2D([], [], markersize=4, linewidth=1.4, **_line(style, y)), label) for label, style in shown.items()]
    with plain_axes():
        heading = title_of(title, about, reasons)
        figure, drawn = framed(_SHAPE, len(panels), heading, legend, caption, warns=bool(reasons))
        for axes, panel in zip(drawn, panels, strict=True):
            _panel(axes, panel, y, curves, styles)
            axes.set_xlabel("Optimiser step" if y == "train_loss" else experiment.x)
            axes.yaxis.label.set_visible(axes.get_position().x0 == drawn[0].get_position().x0)
        if y in _COMPARED:
            _one_range(drawn)
    return figure


def _means(curves: Curves, y: str) -> str:
    """What line and band are, and over how many seeds."""
    counts = sorted({len(runs) for runs in curves.values() if runs})
    if counts == [1]:
        return "Each line is one seed."
    seeds = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    text = f"Line: mean over {seeds} seeds. Band: from the lowest to the highest of them."
    return text if y in _COMPARED else f"{text} Each panel has a range of its own."


def _one_range(panels: Sequence[Axes]) -> None:
    """The same range of values in all panels, so that they can be compared by eye."""
    limits = [axes.get_ylim() for axes in panels]
    for axes in panels:
        axes.set_ylim(min(low for low, _ in limits), max(high for _, high in limits))


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


def _line(style: Mapping[str, str], y: str) -> dict[str, Any]:
    """Losses have a point every few steps, too many for markers."""
    return {**style, "marker": ""} if y == "train_loss" else dict(style)


def _label(source: Table, name: str) -> str:
    row = source.row(name)
    if "rank" in row.set and "alpha" in row.set:
        return f"r = {row.set['rank']}, α = {row.set['alpha']}"
    return row.printed


def _panel(axes: Axes, panel: Panel, y: str, curves: Curves, styles: Mapping[str, dict[str, str]]) -> None:
    """Mean over the seeds as a line, lowest to highest seed as a band."""
    axes.set_title(panel.title, fontsize=9, loc="left")
    axes.set_ylabel(_LABELS.get(y, y))
    axes.yaxis.set_label_coords(-0.42 / _SHAPE.width, 0.5)
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    for row in panel.rows:
        runs = curves.get((panel.title, row), ())
        if not runs:
            continue
        values, x = np.array([run.y for run in runs]), runs[0].x
        style = _line(styles[row], y)
        axes.fill_between(x, values.min(axis=0), values.max(axis=0), color=style["color"], alpha=0.15, linewidth=0)
        axes.plot(x, values.mean(axis=0), markersize=3, linewidth=1.4, **style)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if y != "train_loss":
            axes.set_xticks(x if len(x) <= 12 else x[:: len(x) // 10])


def _numbers(curves: Curves, x: str, y: str) -> bytes:
    """One line per panel, row, seed and point, with the run that it comes from."""
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

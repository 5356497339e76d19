"""The sensitivity of an experiment to what its paper leaves unsaid: table (text, Markdown, JSON), plot and CSV."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from clipbench.compare.choices import Gain, Sensitivity, Shift
from clipbench.files import write_bytes
from clipbench.report.frame import saved
from clipbench.report.provenance import provenance_of
from clipbench.report.terminal import as_table

_HEADERS = ("assumption", "default", "choice", "mean shift", "cells from", "to", "cells", "seeds", "of largest gain")
_BLUE, _GREY, _RED = "#2171b5", "#9a9a9a", "#d55e00"

_SIGNS = "Blue: mean over the cells, with its 95 % interval over the seeds. Grey: single cells. Red: claimed gains."


def render(results: Sequence[Sensitivity], kind: str) -> str:
    """Every experiment in one of the formats."""
    if kind == "json":
        return json.dumps([_values(s) for s in results], indent=1, ensure_ascii=False)
    if kind == "csv":
        lines = [(s.experiment.id, *_line(x, s.gains)) for s in results for x in s.measured]
        return as_table(kind, ("experiment", *_HEADERS), lines)
    return "\n\n".join(_block(s, kind) for s in results)


def write(result: Sensitivity, out: Path) -> list[Path]:
    """``figures/<paper>/<experiment>-assumptions.{png,svg,csv}``."""
    stem = out / "figures" / result.paper.id / f"{result.experiment.name}-assumptions"
    figure = _figure(result)
    contents = {"png": saved(figure, "png"), "svg": saved(figure, "svg"), "csv": _numbers(result)}
    return [write_bytes(stem.with_name(f"{stem.name}.{suffix}"), content) for suffix, content in contents.items()]


def about(result: Sensitivity) -> list[str]:
    """Provenance, the warning about smoke numbers first, and the overrides that all runs share."""
    lines = provenance_of(result.records).lines()
    fields = ", ".join(f"{name} = {value}" for name, value in result.fields.items())
    lines += (
        ["The claimed gains are the paper's, on its own data."] if result.profile == "smoke" and result.gains else []
    )
    return [*lines, *([f"All runs with {fields}, against the protocol."] if fields else [])]


def _block(s: Sensitivity, kind: str) -> str:
    head = "## " if kind == "md" else ""
    title = f"{head}{s.experiment.id}: what each unsaid choice moves, in points of {s.experiment.metric}"
    rows = [_line(x, () if s.profile == "smoke" else s.gains) for x in s.measured]
    table = as_table(kind, _HEADERS, rows)
    small = "±: 95% interval of the mean over seeds; from, to: single cells (means over seeds)."
    parts = [title, "\n".join(about(s)), table, small, _gains(s.gains, kind), _undone(s.shifts)]
    return "\n\n".join(part for part in parts if part)


def _line(x: Shift, gains: Sequence[Gain]) -> tuple[str, ...]:
    a, reach = x.variant.assumption, x.reach
    mean = x.sample.mean if x.sample else 0.0
    shifts, seeds = [c.shift for c in x.cells], {c.seeds for c in x.cells}
    largest = max((g.points for g in gains), default=0.0)
    share = f"{100 * abs(mean) / largest:.0f}%" if largest else ""
    spread = f" ± {reach:.2f}" if reach is not None else ""
    number = str(min(seeds)) if len(seeds) == 1 else f"{min(seeds)} to {max(seeds)}"
    cells = (f"{min(shifts):+.2f}", f"{max(shifts):+.2f}", str(len(shifts)))
    return a.id, a.take, x.variant.choice.name, f"{mean:+.2f}{spread}", *cells, number, share


def _gains(gains: Sequence[Gain], kind: str) -> str:
    """The claimed gains, the largest first."""
    if not gains:
        return "The paper's text claims no gain on this table."
    mark = "* " if kind == "md" else "  "
    ordered = sorted(gains, key=lambda g: -g.points)
    return "Beside the gains that the paper claims:\n" + "\n".join(
        f"{mark}{g.points:.2f}  {g.says} ({g.where})" for g in ordered
    )


def _undone(shifts: Sequence[Shift]) -> str:
    """Choices without numbers, by reason."""
    reasons: dict[str, list[str]] = {}
    for x in shifts:
        if x.sample is None:
            reasons.setdefault(x.why, []).append(x.variant.name)
    lines = [textwrap.fill(f"{why}: {', '.join(names)}", 110, subsequent_indent="  ") for why, names in reasons.items()]
    return "Without numbers:\n" + "\n".join(lines) if lines else ""


def _figure(s: Sensitivity) -> Figure:
    """A line per choice: its cells in grey, their mean with its 95% interval in blue; claimed gains on top in red."""
    shown, gains = s.measured, sorted(s.gains, key=lambda g: -g.points)
    lines = len(shown) + len(gains)
    with mpl.rc_context({"font.size": 8, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(7.5, 0.22 * lines + 1.9), dpi=200, layout="constrained")
        axes = figure.subplots()
        for at, gain in enumerate(gains):
            axes.plot([-gain.points, gain.points], [at, at], color=_RED, linewidth=1.2, marker="|", markersize=6)
        for at, shift in enumerate(shown, start=len(gains)):
            _draw(axes, shift, at)
        _dressed(axes, s, [_claimed(g) for g in gains], [_choice(x) for x in shown])
        smoke = s.profile == "smoke"
        title = f"{s.experiment.printed} of {s.paper.short}: how far each unsaid choice moves the number"
        figure.suptitle(f"{title}\n(smoke profile, not the paper's)" if smoke else title, fontsize=9)
        small = "\n".join(textwrap.fill(line, 120) for line in (_SIGNS, *about(s)))
        figure.supxlabel(small, fontsize=6, color="#8b0000" if smoke else "#444444")
    return figure


def _draw(axes: Axes, shift: Shift, at: int) -> None:
    axes.plot([c.shift for c in shift.cells], [at] * len(shift.cells), "o", color=_GREY, markersize=2.5, alpha=0.5)
    if shift.sample:
        error = shift.reach if shift.reach is not None else 0.0
        axes.errorbar(shift.sample.mean, at, xerr=error, fmt="D", color=_BLUE, markersize=4, linewidth=1.4, capsize=2)


def _dressed(axes: Axes, s: Sensitivity, gains: Sequence[str], names: Sequence[str]) -> None:
    axes.axvline(0.0, color="#444444", linewidth=0.8)
    axes.set_yticks(range(len(gains) + len(names)), [*gains, *names])
    for label in axes.get_yticklabels()[: len(gains)]:
        label.set_color(_RED)
        label.set_fontsize(6)
    axes.invert_yaxis()
    axes.grid(axis="x", color="#dddddd", linewidth=0.6)
    axes.tick_params(axis="y", length=0)
    unit = "points" if s.experiment.unit == "%" else s.experiment.unit
    axes.set_xlabel(f"Shift of {s.experiment.metric} from the default choice ({unit})")


def _claimed(gain: Gain) -> str:
    return textwrap.fill(f"claimed, {gain.points:.2f}: {gain.says}", 58)


def _choice(x: Shift) -> str:
    return f"{x.variant.assumption.id}: {x.variant.choice.name} instead of {x.variant.assumption.take}"


def _numbers(s: Sensitivity) -> bytes:
    """One line per choice and cell, and one per claimed gain."""
    rows = [
        {
            "kind": "choice",
            "assumption": x.variant.assumption.id,
            "default": x.variant.assumption.take,
            "choice": x.variant.choice.name,
            "row": c.row,
            "column": c.column,
            "shift": c.shift,
            "seeds": c.seeds,
            "profile": s.profile,
        }
        for x in s.measured
        for c in x.cells
    ]
    rows += [{"kind": "claimed gain", "choice": g.says, "shift": g.points, "row": g.where} for g in s.gains]
    return pd.DataFrame(rows).to_csv(index=False).encode()


def _values(s: Sensitivity) -> dict[str, object]:
    return {
        "experiment": s.experiment.id,
        "profile": s.profile,
        "about": about(s),
        "gains": [{"says": g.says, "where": g.where, "points": g.points} for g in s.gains],
        "choices": [
            {
                "assumption": x.variant.assumption.id,
                "default": x.variant.assumption.take,
                "choice": x.variant.choice.name,
                "mean_shift": x.sample.mean if x.sample else None,
                "half_interval_95": x.reach,
                "cells": [{"row": c.row, "column": c.column, "shift": c.shift, "seeds": c.seeds} for c in x.cells],
                "why_not": x.why,
            }
            for x in s.shifts
        ],
    }

"""A contact sheet of a segmentation: image, truth and prediction side by side, one image a row, as PNG.

The truth is a black-and-white outline, the prediction a blue area: told apart on any tissue and by any eye.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from numpy.typing import NDArray

from clipbench.compare.cells import Library
from clipbench.registry import Cell, Paper, Table
from clipbench.report.curves import saved
from clipbench.report.provenance import provenance_of
from clipbench.results.companions import SHEET, Sheet
from clipbench.results.record import Record
from clipbench.results.store import Store

_BLUE, _EDGE = "#0072b2", "#56b4e9"
"""Of the prediction: dark for pale tissue, with a light edge that is seen on black."""
_OPACITY = 0.55
_COLUMNS = ("image", "truth (outline)", "prediction (blue)")
_INCH = 1.6


def draw_sheets(paper: Paper, experiment: Table, library: Library, store: Store) -> dict[str, bytes]:
    """PNGs by name (``table4-kvasir-clip-dora``): of every measured cell of Dice the run with the lowest seed."""
    return {
        f"{experiment.name}-{cell.row.id}-{cell.column.id}": _of_record(cell, record, store)
        for cell, record in _segmented(paper, experiment, library)
    }


def _segmented(paper: Paper, experiment: Table, library: Library) -> Iterator[tuple[Cell, Record]]:
    for cell in experiment.cells():
        if cell.derived or experiment.metric_of(cell) != "dice":
            continue
        measured = library.cell(paper, experiment, cell)
        kept = [r for r in measured.records if SHEET in r.files] if measured else []
        if kept:
            yield cell, min(kept, key=lambda record: record.seed)


def _of_record(cell: Cell, record: Record, store: Store) -> bytes:
    sheet = Sheet.of(store.path(record.id, SHEET).read_bytes())
    dice = f"mean Dice {record.metrics['dice']:.2f} %"
    title = f"{cell.row.printed}, {cell.column.printed}, seed {record.seed}: {dice}"
    return contact_sheet(sheet, title, provenance_of([record]).lines())


def contact_sheet(sheet: Sheet, title: str, notes: Sequence[str] = ()) -> bytes:
    """The PNG of a sheet; ``notes`` stand small below."""
    count = len(sheet.images)
    with mpl.rc_context({"font.size": 8}):
        low = 0.5 + 0.13 * len(notes)
        figure = Figure(figsize=(3 * _INCH + 0.6, _INCH * max(count, 1) + low), dpi=150, layout="constrained")
        grid = figure.subplots(max(count, 1), 3, squeeze=False)
        for axes, heading in zip(grid[0], _COLUMNS, strict=True):
            axes.set_title(heading, fontsize=8)
        for number in range(count):
            _draw(grid[number], sheet, number)
        _label(figure, grid, title, (_extent(count, sheet.total), *notes))
        return saved(figure, "png")


def _draw(row: Sequence[Axes], sheet: Sheet, number: int) -> None:
    pixels, truth, prediction = sheet.images[number], sheet.masks[number], sheet.predictions[number]
    tinted = pixels.astype(np.float64)
    tinted[prediction] += _OPACITY * (255.0 * np.array(to_rgb(_BLUE)) - tinted[prediction])
    for axes, shown in zip(row, (pixels, pixels, tinted.round().astype(np.uint8)), strict=True):
        axes.imshow(shown)
    if prediction.any():
        _contour(row[2], prediction, _EDGE, 0.8)
    for axes in row[1:]:
        _outline(axes, truth)
    row[0].set_ylabel(f"{_short(sheet.names[number])}\nDice {sheet.dice[number]:.1f}", fontsize=7)


def _outline(axes: Axes, truth: NDArray[np.bool_]) -> None:
    """White within black; an empty mask says so, as it could be taken for a missing one."""
    if not truth.any():
        axes.text(0.5, 0.04, "empty mask", transform=axes.transAxes, ha="center", fontsize=6, color="white",
                  bbox={"facecolor": "black", "pad": 1.5, "linewidth": 0})  # fmt: skip
        return
    _contour(axes, truth, "black", 2.2)
    _contour(axes, truth, "white", 1.0)


def _contour(axes: Axes, mask: NDArray[np.bool_], colour: str, width: float) -> None:
    """The mask's edge, closed where it meets the edge of the image."""
    grid = np.arange(-1, len(mask) + 1)
    axes.contour(grid, grid, np.pad(mask, 1).astype(np.float64), levels=[0.5], colors=colour, linewidths=width)


def _label(figure: Figure, grid: NDArray[Any], title: str, notes: Sequence[str]) -> None:
    for axes in grid.flat:
        axes.set_xticks([])
        axes.set_yticks([])
    figure.suptitle(title, fontsize=9)
    figure.supxlabel("\n".join(textwrap.fill(note, 100) for note in notes), fontsize=5.5, color="#444444")


def _extent(shown: int, images: int) -> str:
    if shown == images:
        return f"all {images} images, by Dice"
    return f"{shown} of {images} images, evenly over their ranks by Dice (worst first, best last)"


def _short(name: str, length: int = 18) -> str:
    """The end of a long file name: the beginning is often that of all."""
    return name if len(name) <= length else f"…{name[1 - length :]}"

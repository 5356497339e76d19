"""A contact sheet of a data set's segmentations: a column per test image, a row per method, as PNG.

Every method is shown on the same images, below the image itself. The truth is a black-and-white outline, the
prediction a blue area: told apart on any tissue and by any eye.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from clipbench.compare.cells import Library
from clipbench.registry import Cell, Paper, Table
from clipbench.report.frame import GREY, RED, departures, saved
from clipbench.report.provenance import provenance_of
from clipbench.results.companions import SHEET, Sheet
from clipbench.results.record import Record
from clipbench.results.store import Store

_BLUE, _EDGE = "#0072b2", "#56b4e9"
"""Of the prediction: dark for pale tissue, with a light edge that is seen on black."""
_OPACITY = 0.55
_TILE, _GAP, _LEFT, _HEAD, _MARGIN = 1.3, 0.05, 1.1, 0.62, 0.1
"""Inches: side of an image, between images, left of them for the methods' names, above them, and around all."""
_COLOURS = 128
"""Of the file: a third of the bytes of full colour, and no eye sees it at this size."""

Shown: TypeAlias = Mapping[str, Sheet]
"""The sheets of one data set by the name of their method."""


def draw_sheets(paper: Paper, experiment: Table, library: Library, store: Store) -> dict[str, bytes]:
    """PNGs by name (``table4-kvasir``): of every data set the lowest seed that all of its methods have."""
    found: dict[str, dict[Cell, list[Record]]] = {}
    differs: dict[str, list[str]] = {}
    for cell, records, reasons in _segmented(paper, experiment, library):
        dataset = records[0].protocol.need("dataset")
        found.setdefault(dataset, {})[cell] = records
        differs.setdefault(dataset, []).extend(reasons)
    printed = f"{experiment.printed} of {paper.short}"
    return {
        f"{experiment.name}-{name}": _of_dataset(printed, cells, tuple(dict.fromkeys(differs[name])), store)
        for name, cells in found.items()
    }


def _segmented(paper: Paper, experiment: Table, library: Library) -> Iterator[tuple[Cell, list[Record], Sequence[str]]]:
    for cell in experiment.cells():
        if cell.derived or experiment.metric_of(cell) != "dice":
            continue
        measured = library.cell(paper, experiment, cell)
        if measured and (kept := [r for r in measured.records if SHEET in r.files]):
            yield cell, kept, measured.not_comparable


def _of_dataset(printed: str, cells: Mapping[Cell, Sequence[Record]], differs: Sequence[str], store: Store) -> bytes:
    seeds = [{record.seed for record in records} for records in cells.values()]
    seed = min(set.intersection(*seeds) or set.union(*seeds))
    chosen = {cell: next((r for r in records if r.seed == seed), None) for cell, records in cells.items()}
    present = {cell: record for cell, record in chosen.items() if record is not None}
    first = next(iter(present))
    # The data set stands in the axis that all of these cells share, the method in the other one.
    in_rows = all(cell.row == first.row for cell in present)
    title = f"{printed}: {first.row.printed if in_rows else first.column.printed}, seed {seed}"
    sheets = {
        f"{(cell.column if in_rows else cell.row).printed}\nmean Dice {record.metrics['dice']:.2f} %": Sheet.of(
            store.path(record.id, SHEET).read_bytes()
        )
        for cell, record in present.items()
    }
    about = provenance_of(present.values())
    return contact_sheet(sheets, title, [*departures(differs, about), *about.lines()], warns=bool(differs))


def contact_sheet(sheets: Shown, title: str, notes: Sequence[str] = (), *, warns: bool = False) -> bytes:
    """The PNG of the images that all sheets have; ``notes`` stand small below."""
    names = [name for name in next(iter(sheets.values())).names if all(name in s.names for s in sheets.values())]
    count, rows = max(len(names), 1), 1 + len(sheets)
    pitch = _TILE + _GAP
    width = _MARGIN + _LEFT + count * pitch + _MARGIN
    total = next(iter(sheets.values())).total
    lines = [line for note in (_extent(len(names), total), *notes) for line in textwrap.wrap(note, int(width * 17))]
    height = _HEAD + rows * pitch + 0.12 + 0.125 * len(lines) + _MARGIN
    with mpl.rc_context({"font.size": 8}):
        figure = Figure(figsize=(width, height), dpi=120)
        x, y = _MARGIN / width, 1 / height
        figure.text(x, 1 - _MARGIN * y, title, fontsize=10, va="top")
        for row, label in enumerate(("image, with the truth as outline", *sheets)):
            top = _HEAD + row * pitch
            text = "\n".join(line for part in label.split("\n") for line in textwrap.wrap(part, 17))
            figure.text(x, 1 - (top + _TILE / 2) * y, text, va="center", fontsize=7.5)
            for column, name in enumerate(names):
                left, bottom = (_MARGIN + _LEFT + column * pitch) / width, 1 - (top + _TILE) * y
                axes = figure.add_axes((left, bottom, _TILE / width, _TILE * y), xticks=[], yticks=[])
                _draw(axes, name, sheets, row)
        figure.text(x, _MARGIN * y, "\n".join(lines), fontsize=6.5, color=RED if warns else GREY, linespacing=1.25)
        return _small(saved(figure, "png"))


def _draw(axes: Axes, name: str, sheets: Shown, row: int) -> None:
    """The image in the first row, then what each method made of it, with its Dice."""
    sheet = list(sheets.values())[max(row - 1, 0)]
    number = list(sheet.names).index(name)
    pixels, truth, prediction = sheet.images[number], sheet.masks[number], sheet.predictions[number]
    if row == 0:
        axes.imshow(pixels)
        axes.set_title("\n".join(textwrap.wrap(name, 18)[-2:]), fontsize=6.5)
    else:
        axes.imshow(_tinted(pixels, prediction))
        if prediction.any():
            _contour(axes, prediction, _EDGE, 0.8)
        _label(axes, f"{sheet.dice[number]:.1f}", 0.95)
    if truth.any():
        _contour(axes, truth, "black", 2.0)
        _contour(axes, truth, "white", 0.9)
    else:
        _label(axes, "empty mask", 0.12)


def _tinted(pixels: NDArray[np.uint8], prediction: NDArray[np.bool_]) -> NDArray[np.uint8]:
    tinted = pixels.astype(np.float64)
    tinted[prediction] += _OPACITY * (255.0 * np.array(to_rgb(_BLUE)) - tinted[prediction])
    return tinted.round().astype(np.uint8)


def _label(axes: Axes, text: str, height: float) -> None:
    """White on black within the image; an empty mask says so, as it could be taken for a missing one."""
    axes.text(0.05, height, text, transform=axes.transAxes, fontsize=6.5, color="white", va="top",
              bbox={"facecolor": "black", "pad": 1.2, "linewidth": 0})  # fmt: skip


def _contour(axes: Axes, mask: NDArray[np.bool_], colour: str, width: float) -> None:
    """The mask's edge, closed where it meets the edge of the image."""
    grid = np.arange(-1, len(mask) + 1)
    axes.contour(grid, grid, np.pad(mask, 1).astype(np.float64), levels=[0.5], colors=colour, linewidths=width)
    axes.set(xlim=(-0.5, len(mask) - 0.5), ylim=(len(mask) - 0.5, -0.5))


def _extent(shown: int, images: int) -> str:
    which = f"all {images} test images" if shown == images else f"{shown} of {images} test images, evenly over the list"
    return f"Shown: {which}, the same for every method; the number in a picture is its Dice in percent."


def _small(png: bytes) -> bytes:
    """The same picture with a palette."""
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(png)) as image:
        few = image.convert("RGB").quantize(_COLOURS, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
        few.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()

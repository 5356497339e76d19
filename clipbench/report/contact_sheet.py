"""A contact sheet of a segmentation: image, truth and prediction side by side, one image a row, as PNG.

The truth is a black-and-white outline, the prediction a blue area: told apart on any tissue and by any eye.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from numpy.typing import NDArray

from clipbench.report.curves import saved

_BLUE, _EDGE = "#0072b2", "#56b4e9"
"""Of the prediction: dark for pale tissue, with a light edge that is seen on black."""
_OPACITY = 0.55
_COLUMNS = ("image", "truth (outline)", "prediction (blue)")
_INCH = 1.6


@dataclass(frozen=True)
class Segmented:
    """One test image: pixels ``[S, S, 3]`` (uint8), truth and prediction ``[S, S]`` (bool), name, Dice in percent."""

    pixels: NDArray[np.uint8]
    truth: NDArray[np.bool_]
    prediction: NDArray[np.bool_]
    name: str
    dice: float


def contact_sheet(images: Sequence[Segmented], title: str, notes: Sequence[str] = (), rows: int = 8) -> bytes:
    """The PNG of at most ``rows`` images, from the worst Dice to the best; ``notes`` stand small below."""
    shown = [images[i] for i in spread([image.dice for image in images], rows)]
    with mpl.rc_context({"font.size": 8}):
        low = 0.5 + 0.13 * len(notes)
        height = _INCH * max(len(shown), 1)
        figure = Figure(figsize=(3 * _INCH + 0.6, height + low), dpi=150, layout="constrained")
        grid = figure.subplots(max(len(shown), 1), 3, squeeze=False)
        for axes, heading in zip(grid[0], _COLUMNS, strict=True):
            axes.set_title(heading, fontsize=8)
        for row, image in zip(grid, shown, strict=False):
            _draw(row, image)
        _label(figure, grid, title, (_extent(len(shown), len(images)), *notes))
        return saved(figure, "png")


def spread(scores: Sequence[float], count: int) -> list[int]:
    """At most ``count`` indices, lowest score first, evenly over the ranks: worst and best are among them."""
    ranked = sorted(range(len(scores)), key=lambda i: scores[i])
    if len(ranked) <= count:
        return ranked
    return [ranked[round(k * (len(ranked) - 1) / max(count - 1, 1))] for k in range(count)]


def _draw(row: Sequence[Axes], image: Segmented) -> None:
    tinted = image.pixels.astype(np.float64)
    tinted[image.prediction] += _OPACITY * (255.0 * np.array(to_rgb(_BLUE)) - tinted[image.prediction])
    for axes, pixels in zip(row, (image.pixels, image.pixels, tinted.round().astype(np.uint8)), strict=True):
        axes.imshow(pixels)
    if image.prediction.any():
        _contour(row[2], image.prediction, _EDGE, 0.8)
    for axes in row[1:]:
        _outline(axes, image.truth)
    row[0].set_ylabel(f"{_short(image.name)}\nDice {image.dice:.1f}", fontsize=7)


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

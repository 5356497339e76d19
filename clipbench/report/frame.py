"""The frame of a figure: title, panels, legend and caption below one another from one left edge, laid out in inches.

No solver lays it out: its last bits vary from machine to machine, and with them whole files.
"""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import matplotlib as mpl
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from clipbench.report.numbers import sentence
from clipbench.report.provenance import Provenance

RED, GREY = "#8b0000", "#444444"
"""Of a caption that warns, and of any other."""
_EDGE, _PANEL_TITLE, _BELOW_PANEL = 0.12, 0.26, 0.46
_TITLE_SIZE, _LEGEND_SIZE, _CAPTION_SIZE = 10.0, 8.0, 6.5
_CHARACTER = 0.56
"""Width of a letter of the caption as a share of its height, on average; wide enough that no line runs over."""
_LETTERS, _HANDLE = 15.5, 7
"""Letters of a legend in an inch, and those that the line beside a label takes the room of."""


@dataclass(frozen=True)
class Shape:
    """Sizes in inches: of a panel, of the room left of a panel for its axis, and how many panels stand in a row."""

    width: float
    height: float
    left: float
    columns: int = 2
    legend_columns: int = 4


@contextmanager
def plain_axes() -> Iterator[None]:
    """Small letters, true minus signs, and no frame on the right and at the top."""
    with mpl.rc_context(
        {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "axes.unicode_minus": True}
    ):
        yield


def framed(
    shape: Shape, panels: int, title: str, legend: Sequence[tuple[Artist, str]], caption: Sequence[str], *, warns: bool
) -> tuple[Figure, list[Axes]]:
    """The figure and its empty panels, row by row."""
    columns = min(shape.columns, panels)
    rows = math.ceil(panels / columns)
    width = columns * (shape.left + shape.width) + 2 * _EDGE
    left = shape.left + _EDGE
    titles = _wrapped(title, width - left, _TITLE_SIZE)
    lines = [line for paragraph in caption for line in _wrapped(paragraph, width - left, _CAPTION_SIZE)]
    top = _EDGE + _height(len(titles), _TITLE_SIZE)
    pitch = _PANEL_TITLE + shape.height + _BELOW_PANEL
    legend_columns = _legend_columns([label for _, label in legend], width - left, shape.legend_columns)
    legend_top = top + rows * pitch + 0.1
    caption_top = legend_top + (_height(math.ceil(len(legend) / legend_columns), _LEGEND_SIZE) if legend else 0) + 0.12
    height = caption_top + _height(len(lines), _CAPTION_SIZE) + _EDGE
    figure = Figure(figsize=(width, height), dpi=200)

    def at(x: float, y: float) -> tuple[float, float]:
        """Inches from the left and the top, as parts of the figure from the left and the bottom."""
        return round(x / width, 5), round(1 - y / height, 5)

    figure.text(*at(left, _EDGE), "\n".join(titles), fontsize=_TITLE_SIZE, va="top", linespacing=1.25)
    axes = []
    for number in range(panels):
        row, column = divmod(number, columns)
        x = left + column * (shape.left + shape.width)
        corner = at(x, top + row * pitch + _PANEL_TITLE + shape.height)
        axes.append(figure.add_axes((*corner, round(shape.width / width, 5), round(shape.height / height, 5))))
    if legend:
        handles, labels = zip(*legend, strict=True)
        figure.legend(handles, labels, loc="upper left", bbox_to_anchor=at(left, legend_top), ncols=legend_columns,
                      frameon=False, fontsize=_LEGEND_SIZE, borderpad=0, borderaxespad=0)  # fmt: skip
    colour = RED if warns else GREY
    text = "\n".join(lines)
    figure.text(*at(left, caption_top), text, fontsize=_CAPTION_SIZE, va="top", linespacing=1.25, color=colour)
    return figure, axes


def _legend_columns(labels: Sequence[str], width: float, most: int) -> int:
    """As many as stand beside each other in so many inches, the longest label in each."""
    longest = max(map(len, labels), default=1)
    return max(1, min(len(labels), most, int(width * _LETTERS) // (longest + _HANDLE)))


def title_of(title: str, about: Provenance, reasons: Sequence[str] = ()) -> str:
    """The title, with a second line where the numbers are not the paper's protocol."""
    if about.smoke:
        return f"{title}\n(smoke profile, not the paper's)"
    return f"{title}\n(not the paper's protocol: see below)" if reasons else title


def departures(reasons: Sequence[str], about: Provenance) -> list[str]:
    """The line of a caption on what the runs did otherwise than the paper; the smoke profile says so in another."""
    return [] if about.smoke or not reasons else ["Not the paper's protocol: " + sentence(reasons)]


def missing(figure: str, reasons: Mapping[str, str], *, smoke: bool) -> list[str]:
    """The line of a caption on panels without data: why each is missing, by its title, and the command that makes them.

    Args:
        figure: Id of the figure.
        reasons: Why a panel cannot be drawn, by its title; nothing where all can.
        smoke: Whether the other panels show the smoke profile.
    """
    panels = "; ".join(f"{title}: {' '.join(reason.split())}" for title, reason in reasons.items())
    command = f"clipbench run {figure}{' --smoke' if smoke else ''}"
    return [f"Panels not shown: {panels}. `{command}` makes them."] if reasons else []


def saved(figure: Figure, kind: str) -> bytes:
    """The file of a figure, the same bytes every time."""
    buffer = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "clipbench", "svg.fonttype": "none"}):
        figure.savefig(buffer, format=kind, metadata={"Date": None} if kind == "svg" else {"Software": "clipbench"})
    return buffer.getvalue()


def _wrapped(text: str, width: float, size: float) -> list[str]:
    """The lines of a text in a width of so many inches."""
    characters = int(width / (_CHARACTER * size / 72))
    return [line for part in text.split("\n") for line in textwrap.wrap(part, characters)]


def _height(lines: int, size: float) -> float:
    return lines * size / 72 * 1.5

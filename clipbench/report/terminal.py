"""Tables for a terminal: as wide as it is, wrapped between words, verdicts in colour where it shows colours."""

from __future__ import annotations

import io
import os
import shutil
import sys
from collections.abc import Sequence

from rich.box import Box
from rich.console import Console
from rich.table import Table
from rich.text import Text

_LINE = Box("    \n    \n -- \n    \n    \n    \n    \n    \n")
"""A line of hyphens below the head: every encoding has them."""
_UNWRAPPED = ("printed", "measured", "difference", "seeds")
_STYLES = {
    "reproduced": "green",
    "compatible": "cyan",
    "deviates": "bold red",
    "incomplete": "yellow",
    "not comparable": "yellow",
    "not run": "dim",
    "unobtainable": "dim",
    "quoted": "dim",
}
_WIDE = 120
"""Columns where the output is no terminal."""


def text_table(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Lines of the table. Numbers stand right, and columns of printed and measured numbers are never wrapped."""
    table = Table(box=_LINE, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
    for at, name in enumerate(headers):
        number = bool(rows) and all(isinstance(row[at], int | float) for row in rows)
        table.add_column(Text(name), justify="right" if number else "left", no_wrap=name in _UNWRAPPED)
    for row in rows:
        table.add_row(*(Text(str(value), style=_STYLES.get(str(value), "")) for value in row))
    out = io.StringIO()
    console = Console(file=out, width=width(), force_terminal=_coloured(), highlight=False, markup=False, emoji=False)
    console.print(table)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


def width() -> int:
    """Columns of the terminal; ``COLUMNS`` wins, and what is no terminal has 120."""
    return shutil.get_terminal_size((_WIDE, 24)).columns if _terminal() or "COLUMNS" in os.environ else _WIDE


def _terminal() -> bool:
    return sys.stdout.isatty()


def _coloured() -> bool:
    return _terminal() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"

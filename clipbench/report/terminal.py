"""Tables for a terminal: as wide as it is, wrapped between words, verdicts in colour where it shows colours."""

from __future__ import annotations

import csv
import io
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Sequence

from rich.box import Box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text
from tabulate import tabulate

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
_SPACE = re.compile(r"(?<!±)\s+(?!±)")
"""Where a line may end: not around the sign of a printed deviation."""
_WORD = 30
"""Characters of a single word, such as an id, that is not broken."""
_GAP = 2
"""Blanks between columns."""
_WIDE = 120
"""Columns where the output is no terminal."""


def as_table(kind: str, headers: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table for the format ``md``, CSV for ``csv``, else one for the terminal."""
    if kind == "csv":
        out = io.StringIO()
        csv.writer(out, lineterminator="\n").writerows([headers, *rows])
        return out.getvalue().rstrip("\n")
    return tabulate(rows, headers, "github", disable_numparse=True) if kind == "md" else text_table(headers, rows)


def text_table(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Lines of the table. Numbers stand right, and columns of printed and measured numbers are never wrapped.

    Where not even the longest words fit beside each other, each row becomes a paragraph of ``head: value``.
    """
    texts = [[name, *(str(row[at]) for row in rows)] for at, name in enumerate(headers)]
    sizes = _widths(texts, width() - _GAP * len(headers))
    if sizes is None:
        return "\n".join(_paragraph(headers, row) for row in rows)
    table = Table(box=_LINE, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
    for at, (name, size) in enumerate(zip(headers, sizes, strict=True)):
        number = bool(rows) and all(isinstance(row[at], int | float) for row in rows)
        table.add_column(Text(name), width=size, justify="right" if number else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(str(value), style=_STYLES.get(str(value), "")) for value in row))
    out = io.StringIO()
    console = Console(file=out, width=width(), force_terminal=_coloured(), highlight=False, markup=False, emoji=False)
    console.print(table)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


def grid(headers: Sequence[str], rows: Sequence[Sequence[object]], names: int = 1) -> str:
    """A table of many like columns: those that do not fit beside each other follow in tables of their own.

    Args:
        headers: Of all columns.
        rows: Their cells.
        names: How many columns name the rows; every table begins with them.
    """
    texts = [[*name.split("\n"), *(str(row[at]) for row in rows)] for at, name in enumerate(headers)]
    sizes = [max(map(cell_len, text)) + _GAP for text in texts]
    first = sum(min(size, _WORD + _GAP) for size in sizes[:names])
    parts: list[list[int]] = [[]]
    for at in range(names, len(headers)):
        if parts[-1] and first + sum(sizes[done] for done in [*parts[-1], at]) > width():
            parts.append([])
        parts[-1].append(at)
    tables = []
    for part in parts:
        kept = [*range(names), *part]
        tables.append(text_table([headers[at] for at in kept], [[row[at] for at in kept] for row in rows]))
    return "\n\n".join(tables)


def _widths(columns: Sequence[Sequence[str]], room: int) -> list[int] | None:
    """Characters of each column, its head being its first text; None where the longest words need more than the room.

    The column that lacks least above its longest word is filled first, so that a long one leaves the others whole.
    """
    longest = [max(cell_len(line) for text in column for line in text.split("\n")) for column in columns]
    words = [max(cell_len(word) for text in column for word in _SPACE.split(text)) for column in columns]
    sizes = [
        size if column[0] in _UNWRAPPED else max(min(word, _WORD), 1)
        for column, size, word in zip(columns, longest, words, strict=True)
    ]
    if sum(sizes) > room:
        return None
    order = sorted(range(len(columns)), key=lambda at: longest[at] - sizes[at])
    for done, at in enumerate(order):
        share = (room - sum(sizes)) // (len(order) - done)
        sizes[at] += min(longest[at] - sizes[at], share)
    return sizes


def _paragraph(headers: Sequence[str], row: Sequence[object]) -> str:
    first, *rest = (str(value) for value in row)
    heads = [" ".join(head.split()) for head in headers[1:]]
    return wrapped("; ".join([first, *(f"{head}: {text}" for head, text in zip(heads, rest, strict=True) if text)]))


def wrapped(text: str, indent: str = "", further: str = "  ") -> str:
    """A paragraph, wrapped between words at the terminal's width; lines after the first are indented ``further``."""
    return textwrap.fill(
        text,
        width(),
        initial_indent=indent,
        subsequent_indent=indent + further,
        break_on_hyphens=False,
        break_long_words=False,
    )


def width() -> int:
    """Columns of the terminal; ``COLUMNS`` wins, and what is no terminal has 120."""
    return shutil.get_terminal_size((_WIDE, 24)).columns if _terminal() or "COLUMNS" in os.environ else _WIDE


def _terminal() -> bool:
    return sys.stdout.isatty()


def _coloured() -> bool:
    return _terminal() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"

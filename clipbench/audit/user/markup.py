"""Markdown and HTML tables as lines of cells, each with its line number."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser

Lines = list[tuple[int, list[str]]]
IS_MARKDOWN = re.compile(r"^[ \t]*\|?([ \t]*:?-+:?[ \t]*\|)+[ \t]*(:?-+:?[ \t]*)?$", re.M)
IS_HTML = re.compile(r"<table\b[^>]*>.*?<tr\b", re.S | re.I)


def markdown_tables(text: str) -> Iterator[tuple[str, Lines]]:
    """Title (the heading or paragraph above) and lines of every table; the line of dashes is none."""
    title, lines = "", []
    for number, line in enumerate([*text.split("\n"), ""], start=1):
        content = line.strip().strip("`")
        if "|" in content:
            cells = [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", content.strip())]
            cells = cells[1 if content.startswith("|") else 0 : -1 if content.endswith("|") else None]
            if not all(re.fullmatch(r":?-+:?|", cell) for cell in cells) or not any(cells):
                lines.append((number, cells))
        elif lines:
            yield title, lines
            title, lines = content.lstrip("# "), []
        elif content:
            title = content.lstrip("# ") if content.startswith("#") else f"{title} {content}".strip()


def html_tables(text: str) -> list[tuple[str, Lines]]:
    """Caption and lines of every table; a cell over several columns or rows stands in each of them."""
    reader = _Tables()
    reader.feed(text)
    reader.close()
    return reader.tables


class _Tables(HTMLParser):
    """Collects cells; ``<br>`` is a blank, and the text of styles and scripts is none."""

    def __init__(self) -> None:
        super().__init__()
        self.tables: list[tuple[str, Lines]] = []
        self._span: tuple[int, int] | None = None
        self._text = ""
        self._below: dict[int, tuple[int, str]] = {}
        """Cells that reach into the rows below: by column, for how many rows more, and their text."""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._end_cell(tag)
        if tag == "table":
            self.tables.append(("", []))
            self._below = {}
        elif tag == "tr" and self.tables:
            self.tables[-1][1].append((self.getpos()[0], []))
            self._from_above()
        elif tag in ("td", "th") and self.tables and self.tables[-1][1]:
            spans = dict(attrs)
            self._span = _count(spans.get("colspan")), _count(spans.get("rowspan"))
            self._text = ""
        elif tag == "caption":
            self._text = ""
        elif tag in ("br", "sub", "sup"):
            self._text += {"br": " ", "sub": "_{", "sup": "^{"}[tag]

    def handle_endtag(self, tag: str) -> None:
        if tag in ("sub", "sup"):
            self._text += "}"
        if tag == "caption" and self.tables:
            self.tables[-1] = self._text.strip(), self.tables[-1][1]
        self._end_cell(tag)

    def handle_data(self, data: str) -> None:
        self._text += data

    def _end_cell(self, tag: str) -> None:
        if self._span is None or tag not in ("td", "th", "tr", "table"):
            return
        text = " ".join(self._text.split())
        cells = self.tables[-1][1][-1][1]
        for _ in range(self._span[0]):
            if self._span[1] > 1:
                self._below[len(cells)] = self._span[1] - 1, text
            cells.append(text)
        self._span = None
        self._from_above()

    def _from_above(self) -> None:
        """Put in the cells that reach down to here."""
        cells = self.tables[-1][1][-1][1]
        while (found := self._below.get(len(cells))) and found[0]:
            self._below[len(cells)] = found[0] - 1, found[1]
            cells.append(found[1])


def _count(text: str | None) -> int:
    return min(int(text), 1000) if text and text.isdecimal() and int(text) else 1

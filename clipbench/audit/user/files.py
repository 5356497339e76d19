"""From a file to the tables in it: encodings, delimiters, LaTeX and Markdown; every line keeps its number."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import dropwhile
from pathlib import Path

from clipbench.audit.user.latex import IS_LATEX, latex_tables
from clipbench.audit.user.markup import IS_HTML, IS_MARKDOWN, html_tables, markdown_tables
from clipbench.errors import UserError

_MOST_BYTES = 20_000_000
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_BINARY = {
    b"PK\x03\x04": "an Excel or OpenDocument file",
    b"\xd0\xcf\x11\xe0": "an old Excel file",
    b"%PDF": "a PDF",
    b"\x1f\x8b": "a compressed file",
}
_NUMBER = re.compile(r"\d[.,]\d")


@dataclass(frozen=True)
class Line:
    """One row of a table as it stands in the file: its line number, from 1, and its cells."""

    number: int
    cells: Sequence[str]


@dataclass(frozen=True)
class RawTable:
    """A table's lines, the header first, and the words above it."""

    title: str
    lines: Sequence[Line]


def read_tables(path: Path) -> list[RawTable]:
    """Every table of a file. Raises ``UserError`` where it cannot be read, or where no table can be recognised."""
    text = _decoded(path).replace("\r\n", "\n").replace("\r", "\n")
    forms = ((IS_HTML, html_tables), (IS_LATEX, latex_tables), (IS_MARKDOWN, markdown_tables))
    read = next((read for pattern, read in forms if pattern.search(text)), None)
    found = read(text) if read else _delimited(text, path)
    tables = [RawTable(title, [Line(n, cells) for n, cells in lines]) for title, lines in found if len(lines) > 1]
    if not tables:
        raise UserError(
            f"{path} holds no numbers: a header and at least one line are needed, separated by commas, semicolons or "
            "tabs, or a table in LaTeX, Markdown or HTML."
        )
    return tables


def _decoded(path: Path) -> str:
    try:
        if path.exists() and not path.is_file():
            raise UserError(f"{path} is no plain file; name a table saved as CSV, LaTeX, Markdown or HTML.")
        content = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file.") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from None
    if len(content) > _MOST_BYTES:
        raise UserError(f"{path} is larger than {_MOST_BYTES // 10**6} MB, which no printed table is.")
    for start, what in _BINARY.items():
        if content.startswith(start):
            raise UserError(f"{path} is {what}. Save its table as CSV, and name that file.")
    text = _text(content)
    if "\0" in text:
        raise UserError(f"{path} is no text file. Name a table saved as CSV, LaTeX, Markdown or HTML.")
    return text


def _text(content: bytes) -> str:
    """By its byte order mark; else UTF-16 where every other byte is nought, UTF-8, or what Windows writes."""
    for bom, encoding in _BOMS:
        if content.startswith(bom):
            return content.decode(encoding, errors="replace")
    if content[1:200:2].count(0) > len(content[1:200:2]) / 2:
        return content.decode("utf-16-le", errors="replace")
    if content[0:200:2].count(0) > len(content[0:200:2]) / 2:
        return content.decode("utf-16-be", errors="replace")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace")


Lines = list[tuple[int, list[str]]]


def _delimited(text: str, path: Path) -> Iterator[tuple[str, Lines]]:
    if not text.strip():
        return
    named = re.match(r"sep=(.)[^\n]*", text)  # what Excel puts in front
    delimiter, text = (named[1], text[named.end() :]) if named else (_delimiter(text), text)
    if delimiter is None:
        raise UserError(
            f"{path}: one column was found. Is it separated by semicolons, tabs or commas? Two columns at least are "
            "needed: names of rows, and numbers."
        )
    try:
        lines = list(_rows(text, delimiter))
    except csv.Error as error:
        raise UserError(f"{path} is not readable CSV: {error}") from None
    yield from _tables(lines)


def _delimiter(text: str) -> str | None:
    """The one by which most lines fall into equally many parts, two at least."""
    best, most = None, 0.0
    for delimiter in (";", "\t", ",", "|"):
        try:
            widths = [len(cells) for _, cells in _rows(text, delimiter) if any(cells)]
        except csv.Error:
            continue
        wide = [width for width in widths if width > 1]
        if not wide:
            continue
        usual = max(set(wide), key=wide.count)
        score = wide.count(usual) / len(widths) + 0.001 * usual
        # A decimal comma splits numbers: a semicolon or tab that is there at all is meant, not the comma.
        if score > most and not (delimiter == "," and best in (";", "\t") and most > 0.5):
            best, most = delimiter, score
    return best


def _rows(text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Every line that csv finds, with the number of its first line in the file; blank ones have no cells."""
    reader = csv.reader(io.StringIO(text), delimiter=delimiter, skipinitialspace=True, strict=True)
    start = 1
    for cells in reader:
        stripped = [cell.strip() for cell in cells]
        yield start, stripped if any(stripped) else []
        start = reader.line_num + 1


def _tables(lines: Lines) -> Iterator[tuple[str, Lines]]:
    """Blocks between blank lines; one without a header of its own goes on with the table above it."""
    blocks: list[Lines] = [[]]
    for number, cells in lines:
        if cells:
            blocks[-1].append((number, cells))
        elif blocks[-1]:
            blocks.append([])
    tables: list[tuple[str, Lines]] = []
    waiting = ""
    for block in blocks:
        widths = [len(cells) for _, cells in block]
        usual = max(set(widths), key=widths.count, default=0)
        title = " ".join(", ".join(cells) for _, cells in block if _comment(cells, usual))
        block = [(n, cells) for n, cells in block if not _comment(cells, usual)]  # noqa: PLW2901
        heads = list(dropwhile(lambda line: _alone(line[1]), block))
        above = block[: len(block) - len(heads)]
        title = " ".join(filter(None, [waiting, title, *(cells[0] for _, cells in above)]))
        waiting = "" if heads else title
        if heads and tables and not _is_header(heads, tables[-1][1]):
            tables[-1] = tables[-1][0], [*tables[-1][1], *above, *heads]
        elif heads:
            tables.append((title, heads))
    yield from tables


def _alone(cells: Sequence[str]) -> bool:
    return sum(bool(cell) for cell in cells) == 1 and bool(cells[0])


def _comment(cells: Sequence[str], usual: int) -> bool:
    return cells[0].startswith("#") and (_alone(cells) or (cells[0].startswith("# ") and len(cells) != usual))


def _is_header(block: Lines, above: Lines) -> bool:
    """Whether a block's first line names columns: it repeats the header above, or holds no number with decimals."""
    first = block[0][1]
    same = first[0].lower() == above[0][1][0].lower() and not any(_NUMBER.search(cell) for cell in first[1:])
    return same or (not any(re.match(r"[-+(]?\d", cell) for cell in first[1:]) and len(block) > 1)

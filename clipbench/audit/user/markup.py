"""LaTeX tabulars and Markdown tables as lines of cells, each with its line number."""

from __future__ import annotations

import re
from collections.abc import Iterator

Lines = list[tuple[int, list[str]]]
_ENVIRONMENT = re.compile(r"\\begin\s*\{(tabular[xy*]?|longtable|tabu|array)\}(.*?)\\end\s*\{\1\}", re.S)
_CAPTION = re.compile(r"\\caption\s*(?:\[[^\]]*\])?\{((?:[^{}]|\{[^{}]*\})*)\}", re.S)
_RULES = re.compile(
    r"\\(?:top|mid|bottom)rule(?:\[[^\]]*\])?|\\hline|\\specialrule(?:\{[^}]*\}){3}|\\addlinespace(?:\[[^\]]*\])?"
    r"|\\c(?:mid)?rule(?:\([^)]*\))?\{[^}]*\}|\\cline\{[^}]*\}|\\end(?:first|)(?:head|foot)|\\rowcolor(?:\[[^\]]*\])?\{[^}]*\}"
    r"|\\noalign\{[^}]*\}|\\hdashline|\\(?:no)?alignb?reak"
)
_MULTICOLUMN = re.compile(r"^\s*\\multicolumn\s*\{\s*(\d+)\s*\}\s*\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\}\s*\{(.*)\}\s*$", re.S)
_MULTIROW = re.compile(
    r"\\multirow(?:cell)?\s*(?:\[[^\]]*\])?\{[^{}]*\}\s*(?:\[[^\]]*\])?(?:\{[^{}]*\}|\*)\s*\{(.*)\}", re.S
)


def latex_tables(text: str) -> Iterator[tuple[str, Lines]]:
    """Title and lines of every tabular; of the whole text where rows stand in none."""
    text = re.sub(r"(?<!\\)%[^\n]*", "", text)
    found = list(_ENVIRONMENT.finditer(text))
    for match in found:
        before, after = text[: match.start()], text[match.end() :]
        inside = re.split(r"\\begin\s*\{table\*?\}", before)[-1], re.split(r"\\end\s*\{table\*?\}", after)[0]
        caption = _CAPTION.search(inside[0]) or (_CAPTION.search(inside[1]) if "\\begin{tab" not in inside[1] else None)
        yield (
            caption[1] if caption else "",
            list(_rows(match[2], text.count("\n", 0, match.start(2)) + 1, columns=True)),
        )
    if not found:
        yield "", list(_rows(text, 1, columns=False))


def _rows(body: str, line: int, *, columns: bool) -> Iterator[tuple[int, list[str]]]:
    """Rows end with two backslashes; rules between them are no cells."""
    if columns:
        body, skipped = _without_columns(body)
        line += skipped
    for row in re.split(r"\\\\(?:\s*\[[^\]]*\])?|\\tabularnewline", body):
        content = _RULES.sub(lambda match: "\n" * match[0].count("\n"), row)
        start = line + content[: len(content) - len(content.lstrip())].count("\n")
        cells = [cell for part in re.split(r"(?<!\\)&", content) for cell in _spread(part.strip())]
        if any(cells):
            yield start, cells
        line += row.count("\n")


def _without_columns(body: str) -> tuple[str, int]:
    """The body behind ``[t]{lcc}`` or ``{\\textwidth}{l X}``, and the lines that this takes."""
    rest = re.match(r"(?:\s*(?:\[[^\]]*\]|\{(?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*\}))+", body)
    if rest is None:
        return body, 0
    return body[rest.end() :], body[: rest.end()].count("\n")


def _spread(cell: str) -> list[str]:
    """A cell over several columns stands in each of them."""
    if match := _MULTICOLUMN.match(cell):
        return _spread(match[2].strip()) * int(match[1])
    return [_MULTIROW.sub(lambda match: match[1], cell)]


def markdown_tables(text: str) -> Iterator[tuple[str, Lines]]:
    """Title (the heading or paragraph above) and lines of every table; the line of dashes is none."""
    title, lines = "", []
    for number, line in enumerate([*text.split("\n"), ""], start=1):
        content = line.strip()
        if "|" in content:
            cells = [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", content.strip())]
            cells = cells[1 if content.startswith("|") else 0 : -1 if content.endswith("|") else None]
            if not all(re.fullmatch(r":?-{2,}:?|", cell) for cell in cells) or not any(cells):
                lines.append((number, cells))
        elif lines:
            yield title, lines
            title, lines = content, []
        elif content:
            title = content.lstrip("# ") if content.startswith("#") else f"{title} {content}".strip()

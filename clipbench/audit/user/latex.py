"""LaTeX tabulars as lines of cells, each with its line number."""

from __future__ import annotations

import re
from collections.abc import Iterator

Lines = list[tuple[int, list[str]]]
_GROUP = r"\{(?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*\}"
"""Braces with whatever stands in them, two deep."""
_OPTION = r"\s*\[[^\]]*\]"
_NAMES = r"tabular[xy*]?|x?longtable|xltabular|(?:long)?tabu|supertabular\*?|(?:long|tall)?tblr|NiceTabular[X*]?|array"
IS_LATEX = re.compile(rf"\\begin\s*\{{(?:{_NAMES})\}}|&[^\n]*\\\\")
_HIDDEN = re.compile(
    r"\\iffalse(?![a-zA-Z]).*?\\fi(?![a-zA-Z])|\\begin\s*\{comment\}.*?\\end\s*\{comment\}"
    r"|(?<=\\endfirsthead).*?(?=\\endhead)|(?<=\\endhead)(?:(?!\\endhead).)*?(?=\\end(?:last)?foot)",
    re.S,
)
"""What is not printed, and the heads and feet of a long table's further pages."""
_EDGE = re.compile(rf"\\(begin|end)\s*\{{({_NAMES})\}}")
_TWO_ARGUMENTS = re.compile(r"tabular[xy*]|xltabular|supertabular\*|NiceTabular[X*]")
_CAPTION = re.compile(rf"\\caption\*?(?:{_OPTION})?\s*({_GROUP})")
_RULES = re.compile(
    rf"\\(?:specialrule|rowcolors\*?)(?:{_OPTION})?(?:\s*{_GROUP}){{3}}"
    rf"|\\(?:c(?:mid)?rule|[cCX]+line|cdashline|tabucline|[hX]hline|hlineB|hlinewd|arrayrulecolor|rowcolor|noalign"
    rf"|rowfont|vspace\*?)(?:{_OPTION}|\s*\([^)]*\))*\s*{_GROUP}(?:{_OPTION})*"
    r"|\\(?:(?:top|mid|bottom|heavy|light)rule|[a-zA-Z]*hline|hdashline|addlinespace|morecmidrules"
    rf"|end(?:first|last)?(?:head|foot)|(?:no)?alignbreak)(?![a-zA-Z])(?:{_OPTION})?"
)
_MULTICOLUMN = re.compile(rf"^\s*\\multicolumn\s*\{{\s*(\d+)\s*\}}\s*{_GROUP}\s*\{{(.*)\}}\s*$", re.S)
_MULTIROW = re.compile(
    r"\\multirow(?:cell)?\s*(?:\[[^\]]*\])?\{[^{}]*\}\s*(?:\[[^\]]*\])?(?:\{[^{}]*\}|\*)\s*(?:\[[^\]]*\])?\{(.*)\}",
    re.S,
)
_TOKEN = re.compile(
    rf"(?P<row>\\\\\*?(?:{_OPTION})?|\\tabularnewline|\\cr(?![a-zA-Z]))|(?P<open>\{{|\\begin\s*\{{[^}}]*\}})"
    r"|(?P<close>\}|\\end\s*\{[^}]*\})|\\.|(?P<cell>&)",
    re.S,
)
_DEFINITION = re.compile(
    rf"\\(?:(?:re|provide)?(?:newcommand|command)\*?\s*\{{?\\(?P<name>[a-zA-Z]+)\}}?(?:\s*\[(?P<count>\d)\])?(?:{_OPTION})?"
    rf"|def\s*\\(?P<defined>[a-zA-Z]+)(?P<hashes>(?:#\d)*))\s*(?P<body>{_GROUP})"
)
_NUMBER_COLUMN = re.compile(r"(?<![a-zA-Z\\])S(?![a-zA-Z])")
_NUMBER = re.compile(r"\\(?:num|qty|SI)(?![a-zA-Z])")
_UNCERTAIN = re.compile(r"(\d+\.(\d+))\((\d+)\)")


def latex_tables(text: str) -> Iterator[tuple[str, Lines]]:
    """Title and lines of every tabular; of the whole text where rows stand in none."""
    text = _expanded(_without_comments(text))
    found = list(_outermost(text))
    for (start, begin), (end, after) in found:
        body, skipped = _without_columns(text[begin:end], text[start:begin])
        first = text.count("\n", 0, begin) + skipped + 1
        columns = text[begin:end].removesuffix(body)
        every = bool(_NUMBER_COLUMN.search(columns))
        yield (
            _caption(text[:start], text[after:]),
            [(n, _deviations(cells, every=every)) for n, cells in _rows(body, first)],
        )
    if not found:
        yield "", [(n, _deviations(cells, every=False)) for n, cells in _rows(text, 1)]


def _outermost(text: str) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """Where each tabular begins and ends, the commands themselves included; one within a cell belongs to the cell."""
    depth, first = 0, (0, 0)
    for edge in _EDGE.finditer(text):
        if edge[1] == "begin":
            first = first if depth else edge.span()
            depth += 1
        elif depth:
            depth -= 1
            if not depth:
                yield first, edge.span()


def _caption(before: str, after: str) -> str:
    """The caption of the float around, in front of the tabular or behind it."""
    inside = re.split(r"\\begin\s*\{(?:side|wrap)?table\*?\}", before)[-1]
    behind = re.split(r"\\end\s*\{(?:side|wrap)?table\*?\}", after)[0]
    found = list(_CAPTION.finditer(inside))[-1:] or ([] if _EDGE.search(behind) else [*_CAPTION.finditer(behind)][:1])
    return found[0][1][1:-1] if found else ""


def _without_comments(text: str) -> str:
    """The text that is printed, on as many lines as before."""
    text = re.sub(r"(?<!\\)((?:\\\\)*)%[^\n]*", r"\1", text)
    return _HIDDEN.sub(lambda match: "\n" * match[0].count("\n"), text)


def _expanded(text: str) -> str:
    """The text with the macros that it defines itself put in."""
    for definition in list(_DEFINITION.finditer(text)):
        name = definition["name"] or definition["defined"]
        count = int(definition["count"] or len(definition["hashes"] or "") // 2)
        text = text.replace(definition[0], "\n" * definition[0].count("\n"), 1)
        use = re.compile(rf"\\{name}(?![a-zA-Z])" + count * rf"\s*({_GROUP})")
        text = use.sub(lambda match, body=definition["body"]: _filled(body, match), text)  # type: ignore[misc]
    return text


def _filled(body: str, use: re.Match[str]) -> str:
    """A macro's body with its arguments."""
    for at, argument in enumerate(use.groups(), start=1):
        body = body.replace(f"#{at}", argument[1:-1])
    return body.replace("\n", " ")


def _without_columns(body: str, begin: str) -> tuple[str, int]:
    """The body behind ``[t]{lcc}`` or ``{\\textwidth}{l X}``, and the lines that this takes."""
    count = 2 if _TWO_ARGUMENTS.search(begin) else 1
    rest = re.match(rf"(?:\s*(?:to|spread)\b[^{{]*)?(?:(?:{_OPTION})*\s*{_GROUP}){{{count}}}(?:{_OPTION})?", body)
    if rest is None:
        return body, 0
    return body[rest.end() :], rest[0].count("\n")


def _rows(body: str, line: int) -> Iterator[tuple[int, list[str]]]:
    """Rows end with two backslashes that stand in no braces; rules between them are no cells."""
    for begin, parts in _cells(body):
        first = _RULES.sub(lambda match: "\n" * match[0].count("\n"), parts[0])
        lines = body.count("\n", 0, begin) + first[: len(first) - len(first.lstrip())].count("\n")
        cells = [cell for part in (first, *parts[1:]) for cell in _spread(part.strip())]
        if any(cells):
            yield line + lines, cells


def _cells(body: str) -> Iterator[tuple[int, list[str]]]:
    """Every row with the place where it begins."""
    depth, row, begin, start = 0, list[str](), 0, 0
    for token in _TOKEN.finditer(body):
        depth = max(depth + bool(token["open"]) - bool(token["close"]), 0)
        if depth or not (token["cell"] or token["row"]):
            continue
        row, start = [*row, body[start : token.start()]], token.end()
        if token["row"]:
            yield begin, row
            row, begin = [], token.end()
    yield begin, [*row, body[start:]]


def _spread(cell: str) -> list[str]:
    """A cell over several columns stands in each of them."""
    if match := _MULTICOLUMN.match(cell):
        return _spread(match[2].strip()) * int(match[1])
    return [_MULTIROW.sub(lambda match: match[1], cell)]


def _deviations(cells: list[str], *, every: bool) -> list[str]:
    """siunitx prints ``95.33(58)`` for 95.33 and an uncertainty of 58 in its last digits."""
    return [_UNCERTAIN.sub(_deviation, cell) if every or _NUMBER.search(cell) else cell for cell in cells]


def _deviation(match: re.Match[str]) -> str:
    decimals = len(match[2])
    digits = match[3].rjust(decimals + 1, "0")
    return rf"{match[1]} \pm {digits[:-decimals]}.{digits[-decimals:]}"

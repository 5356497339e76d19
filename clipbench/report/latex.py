"""A table as LaTeX that can be pasted into a paper: it fits the page and carries a label."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby

from clipbench.registry import Axis
from clipbench.report.by_domain import domain_lines
from clipbench.report.numbers import footnotes
from clipbench.report.table import Line, Table

_WIDE = 7
"""A table with more columns of numbers than this goes over both columns of a page."""
_TALL = 0.58
"""The share of a page's height that a table may take: its caption and notes need the rest."""
_SIGNS = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "†": r"$^\dagger$",
    "¶": r"$^\P$",
    "‡": r"$^\ddagger$",
    "±": r"$\pm$",
    "α": r"$\alpha$",
    "β": r"$\beta$",
    "λ": r"$\lambda$",
    "Δ": r"$\Delta$",
    "−": r"$-$",
    "×": r"$\times$",
    "→": r"$\to$",
    "≤": r"$\le$",
    "≥": r"$\ge$",
    "§": r"\S{}",
    "–": "--",
    "—": "---",
    "…": r"\dots{}",
    "’": "'",
    "ü": r"\"u",
    "ö": r"\"o",
    "ä": r"\"a",
    "í": r"\'i",
    "é": r"\'e",
    "\N{NO-BREAK SPACE}": "~",
}


def latex(table: Table, *, by_domain: bool = False) -> str:
    """A booktabs table, and one per column of target domains, if asked for; needs booktabs and graphicx."""
    e = table.experiment
    body: list[str] = []
    group = None
    for line in table.lines():
        if line.row.group and line.row.group != group:
            body.append(f"\\midrule\n\\multicolumn{{{len(line.cells) + 2}}}{{l}}{{{tex(line.row.group)}}} \\\\")
        group = line.row.group
        body.append(_line(line))
    about = "".join(f"% {line}\n" for line in table.provenance.lines())
    caption = f"{e.title} ({e.printed} of {table.paper.short})." if not all(r.extra for r in e.rows) else f"{e.title}."
    notes = footnotes(e, table.cells)
    more = "".join(
        _environment(
            f"{name} by target domain.",
            f"{e.paper}-{e.name}-{at}",
            "l" + "r" * (len(lines[0]) - 1),
            [" & ".join(map(tex, lines[0])) + r" \\"],
            [" & ".join(map(tex, line)) + r" \\" for line in lines[1:]],
            [],
        )
        for at, (name, lines) in enumerate((domain_lines(table.cells) if by_domain else {}).items(), start=1)
    )
    columns = "ll" + "r" * len(e.columns)
    main = _environment(
        " ".join([caption, *notes[:1]]), f"{e.paper}-{e.name}", columns, _head(e.columns), body, notes[1:]
    )
    return f"% {e.id}, written by clipbench; needs \\usepackage{{booktabs,graphicx}}\n{about}{main}{more}"


def _head(columns: Sequence[Axis]) -> list[str]:
    """The groups of columns with a rule below each, where there are any, and the columns."""
    lines = []
    if any(column.group for column in columns):
        cells, rules, at = ["", ""], [], 3
        for name, members in groupby(columns, key=lambda column: column.group):
            count = len(list(members))
            cells.append(f"\\multicolumn{{{count}}}{{c}}{{{tex(name or '')}}}")
            rules += [f"\\cmidrule(lr){{{at}-{at + count - 1}}}"] if name else []
            at += count
        lines = [" & ".join(cells) + r" \\", " ".join(rules)]
    return [*lines, " & ".join(["", "", *(tex(column.printed) for column in columns)]) + r" \\"]


def _line(line: Line) -> str:
    first = line.kind == "printed" or (line.kind == "measured" and line.row.extra)
    cells = [
        f"\\textbf{{{tex(cell)}}}" if at in line.bold and cell else tex(cell) for at, cell in enumerate(line.cells)
    ]
    return " & ".join([tex(line.row.printed) if first else "", line.kind, *cells]) + r" \\"


def _environment(
    caption: str, label: str, columns: str, head: Sequence[str], body: Sequence[str], notes: Sequence[str]
) -> str:
    """One table. What is wider than the line, or leaves its notes no room on a page, is scaled; notes stand ragged."""
    kind = "table*" if columns.count("r") > _WIDE else "table"
    name = re.sub(r"[^a-zA-Z0-9-]+", "-", label)
    small = f"{{\\footnotesize\\raggedright {' '.join(map(tex, notes))}\\par}}"
    lines = [
        f"\\begin{{{kind}}}",
        "\\centering",
        f"\\caption{{{tex(caption)}}}",
        f"\\label{{tab:{name}}}",
        f"\\resizebox*{{!}}{{\\ifdim\\totalheight>{_TALL}\\textheight {_TALL}\\textheight\\else\\totalheight\\fi}}{{"
        f"\\resizebox{{\\ifdim\\width>\\linewidth\\linewidth\\else\\width\\fi}}{{!}}{{\\begin{{tabular}}{{{columns}}}",
        "\\toprule",
        *head,
        "\\midrule",
        *body,
        "\\bottomrule",
        "\\end{tabular}}}",
        *(["\\par\\smallskip", small] if notes else []),
        f"\\end{{{kind}}}\n",
    ]
    return "\n".join(lines)


def tex(text: str) -> str:
    """Text as LaTeX prints it, with true minus signs; a sign that LaTeX may not know becomes a question mark."""
    text = re.sub(r"(?<![\w.])-(?=\d)", "−", text)
    return "".join(_SIGNS.get(c, c if c.isascii() else "?") for c in text)

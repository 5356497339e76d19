"""An audit as text, Markdown or JSON: what is wrong in full, what is fine or cannot be checked by kind."""

from __future__ import annotations

import json
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from clipbench.audit.finding import CHECKS, SEVERITIES, Finding
from clipbench.report.terminal import width

Audits = Mapping[str, Sequence[Finding]]
"""Findings by paper (or file)."""
GRAVE = ("impossible", "inconsistent", "misprint")
"""Severities that are listed in full, worst first."""
LEGEND = """\
impossible: no test results can print as this number. inconsistent: it contradicts another number or the paper's own
description. misprint: a slip whose meaning is plain. fine: checked, and the check could have failed. cannot be checked:
something needed is not stated, or every number would pass."""


def render(audits: Audits, kind: str, *, every: bool = False) -> str:
    """All audits in one of the formats; ``every`` lists the harmless findings one by one too."""
    if kind == "json":
        return json.dumps([_values(name, findings) for name, findings in audits.items()], indent=1, ensure_ascii=False)
    one = _markdown if kind == "md" else _text
    body = "\n\n".join(one(name, findings, every) for name, findings in audits.items())
    legend = " ".join(LEGEND.split())
    return f"{body}\n\n{legend}" if kind == "md" else f"{body}\n\n{textwrap.fill(legend, width())}"


def counted(findings: Sequence[Finding]) -> str:
    """``6 impossible, 4 inconsistent, ...``."""
    counts = Counter(f.severity for f in findings)
    return ", ".join(f"{counts[s]} {s}" for s in SEVERITIES if counts[s]) or "nothing to check"


def _text(name: str, findings: Sequence[Finding], every: bool) -> str:
    lines = [f"{name}: {len(findings)} checks: {counted(findings)}"]
    for severity in SEVERITIES:
        chosen = [f for f in findings if f.severity == severity]
        if not chosen:
            continue
        lines += ["", severity.upper()]
        if severity in GRAVE or every:
            lines += [line for f in chosen for line in _entry(f)]
        else:
            lines += [_indented(f"{count} {what}", 2) for what, count in kinds(chosen)]
    return "\n".join(lines)


def _entry(f: Finding) -> list[str]:
    lines = [_indented(f"{f.where}: {f.printed}{_line(f)}", 2), _indented(f.found, 6)]
    return [*lines, *([_indented(f.arithmetic, 6)] if f.arithmetic and f.arithmetic != f.printed else [])]


def _line(f: Finding) -> str:
    return f" (line {f.line})" if f.line else ""


def _indented(text: str, by: int) -> str:
    return textwrap.fill(text, width(), initial_indent=" " * by, subsequent_indent=" " * (by + 2))


def kinds(findings: Sequence[Finding]) -> list[tuple[str, int]]:
    """Harmless findings by check, table and outcome, the most frequent first."""
    kinds = Counter((f.check, f.where.partition(",")[0], f.found) for f in findings)
    return [(f"{_noun(check, count)}, {table}: {found}", count) for (check, table, found), count in kinds.items()]


def _noun(check: str, count: int) -> str:
    nouns = {"average": "sum", "mean": "mean", "std": "standard deviation", "repeat": "repeated number"}
    noun = nouns.get(check, check.removesuffix("s"))
    return noun if count == 1 else f"{noun}s"


def _markdown(name: str, findings: Sequence[Finding], every: bool) -> str:
    parts = [f"## {name}\n\n{len(findings)} checks: {counted(findings)}."]
    for severity in SEVERITIES:
        chosen = [f for f in findings if f.severity == severity]
        if chosen and (severity in GRAVE or every):
            rows = [
                f"| {_cell(f.where)} | {_cell(f.printed)}{_line(f)} | {_cell(f.found)} | {_cell(f.arithmetic)} |"
                for f in chosen
            ]
            head = "| where | printed | found | arithmetic |\n|---|---|---|---|"
            parts.append(f"### {severity.capitalize()}\n\n" + "\n".join([head, *rows]))
        elif chosen:
            listed = "\n".join(f"* {count} {_cell(what)}" for what, count in kinds(chosen))
            parts.append(f"### {severity.capitalize()}\n\n{listed}")
    return "\n\n".join(parts)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _values(name: str, findings: Sequence[Finding]) -> dict[str, object]:
    counts = Counter(f.severity for f in findings)
    summary = {severity: counts[severity] for severity in SEVERITIES}
    return {"paper": name, "summary": summary, "checks": CHECKS, "findings": [asdict(f) for f in findings]}

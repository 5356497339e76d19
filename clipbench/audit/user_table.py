"""A table of the user's own, checked: sums, reachable means and standard deviations, repeated numbers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from clipbench.audit.counts import check_counts
from clipbench.audit.finding import Finding
from clipbench.audit.repeats import check_repeats
from clipbench.audit.sums import check_sums
from clipbench.audit.user.files import read_tables
from clipbench.audit.user.long import header_of, numbers_by_line
from clipbench.audit.user.table import printed_numbers
from clipbench.errors import UserError
from clipbench.registry.printed import Key, PrintedNumber


def audit_csv(path: Path) -> list[Finding]:
    """Every finding on the tables of a file: CSV with any delimiter, LaTeX or Markdown.

    Raises ``UserError`` with the file, the line and what is wrong; or where there is nothing to check.
    """
    numbers, unread = read_numbers(path)
    findings = [*check_sums(numbers), *check_counts(numbers.values()), *check_repeats(numbers.values()), *unread]
    if not numbers or not findings:
        raise UserError(
            f"{path}: 0 checks. No number was found in its tables: names of columns are expected in the first line, "
            "names of rows in the first column, numbers elsewhere; `clipbench audit --help` shows both forms."
            + (f" The first cell that is none: {unread[0].found}." if unread else "")
        )
    lines = {number.where: number.line for number in numbers.values()}
    return [replace(finding, line=lines.get(finding.where, 0)) for finding in findings]


def read_numbers(path: Path) -> tuple[dict[Key, PrintedNumber], list[Finding]]:
    """The printed numbers of all tables of a file, and a finding for each cell that holds none."""
    tables = read_tables(path)
    numbers: dict[Key, PrintedNumber] = {}
    unread: list[Finding] = []
    for at, raw in enumerate(tables, start=1):
        if (header := header_of(raw)) is not None:
            found: dict[Key, PrintedNumber] = numbers_by_line(raw, header, str(path))
        else:
            name = (raw.title[:60] or f"table {at}") if len(tables) > 1 else ""
            found, more = printed_numbers(raw, name, str(path))
            unread += more
        numbers |= (
            found
            if not numbers.keys() & found.keys()
            else {(f"table {at} {key[0]}".strip(), *key[1:]): number for key, number in found.items()}
        )
    return numbers, unread

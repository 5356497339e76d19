"""Tables of the terminal: whole words and numbers at any width, nothing lost, colours on a terminal only."""

from __future__ import annotations

import re
import sys

import pytest

from clipbench.report.terminal import grid, text_table, width

HEADERS = ("row", "printed", "verdict", "why")
ROWS = [
    ("ResNet50+EAM [3]", "98.06 ± 0.09", "deviates", "90% interval -18.49 to -17.23, margin of half a point"),
    ("r=4, α=8", "94.26 ± 0.11", "not run", "no record in this results folder"),
]


def words(text: str) -> list[str]:
    return sorted(re.findall(r"[^\s;]+", text))


@pytest.mark.parametrize("columns", [30, 50, 70, 100, 200])
def test_it_fits_its_width_and_keeps_every_word_whole(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    shown = text_table(HEADERS, ROWS)
    assert max(map(len, shown.splitlines())) <= columns
    lacking = set(words(" ".join(" ".join(row) for row in ROWS))) - set(words(shown))
    assert not lacking


def test_a_printed_deviation_stays_beside_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    assert "98.06 ± 0.09" in text_table(("row", "AID 20% train", "why"), [(a, b, d) for a, b, _, d in ROWS])


def test_what_is_too_wide_for_columns_becomes_a_paragraph_per_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    text = " ".join(text_table(HEADERS, ROWS).split())
    assert text.startswith("ResNet50+EAM [3]; printed: 98.06 ± 0.09; verdict: deviates; why: 90%")


def test_verdicts_are_coloured_on_a_terminal_unless_the_user_says_no(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[" not in text_table(HEADERS, ROWS)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert re.search(r"\x1b\[1;31m ?deviates", text_table(HEADERS, ROWS))
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[" not in text_table(HEADERS, ROWS)


def test_without_a_terminal_the_width_does_not_depend_on_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: False)
    assert width() == 120


@pytest.mark.parametrize("columns", [60, 80, 120, 200])
def test_many_columns_follow_in_tables_of_their_own(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    heads = ["row", *(f"Data set {i}\ndata_{i}" for i in range(12))]
    rows = [[f"method-{m}", *(f"{m}{i:02}.5 ± 0.11" for i in range(12))] for m in range(3)]
    lines = grid(heads, rows).splitlines()
    assert max(map(len, lines)) <= columns
    text = "\n".join(lines)
    assert all(text.count(str(cell)) == 1 for row in rows for cell in row[1:])
    parts = text.count("method-0")
    assert parts == len([line for line in lines if line.startswith("---")])
    assert (parts == 1) is (columns == 200)

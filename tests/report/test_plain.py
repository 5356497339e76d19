"""Tables as a terminal shows them: what was measured, in the rows and columns that have it."""

from __future__ import annotations

import pytest

from clipbench.compare.cells import Library
from clipbench.compare.verdict import compare_paper
from clipbench.registry import Overrides
from clipbench.registry.printed import load_published
from clipbench.report.plain import plain
from clipbench.report.table import Table
from clipbench.results.record import Record
from tests.factory import records, table


def shown(name: str, made: list[Record]) -> str:
    named = table(name)
    return plain(Table(*named, load_published(named[0]), compare_paper([named], Library(made))))


def test_measured_rows_and_columns_alone_with_printed_measured_and_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    text = shown(
        "lora-clip/table1", records(("lora-clip/table1", "lora-r8", "ucm-80"), (99.37, 99.36, 99.38, 99.37, 99.38))
    )
    assert max(map(len, text.splitlines())) <= 80
    lines = [line.split() for line in text.splitlines()]
    start = next(at for at, line in enumerate(lines) if line[:1] == ["r=8,"])
    assert [" ".join(line[-3:]) for line in lines[start : start + 2]] == ["99.37 ± 0.18", "± 0.01 (5)"]
    assert lines[start + 2] == ["verdict", "+0.00", "reproduced"]
    assert "r=16" not in text
    assert "AID" not in text
    assert "10 more rows of the paper have no measured number here" in text


def test_rows_of_one_name_are_told_apart_and_smoke_has_no_difference() -> None:
    smoke = Overrides(profile="smoke")
    made = [
        r
        for shots in (1, 4)
        for r in records(("clip-dora/table1", f"clip-dora-{shots}shot", "dtd"), (50.0, 51.0), overrides=smoke)
    ]
    text = shown("clip-dora/table1", made)
    assert "CLIP-DoRA, 1 shot" in text
    assert "CLIP-DoRA, 4 shots" in text
    assert "verdict" not in text
    assert "PLOT++" not in text  # neither its row nor the caution about its printed numbers
    assert text.count("† not comparable with the paper: smoke profile") == 1

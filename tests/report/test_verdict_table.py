"""What `clipbench compare` prints: narrow columns, each reason once below them, smoke without a difference."""

from __future__ import annotations

import csv
import io
import json
import re

import pytest

from clipbench.compare.cells import Library
from clipbench.compare.verdict import Comparison, compare_paper, summary
from clipbench.registry import Overrides
from clipbench.registry.printed import load_published
from clipbench.report.comparison import render
from clipbench.report.latex import latex
from clipbench.report.markdown import markdown
from clipbench.report.table import Table
from clipbench.report.table import csv as table_csv
from clipbench.results.record import Record
from tests.factory import records, table

T1 = "lora-clip/table1"
NEAR, FAR = (99.37, 99.36, 99.38, 99.37, 99.38), (90.0, 90.1, 90.2, 89.9, 89.8)
SMOKE = Overrides(profile="smoke")
MADE = [
    *records((T1, "lora-r8", "ucm-80"), NEAR),
    *records((T1, "lora-r16", "aid-20"), FAR),
    *(r for row in ("lora-r4", "lora-r32") for r in records((T1, row, "ucm-80"), (40.0, 41.0), overrides=SMOKE)),
    *records((T1, "resnet50-eam", "ucm-80"), (34.0, 36.0), overrides=SMOKE),
]


def compared(made: list[Record]) -> list[Comparison]:
    return compare_paper([table(T1)], Library(made))


def shown(made: list[Record], kind: str = "text") -> str:
    found = compared(made)
    return render(found, summary(found), kind, 0.5)


@pytest.mark.parametrize("columns", [80, 120, 200])
def test_a_row_takes_a_few_lines_at_any_width(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    text = shown(MADE)
    assert max(map(len, text.splitlines()[:-1])) <= columns
    grid = text.partition("-----\n")[2].partition("\n\n")[0]
    # Five rows below two columns' names; only at 80 columns do names and intervals need further lines.
    assert 7 <= len(grid.splitlines()) <= (18 if columns == 80 else 7)
    for number in ("99.37 ± 0.18", "99.37 ± 0.01 (5)", "90.00 ± 0.16 (5)", "40.50 ± 0.71 (2)"):
        assert number in grid


def test_each_reason_stands_once_and_names_its_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "250")
    text = shown(MADE)
    assert text.count("tiny model, generated images") == 1
    (note,) = re.findall(r"^(\d+)\. (.*): smoke profile: tiny model", text, re.MULTILINE)
    assert (
        note[1]
        == "ResNet50+EAM [3] and r=4, α=8 (0.5%), LoRA-CLIP and r=32, α=64, (0.5%), LoRA-CLIP in MERGED 80% train"
    )
    (line,) = [line for line in text.splitlines() if line.startswith("r=4, α=8")]
    assert line.endswith(f"not comparable  {note[0]}")
    assert text.count("no record in this results folder") == 1


def test_a_judged_cell_says_difference_and_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    lines = shown(MADE).splitlines()
    (good,) = [line for line in lines if "reproduced" in line and line.startswith("r=8")]
    (bad,) = [line for line in lines if "deviates" in line and line.startswith("r=16")]
    assert re.search(r"\+0\.00 \(−0\.\d\d to \+0\.\d\d\) +reproduced", good)
    assert re.search(r"−8\.35 \(−8\.\d\d to −7\.\d\d\) +deviates", bad)


def test_one_column_is_said_once_above_the_table() -> None:
    text = shown(records((T1, "lora-r8", "ucm-80"), NEAR))
    assert "Column: MERGED 80% train." in text
    assert text.count("MERGED 80% train") == 1


def test_no_output_holds_a_difference_between_a_smoke_number_and_a_printed_one() -> None:
    """Printed 98.95, 99.28 and 98.98; measured 40.5, 40.5 and 35."""
    smoke = [r for r in MADE if r.protocol.profile == "smoke"]
    found = compared(smoke)
    made = Table(*table(T1), load_published(table(T1)[0]), found)
    texts = [render(found, summary(found), kind, 0.5) for kind in ("text", "md", "csv", "json")]
    for text in (*texts, markdown(made), latex(made), table_csv(made)):
        assert not re.search(r"58\.[47]\d|63\.98|4\.\d+e", text)
    assert {row["difference"] for row in csv.DictReader(io.StringIO(texts[2]))} == {""}
    assert all(cell["interval"] is None for cell in json.loads(texts[3])["cells"])


def test_tables_with_measured_numbers_come_first_and_the_others_in_a_line() -> None:
    found = compare_paper([table("clip-dora/table2"), table(T1)], Library(records((T1, "lora-r8", "ucm-80"), NEAR)))
    text = render(found, summary(found), "text", 0.5)
    assert text.index(T1) < text.index("clip-dora/table2\n180 not run: no record in this results folder")

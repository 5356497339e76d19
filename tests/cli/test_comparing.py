"""`clipbench compare`, `table` and `figure` end to end."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from tests.cli.commands_for_tests import CELL, NEAR, Captured, as_json, call, publish
from tests.factory import record, records


def test_fewer_seeds_are_incomplete_and_all_are_judged(capsys: Captured, tmp_path: Path) -> None:
    publish(tmp_path, records(CELL, NEAR[:1]))
    words = ("compare", "--paper", "table1", "--out", tmp_path, "--format", "json")
    assert as_json(capsys, *words)["summary"]["incomplete"] == 1
    publish(tmp_path, [record(CELL, seed, score) for seed, score in enumerate(NEAR[1:], start=2)])
    found = as_json(capsys, *words)
    assert found["summary"]["reproduced"] == 1
    assert found["margin"] == 0.5


def test_strict_fails_on_a_deviation_only(capsys: Captured, tmp_path: Path) -> None:
    good = publish(tmp_path / "good", records(CELL, NEAR))
    bad = publish(tmp_path / "bad", records(CELL, [90.0, 90.1, 90.2, 89.9, 89.8]))
    assert call(capsys, "compare", "table1", "--out", good, "--strict")[0] == 0
    assert call(capsys, "compare", "table1", "--out", bad)[0] == 0
    code, out, _ = call(capsys, "compare", "table1", "--out", bad, "--strict")
    assert code == 1
    assert "1 deviates" in out


def test_every_format_holds_the_same_verdict(capsys: Captured, tmp_path: Path) -> None:
    publish(tmp_path, records(CELL, NEAR))
    said = {}
    for kind in ("text", "md", "csv", "json"):
        code, said[kind], _ = call(capsys, "compare", "table1", "--out", tmp_path, "--format", kind)
        assert code == 0
        assert "reproduced" in said[kind]
        assert "99.37 ± 0.18" in said[kind]
    rows = list(csv.DictReader(said["csv"].splitlines()))
    (mine,) = [r for r in rows if (r["row"], r["column"]) == CELL[1:]]
    assert (mine["verdict"], mine["printed"]) == ("reproduced", "99.37 ± 0.18")
    assert len(rows) == len(json.loads(said["json"])["cells"])
    assert "61 printed numbers: 1 reproduced" in said["text"] or "1 reproduced" in said["text"].splitlines()[-1]


def test_the_margin_is_the_users(capsys: Captured, tmp_path: Path) -> None:
    publish(tmp_path, records(CELL, NEAR))
    found = as_json(capsys, "compare", "table1", "--out", tmp_path, "--format", "json", "--margin", "0.05")
    assert found["summary"]["compatible"] == 1
    assert found["margin"] == 0.05


def test_two_folders(capsys: Captured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    ours = publish(tmp_path / "ours", records(CELL, NEAR))
    same = publish(tmp_path / "same", records(CELL, NEAR))
    far = publish(tmp_path / "far", records(CELL, [s - 9 for s in NEAR]))
    words = ("compare", "--out", ours, "--strict", "--format", "json", "--against")
    assert as_json(capsys, *words, same)["summary"] == {"reproduced": 1}
    code, out, _ = call(capsys, *words, far)
    assert code == 1
    assert json.loads(out)["summary"] == {"deviates": 1}
    code, _, err = call(capsys, *words, tmp_path / "typo")
    assert code == 2
    assert "typo" in err
    code, out, _ = call(capsys, "compare", "--out", ours, "--against", same / "results")  # the results folder itself
    assert code == 0
    assert "identical numbers" in out


def test_tables_and_figures_need_records(capsys: Captured, tmp_path: Path) -> None:
    for words in (("table", "table1"), ("figure", "figure3")):
        code, _, err = call(capsys, *words, "--out", tmp_path)
        assert code == 2
        assert "clipbench run" in err
    code, _, err = call(capsys, "figure", "table1", "--out", tmp_path)
    assert code == 2
    assert "names no figure" in err


def test_only_picks_cells_by_row_column_data_set_and_protocol(capsys: Captured, tmp_path: Path) -> None:
    words = ("compare", "clip-dora/table1", "--out", tmp_path, "--json", "--only")
    found = as_json(capsys, *words, "dataset=eurosat,row=clip-*")["cells"]
    assert {c["column"] for c in found} == {"eurosat"}
    assert {c["row"].partition("-")[0] for c in found} == {"clip"}
    shots = as_json(capsys, *words, "shots=4")["cells"]
    assert shots
    assert all(c["row"].endswith("-4shot") for c in shots)
    averages = as_json(capsys, *words, "column=avg,row=zero-shot")["cells"]
    assert [(c["row"], c["column"]) for c in averages] == [("zero-shot", "avg")]
    code, _, err = call(capsys, *words, "dataset=nothing")
    assert code == 2
    assert "leaves no cell" in err
    code, _, err = call(capsys, "compare", "--only", "row=full", "--against", tmp_path, "--out", tmp_path)
    assert code == 2
    assert "--only picks printed cells" in err


def test_text_says_printed_names_and_csv_ids(capsys: Captured, tmp_path: Path) -> None:
    publish(tmp_path, records(CELL, NEAR))
    words = ("compare", "table1", "--only", "row=lora-r8,column=ucm-80", "--out", tmp_path)
    text = call(capsys, *words)[1]
    assert "r=8, α=16 (0.5%)" in text
    assert "lora-r8" not in text
    assert "lora-r8" in call(capsys, *words, "--format", "csv")[1]


def test_json_and_format_json_are_the_same_everywhere(capsys: Captured, tmp_path: Path) -> None:
    out = ("--out", tmp_path)
    commands = [("claims", "lora-clip"), ("audit", "lora-clip"), ("assumptions", "table1"), ("data", "list", "table1")]
    for words in (("list", "table1", *out), ("show", "table1"), ("compare", "table1", *out), ("validate",), *commands):
        assert as_json(capsys, *words, "--json") == as_json(capsys, *words, "--format", "json")

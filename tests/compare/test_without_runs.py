"""What needs no run: counts and shares of parameters have their verdict in an empty folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clipbench.cli.main import main
from clipbench.compare.cells import Library
from clipbench.compare.verdict import compare_paper
from clipbench.registry import Overrides
from tests.factory import records, table


def verdicts(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> dict[tuple[str, str], str]:
    assert main(["compare", "--paper", name, "--out", str(tmp_path), "--format", "json"]) == 0
    return {(c["row"], c["column"]): c["verdict"] for c in json.loads(capsys.readouterr().out)["cells"]}


def test_the_shares_of_lora_clips_text_reproduce_and_its_labels_do_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = verdicts(tmp_path, capsys, "lora-clip/text")
    assert {found[f"lora-r{rank}", "text"] for rank in (4, 8, 16, 32)} == {"reproduced"}
    assert {found[f"lora-r{rank}", "label"] for rank in (4, 16, 32)} == {"deviates"}


def test_table_4_has_its_parameters_and_no_dice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = verdicts(tmp_path, capsys, "clip-dora/table4")
    assert found["parameters", "clip-dora"] in ("reproduced", "deviates")
    assert found["share", "clip-dora"] in ("reproduced", "deviates")
    assert found["kvasir", "clip-dora"] == "not run"


def test_smoke_records_never_stand_beside_a_share_of_another_network() -> None:
    where = ("lora-clip/text", "lora-r8", "text")
    made = records(where, (40.0,), overrides=Overrides(profile="smoke"))
    cells = {(c.cell.row.id, c.cell.column.id): c for c in compare_paper([table("lora-clip/text")], Library(made))}
    cell = cells["lora-r8", "text"]
    assert cell.verdict == "reproduced"
    assert cell.measured is not None
    assert not cell.measured.records
    assert "computed from the architecture" in cell.reason


@pytest.mark.parametrize(("name", "code"), [("lora-clip/text", 1), ("clip-dora/table1", 3)])
def test_strict_tells_a_deviation_from_nothing_comparable(tmp_path: Path, name: str, code: int) -> None:
    assert main(["compare", name, "--out", str(tmp_path), "--strict"]) == code
    assert main(["compare", name, "--out", str(tmp_path)]) == 0


def test_a_folder_whose_name_is_too_long_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["list"], ["compare", "--paper"]):
        assert main([*command, "--out", "n" * 5000]) == 2
        assert capsys.readouterr().err.count("\n") <= 3

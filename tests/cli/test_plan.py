"""`clipbench plan`: what is done, to run and blocked, and by what; names of tables; options as people write them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from clipbench.cli.main import main
from clipbench.plan.select import make_plan
from clipbench.registry import Overrides, find
from clipbench.registry.find import which
from tests.cli.commands_for_tests import TINY, Captured, as_json, call

ONE = ("--only", "dataset=aid,row=lora-r4", "--seeds", "1,2")


def test_what_blocks_runs_is_named_and_nothing_could_run(capsys: Captured, tmp_path: Path) -> None:
    code, out, err = call(capsys, "plan", "table1", *ONE, "--data", tmp_path, "--out", tmp_path / "out")
    assert (code, err) == (2, "")
    assert out.startswith("table1 is lora-clip/table1, Table I of LoRA-CLIP; CLIP-DoRA's Table 1 is called")
    assert "4 runs on cpu: 0 done, 0 to run, 4 blocked" in out
    assert "data: aid. the data set AID" in out
    assert len(out.splitlines()) < 24  # a screen
    assert not (tmp_path / "out").exists()


def test_fp16_on_a_cpu_is_refused_before_anything_is_built(
    capsys: Captured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clipbench.engine.device.pick_device", lambda _: __import__("torch").device("cpu"))
    words = ("table1", "--smoke", *TINY, "--precision", "fp16", "--out", tmp_path)
    found = json.loads(call(capsys, "plan", *words, "--json")[1])
    assert found["counts"] == {"done": 0, "to run": 0, "blocked": 2}
    assert found["runs"][0]["blocked_by"] == [{"kind": "precision", "what": "fp16"}]
    code, _, err = call(capsys, "run", *words)
    assert code == 2
    assert err == "clipbench run: fp16 needs a GPU; on the CPU use --precision bf16 or fp32\n"


def test_a_dry_run_is_the_plan_with_its_jobs(capsys: Captured, tmp_path: Path) -> None:
    words = ("table1", "--smoke", *TINY, "--out", tmp_path, "--jobs")
    code, planned, _ = call(capsys, "plan", *words)
    assert code == 0
    assert "2 runs on cpu: 0 done, 2 to run, 0 blocked" in planned
    assert "lora-clip/table1 lora-r4 ucm-80  1,2      2 to run" in planned
    assert call(capsys, "run", *words, "--dry-run")[1] == planned


def test_every_command_counts_cells_alike(capsys: Captured, tmp_path: Path) -> None:
    place = ("--data", tmp_path, "--out", tmp_path)
    listed = {e["table"]: e for e in as_json(capsys, "list", *place, "--json")}
    examined = {e["table"]: e for e in as_json(capsys, "doctor", *place, "--json")["tables"]}
    keys = ("cells", "runnable", "data_missing", "weights_missing", "not_implemented", "smoke")
    assert {t: [e[k] for k in keys] for t, e in listed.items()} == {
        t: [e[k] for k in keys] for t, e in examined.items()
    }


def test_names_of_one_paper_work_and_names_of_several_are_refused(capsys: Captured) -> None:
    assert [t.id for _, t in find(["table4", "fewshot", "table1"])] == [
        "clip-dora/table4",
        "clip-dora/table1",
        "lora-clip/table1",
    ]
    assert which(["fewshot", "table4", "lora-clip/table1"]) == []
    code, _, err = call(capsys, "show", "table2")
    assert code == 2
    assert "Say which: lora-clip/table2 (Table II of LoRA-CLIP); clip-dora/table2 or backbones (Table 2 of" in err


def test_zero_shot_is_shots_0_and_figures_have_panels() -> None:
    rows = {p.cell.row.id for p in make_plan(["fewshot"], Overrides(), ["shots=0"], (1,)).runs}
    assert rows == {"zero-shot"}
    by_number = make_plan(["figure2"], Overrides(), ["panel=2"], (1,)).runs
    by_title = make_plan(["figure2"], Overrides(), ["panel=dtd, 4 shots"], (1,)).runs
    assert [p.run.id for p in by_number] == [p.run.id for p in by_title]
    assert {(p.cell.row.id, p.cell.column.id) for p in by_number} == {
        ("clip-lora-4shot", "dtd"),
        ("clip-dora-4shot", "dtd"),
    }


def test_a_list_field_on_the_command_line(capsys: Captured, tmp_path: Path) -> None:
    words = ("fewshot", "--smoke", "--only", "row=clip-dora-1shot,dataset=dtd", "--seeds", "1", "--out", tmp_path)
    found = as_json(capsys, "plan", *words, "--set", "crop_scale=0.5,1,lr=1e-3,lr_min=0", "--json")
    assert {tuple(r["protocol"]["crop_scale"]) for r in found["runs"]} == {(0.5, 1.0)}
    assert {r["protocol"]["lr"] for r in found["runs"]} == {1e-3}


def test_the_help_of_run_has_groups_and_examples(capsys: Captured) -> None:
    with pytest.raises(SystemExit):
        main(["run", "--help"])
    said = capsys.readouterr().out
    for part in ("what is run:", "the protocol, where", "this machine:", "examples:", "shots=0 is zero-shot"):
        assert part in said


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell: str, capsys: Captured) -> None:
    code, script, _ = call(capsys, "completion", shell)
    assert code == 0
    assert "lora-clip/table1" in script
    if shell == "bash":
        ask = f'{script}\nCOMP_WORDS=(clipbench run --dry); COMP_CWORD=2; _clipbench; echo "${{COMPREPLY[@]}}"'
        done = subprocess.run(["bash", "-c", ask], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "--dry-run"

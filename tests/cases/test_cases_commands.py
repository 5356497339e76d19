"""Small inputs that went wrong once, each through the command that its README names: runs, audits and their ends."""

from __future__ import annotations

import io
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from clipbench.cli.main import main
from clipbench.engine.checkpoint import Checkpoint
from clipbench.engine.loop import Loop, State
from clipbench.launch import local
from clipbench.results import locks
from clipbench.results.store import Store
from tests.cli.commands_for_tests import Captured, call, publish
from tests.factory import record

CASES = Path(__file__).parent
FEW = ["--backbone", "clipbench-tiny", "--precision", "fp32", "--set", "steps_per_shot=2", "--seeds", "1"]
LORA = ["--only", "method=clip-lora-1shot"]


def case(name: str) -> Path:
    (folder,) = CASES.glob(f"{name}-*")
    return folder


def few(my: Path, *words: str | Path) -> list[str | Path]:
    return ["run", "fewshot", "--dataset-dir", my, *FEW, *words, "--out", my.parent / "out"]


# Runs


def test_b09_a_tower_without_attention_blocks_is_refused(capsys: Captured, my: Path) -> None:
    words = ("--backbone", "RN50", "--weights", "random", "--set", "steps_per_shot=1")
    code, said, _ = call(capsys, *few(my, *LORA, *words))
    assert code == 1
    assert "the vision tower of this CLIP has no blocks of a known layout" in said
    assert "towers='text'" in said
    assert Store(my.parent / "out" / "results").scan() == ([], [])


def test_b27_b29_a_run_whose_output_lacks_characters_in_a_notebook(my: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The table's plus-minus sign is printed after the training: an error there would come too late."""
    written = io.BytesIO()
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
    words = ["run", "table1", "--smoke", "--only", "dataset=ucm,row=lora-r4", "--limit", "2", "--seeds", "1"]
    assert main([*words, "--epochs", "1", "--out", str(my.parent)]) == 0
    assert b"\\xb1" in written.getvalue()
    assert (my.parent / "figures" / "lora-clip" / "figure3.png").stat().st_size > 1000


def test_b43_a_learning_rate_that_is_no_number(capsys: Captured, my: Path) -> None:
    code, _, err = call(capsys, *few(my, *LORA, "--set", "lr=nan"))
    assert (code, err) == (2, "clipbench run: lr = nan: must be a number from 0.\n")


def test_robust_diverged_on_a_full_disk(capsys: Captured, my: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The history of a run that diverged cannot be kept: said, and the other run of the command goes on."""
    write = local.write_json

    def full(path: Path, values: Any) -> Path:
        return write(path, values) if ".failed" not in str(path) else refuse(path)

    def refuse(path: Path) -> Path:
        raise local.WriteError(f"{path} cannot be written: the disk is full.")

    monkeypatch.setattr(local, "write_json", full)
    lost = call(capsys, *few(my, *LORA, "--set", "lr=1e30"))
    assert lost[0] == 1
    assert "its loss was no number from epoch" in lost[1]
    assert "its history could not be kept: " in lost[1]
    assert "the disk is full" in lost[1]


def test_robust_a_fault_of_ours_on_a_full_disk(capsys: Captured, my: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fault(*_: object) -> None:
        raise ZeroDivisionError("nobody foresaw it")

    def full(path: Path, _: str) -> Path:
        raise local.WriteError(f"{path} cannot be written: the disk is full.")

    monkeypatch.setattr(local, "run_job", fault)
    code, said, _ = call(capsys, *few(my, *LORA))
    assert code == 1
    report = my.parent / "out" / "results" / ".failed"
    assert f"ZeroDivisionError: nobody foresaw it. This is a fault of clipbench; please report it with {report}" in said
    assert "Traceback" in next(report.iterdir()).read_text(encoding="utf-8")
    monkeypatch.setattr(local, "write_text", full)
    code, said, _ = call(capsys, *few(my, *LORA))
    assert code == 1
    assert "please report it. " in said
    assert "the disk is full" in said


@pytest.mark.parametrize("content", ["hello", "a list", "no parameters"])
def test_robust_checkpoint_of_other_content(capsys: Captured, my: Path, content: str) -> None:
    """It is said, and the job starts anew and ends as any other."""
    out = my.parent / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoint, "maybe_save", stop_after_saving)
        assert call(capsys, *few(my, *LORA))[0] == 130
    (saved,) = (out / "results" / ".checkpoints").iterdir()
    if content == "hello":
        saved.write_text("hello")
    else:
        whole = torch.load(saved, weights_only=True)
        torch.save([1, 2] if content == "a list" else {k: v for k, v in whole.items() if k != "parameters"}, saved)
    with pytest.warns(UserWarning, match="checkpoint"):
        code, said, _ = call(capsys, *few(my, *LORA))
    assert code == 0
    assert "1 runs made" in said


def stop_after_saving(checkpoint: Checkpoint, loop: Loop, state: State, *_: float) -> None:
    checkpoint.save(loop, state)
    raise KeyboardInterrupt


# Preempted, and started again elsewhere (b26). tests/launch/test_work.py sends SIGTERM to a process in training.


@pytest.mark.parametrize(("age", "due"), [(0, 4), (2 * locks.LEASE_SECONDS, 0)])
def test_b26_a_claim_of_another_node(
    capsys: Captured, my: Path, monkeypatch: pytest.MonkeyPatch, age: float, due: int
) -> None:
    """What another node works on is not done, and the exit code is not 0; a lease that has run out is taken over."""

    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(local, "run_job", stopped)
        patch.setattr(locks.Claim, "release", lambda claim: claim._over.set())
        assert call(capsys, *few(my, *LORA))[0] == 130
    (claim,) = (my.parent / "out" / "results" / ".claims").iterdir()
    claim.write_text(json.dumps(json.loads(claim.read_text()) | {"host": "node-042", "boot": "", "namespace": ""}))
    os.utime(claim, (time.time() - age, time.time() - age))
    code, said, _ = call(capsys, *few(my, *LORA))
    assert code == due
    assert ("in the hands of other processes; run this again when they are done, or with --wait." in said) == bool(due)
    assert ("1 runs made" in said) == (not due)


# Audits


def test_b30_a_table_with_semicolons(capsys: Captured) -> None:
    code, said, _ = call(capsys, "audit", "--csv", case("b30") / "table.csv", "--strict")
    assert code == 1
    assert "2 impossible" in said


def test_b31_fractions_are_no_percentages(capsys: Captured) -> None:
    code, said, _ = call(capsys, "audit", "--csv", case("b31") / "table.csv", "--strict")
    assert code == 0
    assert "4 checks: 4 fine" in said
    assert "read as fractions of 1" in said


@pytest.mark.parametrize("name", ["thirty", "hundred"])
def test_robust_audit_of_many_runs_ends(capsys: Captured, name: str) -> None:
    began = time.process_time()
    code, said, _ = call(capsys, "audit", "--csv", case("robust-audit") / f"{name}.csv", "--strict")
    assert time.process_time() - began < 5
    assert code == 0
    assert "2 cannot be checked" in said


# Results folders


def test_robust_one_odd_record(capsys: Captured, tmp_path: Path) -> None:
    """Each odd one is named and not used; the other record of the folder counts as before."""
    whole = record()
    publish(tmp_path, [whole])
    values = json.loads((tmp_path / "results" / whole.id / "record.json").read_text())
    odd = [{"metrics": {}}, {"history": []}, {"finished": None}, {"environment": values["environment"] | {"device": 1}}]
    for number, change in enumerate(odd):
        folder = tmp_path / "results" / f"{number:016d}"
        folder.mkdir()
        (folder / "record.json").write_text(json.dumps({**values, **change, "id": folder.name}))
    for command in (["list", "table1"], ["compare", "lora-clip/table1"], ["table", "lora-clip/table1"]):
        code, _, err = call(capsys, *command, "--out", tmp_path)
        assert code == 0
        assert err.count("not used: ") == len(odd)
    assert "90.00" in (tmp_path / "tables" / "lora-clip" / "table1.md").read_text()
    assert [r.id for r in Store(tmp_path / "results").scan()[0]] == [whole.id]

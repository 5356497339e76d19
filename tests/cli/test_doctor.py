"""``clipbench doctor``: answers on a machine without GPU, data or weights, and on one where PyTorch is broken."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import pytest

from clipbench.cli import doctor, doctor_report

Captured = pytest.CaptureFixture[str]


def call(capsys: Captured, *words: str | Path) -> tuple[int, str]:
    parser = argparse.ArgumentParser()
    doctor.add_arguments(parser)
    code = doctor.main(parser.parse_args([str(word) for word in words]))
    return code, capsys.readouterr().out


@pytest.fixture(autouse=True)
def _no_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.setenv("HOME", str(tmp_path))


def test_the_report_says_what_there_is(capsys: Captured, tmp_path: Path) -> None:
    code, out = call(capsys, "--data", tmp_path / "nowhere")
    assert code == 0
    for part in ("torch ", "device: ", "precision: fp32 yes", "free", "data complete: none", "weights: none", "table1"):
        assert part in out
    assert f"{tmp_path / 'nowhere'} (not there yet)" in out


def test_as_json(capsys: Captured, tmp_path: Path) -> None:
    code, out = call(capsys, "--data", tmp_path, "--json")
    found = json.loads(out)
    assert code == 0
    assert set(found["device"]["precision"]) == {"fp32", "bf16", "fp16"}
    assert found["disk"]["data"] == found["disk"]["data"] | {"folder": str(tmp_path), "exists": True}
    assert found["disk"]["data"]["free"] > 0
    table1 = next(e for e in found["tables"] if e["table"] == "lora-clip/table1")
    assert table1["cells"] == table1["data_missing"] == table1["smoke"] == 66
    assert table1["runnable"] == table1["weights_missing"] == table1["not_implemented"] == 0


def test_data_and_weights_that_are_here_make_cells_run(
    capsys: Captured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    complete = doctor_report.Here.dataset

    def there(self: doctor_report.Here, name: str) -> object:
        from dataclasses import replace

        return replace(complete(self, name), state="complete" if name == "ucm" else "missing")

    monkeypatch.setattr(doctor_report.Here, "dataset", there)
    monkeypatch.setattr("clipbench.plan.needs.has_weights", lambda *_: True)
    found = json.loads(call(capsys, "--data", tmp_path, "--json")[1])
    table1 = next(e for e in found["tables"] if e["table"] == "lora-clip/table1")
    assert 0 < table1["runnable"] < table1["cells"]
    assert found["data"]["complete"] == ["ucm"]


def test_a_broken_pytorch_is_said_with_exit_code_one(
    capsys: Captured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    code, out = call(capsys, "--data", tmp_path)
    assert code == 1
    assert "device: PyTorch does not work here" in out

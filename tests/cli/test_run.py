"""`clipbench run` end to end: records, tables, exit codes, interrupts."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from clipbench.cli.main import main
from clipbench.data.catalogue import entry
from clipbench.results.store import Store
from tests.cli.commands_for_tests import TINY, Captured, as_json, call


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seeds of one cell, one epoch, three images per class."""
    out = tmp_path_factory.mktemp("smoke")
    assert main(["run", "table1", "--smoke", *TINY, "--out", str(out)]) == 0
    return out


def test_a_run_leaves_records_tables_and_the_figure(smoke: Path) -> None:
    found, faults = Store(smoke / "results").scan()
    assert not faults
    assert sorted(r.seed for r in found) == [1, 2]
    assert {r.protocol.profile for r in found} == {"smoke"}
    assert all(r.origin.overrides == {"limit": 3, "epochs": 1} for r in found)
    for suffix in ("md", "csv", "tex", "json"):
        assert (smoke / "tables" / "lora-clip" / f"table1.{suffix}").stat().st_size > 500
    for suffix in ("png", "svg", "csv"):
        assert (smoke / "figures" / "lora-clip" / f"figure3.{suffix}").stat().st_size > 100


def test_what_is_there_is_not_run_again_and_a_dry_run_says_so(smoke: Path, capsys: Captured) -> None:
    words = ("run", "table1", "--smoke", *TINY, "--out", smoke)
    plan = as_json(capsys, *words, "--dry-run", "--json")
    assert [r["state"] for r in plan["runs"]] == ["done", "done"]
    more = as_json(capsys, *words, "--seeds", "1,2,3", "--dry-run", "--json")
    assert [r["state"] for r in more["runs"]] == ["done", "done", "to run"]
    assert more["cost"]["train_images"] == 30
    code, text, _ = call(capsys, *words, "--dry-run")
    assert code == 0
    assert "2 done, 0 to run, 0 blocked" in text
    before = {r.finished for r in Store(smoke / "results").scan()[0]}
    summary = as_json(capsys, *words, "--json")
    assert (summary["made"], len(summary["there"])) == ([], 2)
    assert {r.finished for r in Store(smoke / "results").scan()[0]} == before


def test_a_dry_run_names_missing_data_and_makes_nothing(capsys: Captured, tmp_path: Path) -> None:
    words = ("run", "table1", "--data", tmp_path, "--out", tmp_path / "out", "--dry-run")
    code, out, _ = call(capsys, *words, "--json")
    assert code == 2
    plan = json.loads(out)
    assert set(plan["missing_data"]) == {"ucm", "aid", "resisc45", "optimal31"}
    assert len(plan["runs"]) == 66 * 5
    assert {r["state"] for r in plan["runs"]} == {"blocked"}
    assert all("data" in {o["kind"] for o in r["blocked_by"]} for r in plan["runs"])
    assert not (tmp_path / "out").exists()


def test_force_runs_again_to_the_same_numbers_and_keeps_the_old(capsys: Captured, tmp_path: Path) -> None:
    words = ("run", "table1", "--smoke", *TINY, "--out", tmp_path, "--seeds", "1", "--json")
    as_json(capsys, *words)
    (before,) = Store(tmp_path / "results").scan()[0]
    assert as_json(capsys, *words, "--force")["made"] == [before.id]
    (after,) = Store(tmp_path / "results").scan()[0]
    assert after.finished != before.finished
    assert (after.metrics, after.files) == (before.metrics, before.files)
    assert len(list((tmp_path / "results").glob(".replaced-*"))) == 1


def test_smoke_cells_are_not_comparable(smoke: Path, capsys: Captured) -> None:
    found = as_json(capsys, "compare", "--paper", "table1", "--out", smoke, "--format", "json")
    cells = {(c["row"], c["column"]): c for c in found["cells"]}
    mine = cells["lora-r4", "ucm-80"]
    assert mine["verdict"] == "not comparable"
    assert "smoke profile" in mine["reason"]
    assert set(mine["measured"]["runs"]) == {"1", "2"}
    assert found["summary"]["not comparable"] == 1
    assert "reproduced" not in found["summary"]
    code, _, _ = call(capsys, "compare", "--paper", "table1", "--out", smoke, "--strict")
    assert code == 3  # nothing was comparable


def aid(root: Path) -> Path:
    """Four small images of every class, in AID's layout."""
    rng = np.random.default_rng(0)
    for name in entry("aid").classes:
        (root / "AID" / name).mkdir(parents=True)
        for i in range(4):
            pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / "AID" / name / f"{name.lower()}_{i + 1}.jpg")
    return root


def test_a_part_of_a_real_layout_with_another_backbone_is_not_comparable(capsys: Captured, tmp_path: Path) -> None:
    data, out = aid(tmp_path / "data"), tmp_path / "out"
    words = ["run", "table1", "--only", "column=aid-50,row=lora-r4", "--data", data, "--out", out, "--seeds", "1"]
    words += ["--backbone", "clipbench-tiny", "--precision", "fp32", "--epochs", "1"]
    code, _, err = call(capsys, *words)  # not whole, and no --limit that would admit it
    assert code == 2
    assert "120 of 10,000 images" in err
    assert len(as_json(capsys, *words, "--limit", "2", "--json")["made"]) == 1
    (made,) = Store(out / "results").scan()[0]
    assert (made.data.train_images, made.data.test_images, made.data.complete) == (60, 60, False)
    assert (made.model.backbone, made.model.weights, made.protocol.image_size) == ("clipbench-tiny", "embedded", 64)
    found = as_json(capsys, "compare", "--paper", "table1", "--out", out, "--format", "json")
    (cell,) = [c for c in found["cells"] if c["measured"]]
    assert cell["verdict"] == "not comparable"
    for part in ("backbone clipbench-tiny", "limit 2", "epochs 1", "precision fp32", "incomplete data"):
        assert part in cell["reason"]


def test_missing_weights_are_said_once_with_exit_code_two(
    capsys: Captured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import open_clip

    asked = []

    def offline(name: str, **more: Any) -> None:
        asked.append(name)
        raise OSError("no route to host")

    monkeypatch.setattr(open_clip, "create_model", offline)
    words = ["run", "table1", "--only", "dataset=aid,row=lora-r4", "--data", aid(tmp_path / "data"), "--limit", "2"]
    code, out, err = call(capsys, *words, "--out", tmp_path / "out")
    assert code == 2
    assert asked == ["ViT-L-14-quickgelu"]  # two cells need them, one attempt is enough
    for part in ("'openai'", "no route to host", "--weights FILE", "--smoke"):
        assert part in out + err
    assert not list((tmp_path / "out" / "results").glob("*/record.json"))


def test_another_reading_never_mixes_with_the_default(capsys: Captured, tmp_path: Path) -> None:
    words = ("run", "table1", "--smoke", *TINY, "--seeds", "1", "--out", tmp_path, "--json")
    (default,) = as_json(capsys, *words)["made"]
    (other,) = as_json(capsys, *words, "--assume", "scaling=alpha")["made"]
    assert default != other
    found = {r.id: r for r in Store(tmp_path / "results").scan()[0]}
    assert (found[default].protocol.scaling, found[other].protocol.scaling) == ("alpha/r", "alpha")
    assert found[other].origin.assume == {"scaling": "alpha"}


def test_ctrl_c_ends_with_130_and_lets_go_of_the_runs(tmp_path: Path) -> None:
    words = [
        "run",
        "table1",
        "--smoke",
        "--only",
        "dataset=ucm,row=lora-r32",
        "--epochs",
        "500",
        "--out",
        str(tmp_path),
    ]
    process = subprocess.Popen([sys.executable, "-m", "clipbench", *words], stderr=subprocess.PIPE, text=True)
    claims = tmp_path / "results" / ".claims"
    deadline = time.monotonic() + 60
    while not (claims.is_dir() and list(claims.iterdir())):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "interrupted" in err
    assert "Traceback" not in err
    assert not list(claims.iterdir())


def test_ctrl_c_inside_an_exec_still_ends_with_130(tmp_path: Path) -> None:
    """CPython remembers such an interrupt as unhandled; ``python -m`` would end by the signal."""
    source = """
import signal
import clipbench.cli.list
from clipbench.cli import main as cli

signal.signal(signal.SIGINT, signal.default_int_handler)  # what runs in the background may have inherited "ignore"

def interrupted(_):
    exec("import os, signal, time; os.kill(os.getpid(), signal.SIGINT); time.sleep(5)")

clipbench.cli.list.main = interrupted
cli.sys.argv = ["clipbench", "list"]
cli.entry()
"""
    (tmp_path / "interrupted.py").write_text(source)
    words = [sys.executable, "-m", "interrupted"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 130
    assert "interrupted" in done.stderr


def test_a_diverging_run_fails_the_command(capsys: Captured, tmp_path: Path) -> None:
    hot = ("--set", "lr=1e30", "--epochs", "2", "--seeds", "1")
    code, out, _ = call(capsys, "run", "table1", "--smoke", *TINY, *hot, "--out", tmp_path)
    assert code == 1
    assert "1 runs failed" in out
    (kept,) = (tmp_path / "results" / ".failed").glob("*.json")
    beside = {path.name for path in kept.parent.iterdir()} - {kept.name}
    assert beside == {f"{kept.stem}-losses.npz", f"{kept.stem}-trained.safetensors"}

"""The command line end to end: what it prints, what it writes, its exit codes, and what it does not import."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from factory import record, records
from PIL import Image

from clipbench.cli import main
from clipbench.data.catalogue import entry
from clipbench.record import Record
from clipbench.spec import Overrides
from clipbench.store import Draft, Store

ROOT = Path(__file__).resolve().parents[1]
CELL = ("lora-clip/table1", "lora-r8", "ucm-80")
NEAR = (99.36, 99.38, 99.37, 99.35, 99.39)
TINY = ["--only", "dataset=ucm,row=lora-r4", "--epochs", "1", "--limit", "3"]

Captured = pytest.CaptureFixture[str]


def publish(out: Path, made: Sequence[Record]) -> Path:
    Store(out / "results").publish([Draft(r, {"predictions.npz": b"x"}) for r in made])
    return out


def call(capsys: Captured, *words: str | Path) -> tuple[int, str, str]:
    code = main([str(w) for w in words])
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    return code, said.out, said.err


def as_json(capsys: Captured, *words: str | Path) -> Any:
    code, out, _ = call(capsys, *words)
    assert code == 0
    return json.loads(out)


# Commands that read only


@pytest.mark.parametrize(
    "words",
    [["list"], ["list", "--json"], ["show", "table1", "--protocol"], ["show", "clip-dora", "--json"]],
    ids=" ".join,
)
def test_list_and_show_import_nothing_heavy(words: list[str], tmp_path: Path) -> None:
    publish(tmp_path, records(CELL, NEAR))
    out = ["--out", str(tmp_path)] if words[0] == "list" else []
    assert _imported([*words, *out]).isdisjoint(
        {"torch", "pandas", "matplotlib", "scipy", "sklearn", "open_clip", "timm"}
    )


@pytest.mark.parametrize("kind", ["text", "md", "csv", "json", "html"])
def test_compare_imports_no_torch(kind: str, tmp_path: Path) -> None:
    publish(tmp_path, records(CELL, NEAR))
    found = _imported(["compare", "--paper", "table1", "--format", kind, "--out", str(tmp_path)])
    assert found.isdisjoint({"torch", "matplotlib", "open_clip", "timm"})


def _imported(words: list[str]) -> set[str]:
    """The top-level modules in memory after a command."""
    code = (
        "import sys; from clipbench.cli import main; code = main(sys.argv[1:]); "
        "print(code, *{m.partition('.')[0] for m in sys.modules}, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    exit_code, *modules = done.stderr.split()
    assert exit_code == "0"
    return set(modules)


def test_list_as_json_counts_printed_measured_and_runnable(capsys: Captured, tmp_path: Path) -> None:
    publish(tmp_path, records(CELL, NEAR))
    found = {e["experiment"]: e for e in as_json(capsys, "list", "--json", "--out", tmp_path)}
    assert set(found) >= {"lora-clip/table1", "lora-clip/figure3", "clip-dora/table4", "clip-dora/figure2"}
    table1 = found["lora-clip/table1"]
    assert (table1["quoted"], table1["measured"], table1["runnable"]) == (31, 1, 36)
    assert table1["aliases"] == ["table1"]
    assert found["lora-clip/table2"]["measured"] == 1  # the r = 8 row is Table II's last
    assert sum(e["printed"] for e in found.values()) > 790
    assert found["clip-dora/table1"]["why_not"]


def test_list_names_what_it_does_not_trust(capsys: Captured, tmp_path: Path) -> None:
    publish(tmp_path, records(CELL, NEAR))
    torn = tmp_path / "results" / record(CELL).id / "record.json"
    torn.write_text("{")
    for words in (("list",), ("list", "--json"), ("compare", "table1", "--format", "json")):
        code, out, err = call(capsys, *words, "--out", tmp_path)
        assert code == 0
        assert f"not used: {torn.parent}" in err
        assert "not used" not in out
        assert words == ("list",) or json.loads(out)


def test_folders_that_have_nothing_to_do_with_results_are_none_of_our_business(
    capsys: Captured, tmp_path: Path
) -> None:
    (tmp_path / "holiday pictures").mkdir()
    code, out, err = call(capsys, "compare", "table1", "--out", tmp_path)
    assert (code, err) == (0, "")
    assert "holiday" not in out


def test_show_prints_the_papers_numbers_and_every_field_with_its_standing(capsys: Captured) -> None:
    code, out, _ = call(capsys, "show", "table1", "--protocol")
    assert code == 0
    for part in ("99.37 ± 0.18", "98.20±12", "quoted from", "batch_size", "assumed", "sec. III-A", "alpha-over-sqrt-r"):
        assert part in out
    found = as_json(capsys, "show", "table1", "--json")
    cell = next(c for c in found["cells"] if (c["row"], c["column"]) == CELL[1:])
    assert cell["protocol"]["batch_size"]["standing"] == "assumed"
    assert cell["protocol"]["lr"] == {"value": 2e-4, "standing": "stated", "source": "sec. III-A"}
    assert cell["runs"]["1"] == record(CELL).id


def test_a_wrong_name_is_answered_with_a_near_one(capsys: Captured) -> None:
    for command in ("show", "run", "compare", "table", "list"):
        code, out, err = call(capsys, command, "lora-clip/tabel1")
        assert (code, out) == (2, "")
        assert "no experiment is called 'lora-clip/tabel1'. Did you mean lora-clip/table1?" in err


def test_no_command_prints_help_and_version_works(capsys: Captured) -> None:
    code, out, _ = call(capsys)
    assert code == 2
    assert "clipbench run table1 --smoke" in out
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0


# Wrong use of run


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--only", "colour=red"], "--only knows row, column, method, dataset and the protocol's fields, not 'colour'"),
        (["--only", "dataset"], "--only takes key=value pairs"),
        (["--only", "dataset=imagenet"], "matches no cell; rows are"),
        (["--assume", "scaling"], "--assume takes assumption=reading"),
        (["--assume", "scaling=beta"], "has no reading 'beta'; it knows alpha-over-r, alpha, alpha-over-sqrt-r"),
        (["--assume", "mood=good"], "rests on no assumption 'mood'"),
        (["--assume", "adapter-init=normal"], "cannot run yet"),
        (["--limit", "0"], "limit = 0"),
        (["--epochs", "0"], "epochs = 0"),
        (["--backbone", "ViT-B-61"], "no backbone is called 'ViT-B-61'"),
        (["--backbone", "nowhere.json"], "--backbone nowhere.json: there is no such file"),
        (["--weights", "nowhere.safetensors"], "--weights nowhere.safetensors: there is no such file"),
        (["--device", "toaster", *TINY], "no device is called 'toaster'"),
        (["--device", "meta", *TINY], "'meta' is not supported"),
        (["--device", "mps", *TINY], "mps"),
        (["--device", "cuda:99", *TINY], "CUDA device"),
    ],
    ids=lambda x: " ".join(x[:2]) if isinstance(x, list) else "",
)
def test_wrong_use_is_one_paragraph_and_exit_code_two(
    words: list[str], said: str, capsys: Captured, tmp_path: Path
) -> None:
    code, out, err = call(capsys, "run", "table1", "--smoke", "--out", tmp_path, *words)
    assert (code, out) == (2, "")
    assert said in err
    assert len(err.strip().splitlines()) == 1
    assert not (tmp_path / "results").exists() or not Store(tmp_path / "results").scan()[0]


@pytest.mark.parametrize(
    "words",
    [
        ["run"],
        ["run", "table1", "--seeds", "one"],
        ["run", "table1", "--seeds=-1"],  # Python's random would take it for 1
        ["run", "table1", "--seeds", ","],
        ["run", "table1", "--replicas", "-1"],
        ["run", "table1", "--replicas", "0"],
        ["run", "table1", "--precision", "int4"],
        ["compare", "--margin", "0"],
        ["compare", "--margin", "nan"],
        ["compare", "--margin", "-0.5"],
        ["fly"],
    ],
    ids=" ".join,
)
def test_words_that_no_command_knows(words: list[str], capsys: Captured) -> None:
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 2
    assert "usage" in capsys.readouterr().err


def test_missing_data_is_a_paragraph_that_says_what_where_and_how(capsys: Captured, tmp_path: Path) -> None:
    words = ("run", "table1", "--only", "dataset=ucm", "--data", tmp_path / "nowhere", "--out", tmp_path / "out")
    code, out, err = call(capsys, *words)
    assert (code, out) == (2, "")
    home = entry("ucm").home
    for part in ("UC Merced Land Use", str(tmp_path / "nowhere" / "UCMerced_LandUse"), home, "--data DIR", "--smoke"):
        assert part in err
    assert len(err.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_what_cannot_run_yet_says_so(capsys: Captured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clipbench.capabilities.METHODS", {})
    code, _, err = call(capsys, "run", "table2", "--only", "row=mamba-b", "--out", tmp_path)
    assert code == 2
    assert "the method lora is not implemented yet" in err


def test_an_output_folder_that_cannot_be_made_is_a_plain_message(capsys: Captured, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file is in the way")
    code, _, err = call(capsys, "run", "table1", "--smoke", *TINY, "--out", tmp_path / "out")
    assert code == 2
    assert "cannot be written" in err
    assert "--out" in err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_output_folder_is_a_plain_message(capsys: Captured, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir(mode=0o555)
    code, _, err = call(capsys, "run", "table1", "--smoke", *TINY, "--out", tmp_path / "out")
    assert code == 2
    assert "cannot be written" in err


# Runs


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
    assert [r["state"] for r in plan["runs"]] == ["there", "there"]
    more = as_json(capsys, *words, "--seeds", "1,2,3", "--dry-run", "--json")
    assert [r["state"] for r in more["runs"]] == ["there", "there", "to run"]
    assert more["cost"]["train_images"] == 30
    code, text, _ = call(capsys, *words, "--dry-run")
    assert code == 0
    assert "2 runs, 2 there already" in text
    before = {r.finished for r in Store(smoke / "results").scan()[0]}
    summary = as_json(capsys, *words, "--json")
    assert (summary["made"], len(summary["there"])) == ([], 2)
    assert {r.finished for r in Store(smoke / "results").scan()[0]} == before


def test_a_dry_run_names_missing_data_and_makes_nothing(capsys: Captured, tmp_path: Path) -> None:
    words = ("run", "table1", "--data", tmp_path, "--out", tmp_path / "out", "--dry-run")
    plan = as_json(capsys, *words, "--json")
    assert set(plan["missing_data"]) == {"ucm", "aid", "resisc45", "optimal31"}
    assert len(plan["runs"]) == 36 * 5
    assert {r["state"] for r in plan["runs"]} == {"data missing"}
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
    assert code == 0


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
import clipbench.commands.list
from clipbench import cli

def interrupted(_):
    exec("import os, signal, time; os.kill(os.getpid(), signal.SIGINT); time.sleep(5)")

clipbench.commands.list.main = interrupted
cli.sys.argv = ["clipbench", "list"]
cli.entry()
"""
    (tmp_path / "interrupted.py").write_text(source)
    words = [sys.executable, "-m", "interrupted"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 130
    assert "interrupted" in done.stderr


def test_a_diverging_run_fails_the_command(capsys: Captured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from clipbench.commands import run

    overrides = run._overrides

    def hot(arguments: Any) -> Any:
        found, sources = overrides(arguments)
        return Overrides(found.profile, found.assume, {**found.fields, "lr": 1e30, "epochs": 2}), sources

    monkeypatch.setattr(run, "_overrides", hot)
    code, out, _ = call(capsys, "run", "table1", "--smoke", *TINY, "--seeds", "1", "--out", tmp_path)
    assert code == 1
    assert "1 runs failed" in out
    (kept,) = (tmp_path / "results" / ".failed").glob("*.json")
    beside = {path.name for path in kept.parent.iterdir()} - {kept.name}
    assert beside == {f"{kept.stem}-losses.npz", f"{kept.stem}-trained.safetensors"}


# Comparing


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
    for kind in ("text", "md", "csv", "json", "html"):
        code, said[kind], _ = call(capsys, "compare", "table1", "--out", tmp_path, "--format", kind)
        assert code == 0
        assert "reproduced" in said[kind]
        assert "99.37 ± 0.18" in said[kind]
    rows = list(csv.DictReader(said["csv"].splitlines()))
    (mine,) = [r for r in rows if (r["row"], r["column"]) == CELL[1:]]
    assert (mine["verdict"], mine["printed"]) == ("reproduced", "99.37 ± 0.18")
    assert len(rows) == len(json.loads(said["json"])["cells"])
    for part in ("http://", "https://", "src=", "@import", "<script", "<link"):
        assert part not in said["html"]
    assert "61 printed numbers: 1 reproduced" in said["text"] or "1 reproduced" in said["text"].splitlines()[-1]


def test_the_margin_is_the_users(capsys: Captured, tmp_path: Path) -> None:
    publish(tmp_path, records(CELL, NEAR))
    found = as_json(capsys, "compare", "table1", "--out", tmp_path, "--format", "json", "--margin", "0.05")
    assert found["summary"]["compatible"] == 1
    assert found["margin"] == 0.05


def test_two_folders(capsys: Captured, tmp_path: Path) -> None:
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


# The package


def test_the_wheel_carries_the_registry_and_the_tiny_model(tmp_path: Path) -> None:
    pytest.importorskip("hatchling", reason="the build backend hatchling is not installed, and may not be fetched here")
    words = [sys.executable, "-m", "pip", "wheel", str(ROOT), "--no-deps", "--no-build-isolation", "-w", str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    for name in (
        "clipbench/benchmarks/lora_clip/published.csv",
        "clipbench/benchmarks/clip_dora/table1.toml",
        "clipbench/models/tiny/clipbench-tiny.safetensors",
        "clipbench/data/catalogue/aid.toml",
        "clipbench/py.typed",
    ):
        assert name in names
    assert not any(name.startswith(("tests/", "benchmarks/")) for name in names)

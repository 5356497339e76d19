"""Wrong use of a command: one paragraph, exit code 2."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from clipbench.cli.main import main
from clipbench.data.catalogue import entry
from clipbench.results.store import Store
from tests.cli.commands_for_tests import TINY, Captured, call


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["--only", "colour=red"],
            "--only knows row, column, method, dataset, panel and the protocol's fields, not 'colour'",
        ),
        (["--only", "dataset"], "--only takes key=value pairs"),
        (["--only", "dataset=imagenet"], "matches no cell; rows are"),
        (["--only", "rank=3"], "matches no cell; rank is None, 4, 8, 16, 32 here."),
        (["--assume", "scaling"], "--assume takes assumption=choice"),
        (["--assume", "scaling=beta"], "has no choice 'beta'; it knows alpha-over-r, alpha, alpha-over-sqrt-r"),
        (["--assume", "mood=good"], "rests on no assumption 'mood'"),
        (["--limit", "0"], "limit = 0"),
        (["--set", "lr=nan"], "lr = nan: must be a number from 0"),
        (["--set", "lr=inf"], "lr = inf: must be a number from 0"),
        (["--set", "lr_min=1"], "lr_min = 1 is above lr"),
        (["--set", "betas=0"], "must be 2 numbers from 0 and below 1"),
        (["--set", "alpha=0"], "must be a number above 0"),
        (["--set", "gradient_clip=0"], "must be a number above 0"),
        (["--set", "crop_scale=1,0.5"], "the smaller first"),
        (["--set", "rank=100000"], "a whole number from 1 to 4,096"),
        (["--set", "patience=3"], "no run of this selection reads it; it is read where schedule is plateau"),
        (["--set", "early_stop=3"], "no run of this selection reads it"),
        (["--set", "shots=3"], "no run of this selection reads it"),
        (["--set", "test_domain=moon"], "no run of this selection reads it"),
        (["--set", "colour=red"], "there is no protocol field 'colour'"),
        (["--device", "cpu:7", *TINY], "no device is called 'cpu:7'"),
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


def test_a_reading_that_nothing_runs_is_refused(capsys: Captured, tmp_path: Path) -> None:
    words = ("--smoke", "--only", "row=mamba-b", "--assume", "mamba-drop-path=pretraining", "--out", tmp_path)
    code, out, err = call(capsys, "run", "lora-clip/table2", *words)
    assert (code, out) == (2, "")
    assert "mamba-drop-path=pretraining cannot run yet: our MambaVision has no stochastic depth" in err


@pytest.mark.parametrize(
    "words",
    [
        ["run"],
        ["run", "table1", "--seeds", "one"],
        ["run", "table1", "--seeds=-1"],  # Python's random would take it for 1
        ["run", "table1", "--seeds", ","],
        ["run", "table1", "--seeds", "1,1"],
        ["run", "table1", "--seeds", str(2**63)],
        ["run", "table1", "--only="],
        ["run", "table1", "--assume="],
        ["compare", "--against="],
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


@pytest.mark.usefixtures("no_method_is_implemented")
def test_what_cannot_run_yet_says_so(capsys: Captured, tmp_path: Path) -> None:
    code, _, err = call(capsys, "run", "lora-clip/table2", "--only", "row=mamba-b", "--out", tmp_path)
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
